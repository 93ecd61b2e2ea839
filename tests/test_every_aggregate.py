"""Every registered aggregate function, over every type that it takes, in all places and ways.

Places: GROUP BY, windows (TUMBLE, HOP, CUMULATE, SESSION), OVER, no group at all. Input: appended, and changing, with rows
that are taken back again. Each call plain, with DISTINCT, with FILTER, with both. Groups: of many rows, one row, NULLs
only, equal values, none that passes. Ways: batch, streaming, parallel, restored. The answers are `aggregate_answers.py`'s.
"""

from __future__ import annotations

import base64
import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from aggregate_answers import (
    ANSWERS,
    BY_ARRIVAL,
    NO_DISTINCT,
    PAIRS,
    UNMOVED,
    WRITTEN,
    Values,
    as_json,
    distinct,
    given,
)
from harness import rows, ways
from harness.seed import random_of, said

from sqlstream.aggregates.registry import AGGREGATES, aggregate
from sqlstream.aggregates.streaming.half import Half
from sqlstream.errors import BindError, InternalError
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    STRING,
    TIME,
    TINYINT,
    Type,
    decimal,
    timestamp,
    timestamp_ltz,
)  # fmt: skip

DAY = datetime(2024, 1, 1)

# Some values of each type; they come several times, in any order, and not one after the other.
VALUES: dict[Type, Values] = {
    TINYINT: [3, -2, 7, 0, 5],
    Type("SMALLINT"): [100, -50, 7, 0, -1],
    INT: [7, -20_000, 3, 0, 30_000],
    BIGINT: [7, -1_000_000_000, 5, 0, 2_000_000_000],
    FLOAT: [0.5, -1.25, 3.0, 0.0, 2.75],
    DOUBLE: [0.1, -1e9, 3.3, 0.0, 1e-5],
    decimal(10, 2): [Decimal("1.10"), Decimal("-99.99"), Decimal("0.01"), Decimal("0.00"), Decimal("12345.67")],
    decimal(38, 0): [
        Decimal("1" + 29 * "0" + "7"),
        Decimal("-1" + 29 * "0" + "1"),
        Decimal(7),
        Decimal(0),
        Decimal(-5),
    ],
    STRING: ["b", "", "a", "ä", "long enough not to be inlined"],
    BOOLEAN: [True, False],
    BYTES_TYPE: [b"b", b"", b"a", b"\xff\x00", b"long enough not to be inlined"],
    DATE: [date(2024, 2, 29), date(1969, 12, 31), date(1, 1, 1), date(9999, 12, 31)],
    TIME: [time(12, 30), time(0), time(23, 59, 59)],
    timestamp(3): [datetime(2024, 2, 29, 1, 2, 3), datetime(1969, 12, 31, 23, 59, 59, 999000), DAY],
    timestamp_ltz(3): [datetime(2024, 2, 29, 1, 2, 3), datetime(1969, 12, 31, 23, 59, 59, 999000), DAY],
    Type("CHAR", 1): ["b", "a", "c"],
}
CHUNKS = [
    (TINYINT, Type("SMALLINT"), INT, BIGINT), (FLOAT, DOUBLE), (decimal(10, 2), decimal(38, 0)), (STRING, BOOLEAN, BYTES_TYPE),
    (DATE, TIME, timestamp(3), timestamp_ltz(3), Type("CHAR", 1)),
]  # fmt: skip


@dataclass(frozen=True)
class Row:
    """n: which, and its place. k: its group. p: FILTER's condition. at: its time. v: a value of each type."""

    n: int
    k: str
    p: bool | None
    at: datetime
    v: dict[Type, Any]


