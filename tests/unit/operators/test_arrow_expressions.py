"""What Arrow makes of an expression is what DuckDB makes of its SQL: random expressions over all values that are near an edge."""

from __future__ import annotations

import itertools
import pickle
import random

import pyarrow as pa
import pytest
from harness.seed import random_of

from sqlstream.connectors.derive import Derivation
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.errors import DataError
from sqlstream.expressions import Call, Cast, Column, Expr, Literal
from sqlstream.operators.evaluate import Evaluator
from sqlstream.rendering.arrow import _FUNCTIONS, by_arrow
from sqlstream.rendering.expressions import predicate, to_duckdb
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    INT,
    STRING,
    TINYINT,
    Type,
    decimal,
    timestamp,
    timestamp_ltz,
)

TIME, INSTANT, INTERVAL = timestamp(3), timestamp_ltz(3), Type("INTERVAL_DAY")
WORDS = {
    BOOLEAN: (True, False),
    TINYINT: (0, 1, -1, 127, -128),
    INT: (0, 1, 2, -7, 2**31 - 1, -(2**31)),
    BIGINT: (0, 1, 2, -7, 123, 2**63 - 1, -(2**63)),
    TIME: (0, -1, 1_436_918_400_000_000, 253_402_300_799_999_000, 2**63 - 2_000_000),
    INSTANT: (0, 1_436_918_400_000_001, -62_135_596_800_000_000),
    DATE: (0, 16_631, -719_162),
    STRING: ("", "a", "A", "ä", "ab", "a\0b", "😀"),
}
TYPES = tuple(WORDS)
EXAMPLES = 300


def a_batch() -> pa.RecordBatch:
    """Columns of each type, two of the same one: any value beside any other."""
    arrays = []
    for t in TYPES:
        pairs = list(itertools.product((*WORDS[t], None), repeat=2))
        pairs = [pairs[i % len(pairs)] for i in range(72)]
        arrays += [pa.array([p[k] for p in pairs], t.arrow()) for k in (0, 1)]
    return pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))])


