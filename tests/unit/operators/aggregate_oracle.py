"""Random changelogs, and the batch answer of DuckDB over the net input: what aggregates are held against."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
from driver import Row, tuples

from sqlstream.aggregates.registry import AGGREGATES
from sqlstream.plan.nodes import AggCall
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    DOUBLE,
    FLOAT,
    INT,
    STRING,
    TINYINT,
    Column,
    Schema,
    decimal,
    timestamp,
)  # fmt: skip

# One column of each kind; c0 is the usual group key, c9 the filter.
EVERYTHING = Schema(
    tuple(
        Column(n, t)
        for n, t in {
            "k": INT, "i": INT, "b": BIGINT.null(False), "d": decimal(12, 2), "f": DOUBLE, "s": STRING, "t": TINYINT,
            "w": decimal(38, 0), "ts": timestamp(3), "p": BOOLEAN, "e": FLOAT, "k2": STRING,
        }.items()
    )
)  # fmt: skip
FILTER = 9


def random_row(rng: random.Random, keys: int = 5) -> Row:
    def maybe(v: Any) -> Any:
        return None if rng.random() < 0.15 else v

    return (
        maybe(rng.randrange(keys)),
        maybe(rng.randrange(-20, 20)),
        rng.choice([2**30, -(2**30), 7, 8, 9, -3]) if rng.random() < 0.3 else rng.randrange(10**9),
        maybe(Decimal(rng.randrange(-(10**6), 10**6)) / 100),
        maybe(rng.choice([math.nan, math.inf, -0.0, 0.0, 1e9]) if rng.random() < 0.1 else rng.uniform(-9, 9)),
        maybe(rng.choice(["", "a", "ab", "b", "ä", "zz", "long enough not to be inlined"])),
        maybe(rng.randrange(-2, 3)),
        maybe(Decimal(rng.randrange(-(10**30), 10**30))),
        maybe(rng.randrange(50) * 1_000_000),
        maybe(rng.random() < 0.6),
        maybe(rng.choice([0.5, 1.25, -3.0])),
        maybe(rng.choice(["x", "y", ""])),
    )


def call(function: str, *args: int, distinct: bool = False, filter: int | None = None) -> AggCall:
    types = tuple(EVERYTHING[a].type for a in args)
    return AggCall(function, args, Column(function, AGGREGATES[function].type_of(types)), distinct, filter)


def every_call(arguments: bool = True) -> list[AggCall]:
    """All functions over all arguments that they take, with and without DISTINCT and FILTER."""
    out = [call("COUNT"), call("COUNT", filter=FILTER)]
    for name, f in AGGREGATES.items():
        for a in range(1, len(EVERYTHING)):
            if a == 4 and name in ("ARRAY_AGG", "COLLECT"):  # NaN within a value is not equal to itself
                continue
            if a == FILTER and name not in ("COUNT", "MIN", "MAX"):
                continue
            try:
                f.type_of((EVERYTHING[a].type,))
            except Exception:
                continue
            for distinct in (False, True):
                for filter in (None, FILTER):
                    out.append(call(name, a, distinct=distinct, filter=filter))
    return out


def net(rows: Sequence[Row]) -> Counter[Row]:
    return Counter(rows)


def table_of(rows: Sequence[Row], schema: Schema = EVERYTHING, order: Sequence[int] | None = None) -> pa.Table:
    want = schema.arrow()
    columns = [pa.array([r[i] for r in rows], f.type if not pa.types.is_timestamp(f.type) else pa.int64()).cast(f.type)
               for i, f in enumerate(want)]  # fmt: skip
    names = list(want.names)
    if order is not None:
        columns.append(pa.array(order, pa.int64()))
        names.append("_ord")
    return pa.table(columns, names=names)


_connection = duckdb.connect(config={"threads": 1})
_connection.execute("SET TimeZone = 'UTC'")


def ask(sql: str, **tables: pa.Table) -> list[Row]:
    for name, table in tables.items():
        _connection.register(name, table)
    result = _connection.sql(sql).to_arrow_table()
    return [r for b in result.to_batches() for r in tuples(b)]


def call_sql(c: AggCall, schema: Schema, order: str | None, over: str | None = None) -> str:
    return AGGREGATES[c.function].duckdb(
        [f"c{a}" for a in c.args],
        [schema[a].type for a in c.args],
        distinct=c.distinct,
        filter=None if c.filter is None else f"c{c.filter}",
        order=order,
        over=over,
        result=c.column.type,
        constants=c.constants,
    )


def group_by(
    table: pa.Table,
    keys: Sequence[int],
    calls: Sequence[AggCall],
    schema: Schema = EVERYTHING,
    order: str | None = None,
) -> list[Row]:
    """SELECT keys, calls FROM table GROUP BY keys."""
    select = [f"c{k} AS k{i}" for i, k in enumerate(keys)]
    select += [f"{call_sql(c, schema, order)} AS a{i}" for i, c in enumerate(calls)]
    by = f" GROUP BY {', '.join(f'c{k}' for k in keys)}" if keys else ""
    return ask(f"SELECT {', '.join(select)} FROM input{by}", input=table)


def assert_same(got: Sequence[Row], want: Sequence[Row], what: str = "") -> None:
    """Equal as bags, doubles to 1e-9 relative. Rows are paired by their other columns."""

    def key(r: Row) -> tuple[Any, ...]:
        rest = tuple(str(v) for v in r if not isinstance(v, float))
        return rest, tuple(v for v in r if isinstance(v, float))

    a, b = sorted(got, key=key), sorted(want, key=key)
    assert len(a) == len(b), f"{what}: {len(a)} rows, not {len(b)}\n{a[:3]}\n{b[:3]}"
    for x, y in zip(a, b, strict=True):
        for i, (v, w) in enumerate(zip(x, y, strict=True)):
            same = v == w
            if not same and isinstance(v, float) and isinstance(w, float):
                same = math.isclose(v, w, rel_tol=1e-9, abs_tol=1e-6 if abs(w) < 1e3 else 0)
            assert same, f"{what}: column {i}: {v!r} is not {w!r}\n{x}\n{y}"