def some_rows(rng: random.Random) -> list[Row]:
    """Groups: a and f of many rows, b of one, c of NULLs, d of equal values, e of rows that FILTER leaves out."""
    out = []
    keys = [*"abcdefafafaffacdeafafaafff"]
    for n, k in enumerate(keys):
        v = {t: None if k == "c" or (k in "af" and rng.random() < 0.2) else rng.choice(x) for t, x in VALUES.items()}
        if k == "d":
            v = {t: x[0] for t, x in VALUES.items()}
        p = rng.choice([False, None]) if k == "e" else rng.choice([True, True, False, None])
        out.append(Row(n, k, p, DAY + timedelta(seconds=3 * n + (20 if n > 15 else 0)), v))
    return out


@dataclass(frozen=True)
class Call:
    """An aggregate call over the column of a type."""

    function: str
    type: Type
    distinct: bool
    filter: bool

    def sql(self, over: str = "") -> str:
        args = WRITTEN.get(self.function, "{x}").replace("{x}", column(self.type))
        text = f"{self.function}({'DISTINCT ' if self.distinct else ''}{args})"
        return text + (" FILTER (WHERE p)" if self.filter else "") + over

    def answer(self, group: list[Row], by_arrival: bool) -> Any:
        values = [r.v[self.type] for r in group if r.p or not self.filter]
        if self.function in PAIRS:
            return ANSWERS[self.function]([(r.v[self.type], r.n) for r in group if r.p or not self.filter], self.type)
        if self.function in BY_ARRIVAL and not by_arrival:
            of = as_json if self.function == "JSON_ARRAYAGG" else lambda v: v
            values = sorted(values, key=lambda v: (v is None, of(v)))
        return ANSWERS[self.function](
            distinct(values) if self.distinct and self.function not in UNMOVED else values, self.type
        )


def column(t: Type) -> str:
    return "v_" + "".join(c if c.isalnum() else "_" for c in t.text().lower())


def accepts(function: str, t: Type) -> bool:
    if function == "COLLECT" and t.kind == "VARBINARY":  # JSON has no form of bytes as a key, in which ways are read
        return False
    if function.startswith("JSON_"):
        return t.kind in ("INT", "STRING", "VARCHAR", "BOOLEAN", "VARBINARY", "DECIMAL")
    types = (t, DOUBLE) if function == "PERCENTILE" else (t, INT) if function in PAIRS else (t,)
    try:
        AGGREGATES[function].type_of(types)
    except BindError:
        return False
    return True


def calls_over(types: tuple[Type, ...], place: Place) -> list[Call]:
    return [
        Call(f, t, distinct, filter)
        for t in types
        for f in sorted(AGGREGATES)
        if accepts(f, t)
        for distinct, filter in place.variants
        if not distinct or f not in NO_DISTINCT
    ]


# ---- places: the query, and its groups


@dataclass(frozen=True)
class Place:
    """sql: where CALLS stand. groups: the key columns and the rows of each result row. over: what follows a call."""

    sql: str
    groups: Callable[[list[Row]], Iterator[tuple[tuple[Any, ...], list[Row]]]]
    over: str = ""
    changing: bool = True  # whether changing input is taken
    variants: tuple[tuple[bool, bool], ...] = ((False, False), (True, True))  # with DISTINCT, with FILTER


def by_key(all_rows: list[Row]) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
    for k in sorted({r.k for r in all_rows}):
        yield (k,), [r for r in all_rows if r.k == k]


def nothing(all_rows: list[Row]) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
    yield (), []


def windows(of: Callable[[float], list[tuple[int, int]]]) -> Callable[[list[Row]], Any]:
    """Windows by seconds since DAY."""

    def groups(all_rows: list[Row]) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
        found: dict[tuple[Any, ...], list[Row]] = {}
        for r in all_rows:
            for start, end in of((r.at - DAY).total_seconds()):
                found.setdefault((r.k, DAY + timedelta(seconds=start), DAY + timedelta(seconds=end)), []).append(r)
        yield from found.items()

    return groups