BATCH = a_batch()
REQUEST = ScanRequest(tuple(ScanColumn((f"c{i}",), TYPES[i // 2]) for i in range(BATCH.num_columns)))


def an_expression(rng: random.Random, t: Type, depth: int) -> Expr:
    choice = rng.random()
    if depth == 0 or choice < 0.15:
        if choice < 0.05 or (depth == 0 and choice < 0.3):
            return Literal(t, rng.choice((*WORDS[t], None)))
        return Column(t, 2 * TYPES.index(t) + rng.randrange(2))

    def some(t: Type) -> Expr:
        return an_expression(rng, t, depth - 1)

    if choice < 0.3:
        return Call(t, "CASE", (*(x for _ in range(rng.randint(1, 3)) for x in (some(BOOLEAN), some(t))), some(t)))
    if choice < 0.4:
        return Call(t, "COALESCE", (some(t), some(t)))
    if t.is_integer:
        if choice < 0.5 and t != TINYINT:
            return Cast(t, some(rng.choice((TINYINT, INT))) if t == BIGINT else some(TINYINT))
        if choice < 0.7:
            return Call(t, "%", (some(t), Literal(t, rng.choice((1, 2, 123)))))
        return Call(t, rng.choice("+-*"), (some(t), some(t)))
    if t in (TIME, INSTANT):
        return Call(t, rng.choice("+-"), (some(t), Literal(INTERVAL, rng.choice((4_000_000, 1, -86_400_000_000)))))
    if t != BOOLEAN:
        return Column(t, 2 * TYPES.index(t) + rng.randrange(2))
    of = rng.choice(TYPES)
    if choice < 0.6:
        return Call(BOOLEAN, rng.choice(("=", "<>", "<", "<=", ">", ">=")), (some(of), some(of)))
    if choice < 0.7:
        return Call(BOOLEAN, "IN", (some(of), *(Literal(of, rng.choice(WORDS[of])) for _ in range(rng.randint(1, 3)))))
    if choice < 0.8:
        return Call(BOOLEAN, rng.choice(("IS NULL", "IS NOT NULL")), (some(of),))
    if choice < 0.9:
        return Call(BOOLEAN, rng.choice(("NOT", "IS TRUE", "IS FALSE")), (some(BOOLEAN),))
    return Call(BOOLEAN, rng.choice(("AND", "OR")), tuple(some(BOOLEAN) for _ in range(rng.randint(2, 3))))


def by_duckdb(sql: str) -> pa.Array | None:
    """None: it fails for a row."""
    evaluator = Evaluator([("x", sql)])
    try:
        return evaluator.run(BATCH).column(0)
    except DataError:
        return None
    finally:
        evaluator.close()


def test_arrow_says_what_duckdb_says() -> None:
    rng, used, decided = random_of("arrow", 0), set[str](), 0
    for _ in range(EXAMPLES):
        e = an_expression(rng, rng.choice(TYPES), rng.randint(1, 3))
        compute = by_arrow(e, in_us=e.type == TIME)
        assert compute is not None and pickle.loads(pickle.dumps(compute)) == compute
        used |= {x.function for x in e.walk() if isinstance(x, Call)}
        sql = to_duckdb(e, set())
        exact = by_duckdb(f"epoch_us({sql})" if e.type == TIME else sql)
        try:
            found = compute(BATCH)
        except pa.ArrowInvalid:
            continue  # it is for DuckDB to say
        decided += 1
        assert exact is not None and found.equals(exact.cast(found.type)), (str(e), found, exact)
        if e.type == BOOLEAN:  # where a WHERE keeps the row
            kept = by_duckdb(predicate(e, set()))
            assert kept is not None and found.fill_null(False).equals(kept.fill_null(False)), str(e)
    assert used == {*_FUNCTIONS} and decided > EXAMPLES // 2


@pytest.mark.parametrize(
    "e",
    [
        Call(BOOLEAN, "<", (Column(DOUBLE, 0), Column(DOUBLE, 1))),  # NaN
        Call(BOOLEAN, "=", (Column(decimal(10, 2), 0), Literal(decimal(10, 2), None))),
        Call(BOOLEAN, "=", (Column(TIME, 0), Column(INSTANT, 1))),
        Call(BOOLEAN, "IN", (Column(INT, 0), Column(INT, 1))),
        Call(INT, "%", (Column(INT, 0), Literal(INT, 0))),
        Call(INT, "/", (Column(INT, 0), Literal(INT, 2))),
        Cast(INT, Column(BIGINT, 0)),
        Call(STRING, "UPPER", (Column(STRING, 0),)),
        Call(TIME, "-", (Column(TIME, 0), Literal(Type("INTERVAL_MONTH"), 1))),
    ],
    ids=str,
)
def test_what_is_left_to_duckdb(e: Expr) -> None:
    assert by_arrow(e) is None


def test_a_derivation_asks_duckdb_where_arrow_fails() -> None:
    column = Column(BIGINT, 2 * TYPES.index(BIGINT))
    product = Call(BIGINT, "*", (column, Literal(BIGINT, 2)))
    # Arrow looks at all parts, and the product of some row is too large; DuckDB looks at it where the first part holds.
    guarded = Call(BOOLEAN, "AND", (Call(BOOLEAN, "=", (column, Literal(BIGINT, 1))),
                                    Call(BOOLEAN, "=", (product, Literal(BIGINT, 2)))))  # fmt: skip
    null = Call(BOOLEAN, "IS NULL", (column,))
    derived = tuple((a, predicate(e, set())) for a, e in (("a", guarded), ("b", null), ("c", column)))
    computed = tuple((a, by) for a, e in (("a", guarded), ("b", null)) if (by := by_arrow(e)) is not None)
    request = ScanRequest(REQUEST.columns, derived, computed=computed)
    made = Derivation(request).of(BATCH)
    plain = Derivation(ScanRequest(REQUEST.columns, derived)).of(BATCH)
    assert made.equals(plain) and made.schema.names[-3:] == ["a", "b", "c"]
    assert made.column("a").to_pylist().count(True) == BATCH.column(column.index).to_pylist().count(1) > 0