def sessions(all_rows: list[Row]) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
    for (k,), group in by_key(all_rows):
        open_: list[Row] = []
        for r in [*sorted(group, key=lambda r: r.at), None]:
            if open_ and (r is None or r.at - open_[-1].at > timedelta(seconds=10)):
                yield (k, open_[0].at, open_[-1].at + timedelta(seconds=10)), open_
                open_ = []
            if r is not None:
                open_.append(r)


def frames(before: int | None) -> Callable[[list[Row]], Any]:
    """The last rows of each key, at each row."""

    def groups(all_rows: list[Row]) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
        for _, group in by_key(all_rows):
            for i, r in enumerate(group):
                yield (r.n,), group[0 if before is None else max(0, i - before) : i + 1]

    return groups


def window_sql(function: str) -> str:
    return (
        f"SELECT k, window_start, window_end, CALLS FROM TABLE({function}) GROUP BY k, window_start, window_end"
    )  # fmt: skip


OVER = ((False, False), (True, False))  # OVER takes no FILTER
PLACES = {
    "group": Place("SELECT k, CALLS FROM t GROUP BY k", by_key, variants=tuple(product((False, True), (False, True)))),
    "nothing": Place("SELECT CALLS FROM t WHERE n < 0", nothing),
    "tumble": Place(
        window_sql("TUMBLE(TABLE t, DESCRIPTOR(at), INTERVAL '20' SECOND)"),
        windows(lambda s: [(int(s // 20 * 20), int(s // 20 * 20) + 20)]),
    ),
    "hop": Place(
        window_sql("HOP(TABLE t, DESCRIPTOR(at), INTERVAL '10' SECOND, INTERVAL '30' SECOND)"),
        windows(lambda s: [(int(s // 10 * 10) - b, int(s // 10 * 10) - b + 30) for b in (0, 10, 20)]),
    ),
    "cumulate": Place(
        window_sql("CUMULATE(TABLE t, DESCRIPTOR(at), INTERVAL '10' SECOND, INTERVAL '30' SECOND)"),
        windows(lambda s: [(int(s // 30 * 30), e) for e in range(int(s // 10 * 10) + 10, int(s // 30 * 30) + 31, 10)]),
    ),
    "session": Place(
        window_sql("SESSION(TABLE t PARTITION BY k, DESCRIPTOR(at), INTERVAL '10' SECOND)"), sessions, changing=False
    ),
    "over": Place("SELECT n, CALLS FROM t", frames(None), " OVER (PARTITION BY k ORDER BY at)", variants=OVER),
    "over rows": Place(
        "SELECT n, CALLS FROM t",
        frames(2),
        " OVER (PARTITION BY k ORDER BY at ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)",
        variants=OVER,
    ),
}


def write(directory: Path, all_rows: list[Row], changing: bool, rng: random.Random) -> str:
    """The table's file, and its DDL. Changing: rows come that go again, some in a group of their own."""

    def plain(v: Any) -> Any:
        if isinstance(v, datetime):
            return v.isoformat(sep=" ", timespec="milliseconds")
        if isinstance(v, bytes):
            return base64.b64encode(v).decode()
        return v.isoformat() if isinstance(v, date | time) else v

    def image(r: Row) -> str:
        items = {"n": r.n, "k": r.k, "p": r.p, "at": plain(r.at)}
        text = ", ".join(f"{json.dumps(n)}: {json.dumps(v)}" for n, v in items.items())
        values = []
        for t, v in r.v.items():
            shown = f"{v:f}" if isinstance(v, Decimal) else json.dumps(plain(v))
            if t.kind == "TIMESTAMP_LTZ" and v is not None:
                shown = json.dumps(plain(v) + "Z")
            values.append(f"{json.dumps(column(t))}: {shown}")
        return "{" + text + ", " + ", ".join(values) + "}"

    lines = [image(r) for r in all_rows]
    if changing:
        lines = [f'{{"before": null, "after": {line}, "op": "c"}}' for line in lines]
        for r in some_rows(rng):
            gone = image(Row(100 + r.n, rng.choice([r.k, "x"]), r.p, r.at, r.v))
            at, to = sorted((rng.randint(0, len(lines)), rng.randint(0, len(lines))))
            lines.insert(to, f'{{"before": {gone}, "after": null, "op": "d"}}')
            lines.insert(at, f'{{"before": null, "after": {gone}, "op": "c"}}')
    file = directory / f"{'changing' if changing else 'appended'}.json"
    file.write_text("".join(line + "\n" for line in lines))
    columns = ", ".join(f"{column(t)} {t.text()}" for t in VALUES)
    return (
        f"CREATE TABLE t (n INT, k STRING, p BOOLEAN, at TIMESTAMP(3), {columns}, "
        "WATERMARK FOR at AS at - INTERVAL '1' HOUR) "
        f"WITH ('connector' = 'filesystem', 'path' = '{file}', 'format' = '{'debezium-json' if changing else 'json'}')"
    )


def cases() -> Iterator[tuple[str, bool, int]]:
    for name, place in PLACES.items():
        for changing in (False, True) if place.changing else (False,):
            for chunk in range(len(CHUNKS)):
                yield name, changing, chunk


@pytest.mark.share(6)
@pytest.mark.parametrize(("name", "changing", "chunk"), [*cases()])
def test_everywhere(name: str, changing: bool, chunk: int, tmp_path: Path) -> None:
    place, rng = PLACES[name], random_of(f"{name} {changing} {chunk}")
    all_rows = some_rows(rng)
    table = write(tmp_path, all_rows, changing, rng)
    # GROUP BY in all ways; the other places in one besides batch, which differs from chunk to chunk and run to run.
    streams = (
        ("streaming", "parallel", "restored")
        if name == "group"
        else (rng.choice(["streaming", "parallel", "restored"]),)
    )
    for way in ("batch", *streams):
        calls = calls_over(CHUNKS[chunk], place)
        sql = place.sql.replace("CALLS", ", ".join(f"{c.sql(place.over)} AS r{i}" for i, c in enumerate(calls)))
        case = ways.Case((table,), sql, 2 * len(all_rows))
        answer = ways.batch(case, tmp_path)[0] if way == "batch" else getattr(ways, way)(case, tmp_path, rng)
        width = len(answer.schema) - len(calls)
        types = [c.type for c in answer.schema]
        got = {r[:width]: r[width:] for r in answer.fold.rows}
        groups = {tuple(map(rows.value, key, types)): group for key, group in place.groups(all_rows)}
        assert got.keys() == groups.keys() and answer.fold.rows.total() == len(got), f"{way}: {sql}"
        for key, group in groups.items():
            for c, value, t in zip(calls, got[key], types[width:], strict=True):
                expected = rows.value(c.answer(group, bool(place.over) or not changing), t)
                values = [(r.n, r.p, r.v[c.type]) for r in group]
                assert alike(value, expected, 1e-6 if t.kind == "FLOAT" else 1e-9), said(
                    f"{way}: {c.sql()} is {value}, not {expected}: {values}"
                )
                assert value is not None or t.nullable, f"{way}: {c.sql()} is NULL, its type is not"


def alike(a: Any, b: Any, tolerance: float) -> bool:
    """Equal, doubles to a relative tolerance."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-12)
    return bool(a == b)


@pytest.mark.parametrize("name", sorted(AGGREGATES))
def test_each_has_its_answer_and_its_half(name: str) -> None:
    assert name in ANSWERS, f"{name} has no answer in aggregate_answers.py"
    assert any(accepts(name, t) for t in VALUES), f"{name} takes none of the types that are tested"
    assert issubclass(AGGREGATES[name].half(), Half)


def test_all_answers_are_of_functions() -> None:
    assert ANSWERS.keys() == AGGREGATES.keys()
    assert given([None, 1]) == [1]


def test_a_name_that_is_not_registered_raises() -> None:
    with pytest.raises(InternalError, match="MEDIAN_OF_SORTS"):
        aggregate("MEDIAN_OF_SORTS")
