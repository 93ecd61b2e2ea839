"""Row groups and files that a scan's filter leaves nothing of: they are not read, and nothing but the time shows it."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from connector_cases import file_table, schema, source_of
from harness.seed import random_of, said

from sqlstream import duck
from sqlstream.batches import NO_WATERMARK
from sqlstream.contracts import Passed, ScanRequest, SourceBatch, TableContext
from sqlstream.operators.source_scan import SourceScan
from sqlstream.optimize.push_filters import push_filters
from sqlstream.plan import nodes
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    INT,
    STRING,
    Schema,
    Type,
    decimal,
    row,
    timestamp,
    timestamp_ltz,
)

ZONE = "America/Los_Angeles"
Row = dict[str, Any]  # values as text, as NaN is not NaN


@pytest.fixture(autouse=True)
def every_row_group_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlstream.formats.parquet.LEAST_SKIPPED", 1)


def request_of(columns: Schema, where: str, watermark: str | None = None) -> ScanRequest:
    """What a scan of a table of such columns asks its reader for, with this filter."""
    session = Session(None, {"table.local-time-zone": ZONE}, ".")
    body = ", ".join(f"`{c.name}` {c.type.text()}" for c in columns)
    marks = f", WATERMARK FOR ts AS {watermark}" if watermark else ""
    options = "'connector' = 'filesystem', 'path' = 'none', 'format' = 'json'"
    for _ in session.execute(f"CREATE TABLE t ({body}{marks}) WITH ({options})"):
        pass
    (statement,) = parse_script(f"SELECT * FROM t WHERE {where}")
    assert isinstance(statement, st.Select)
    plan = push_filters(session.environment.bind(statement.query))
    (scan,) = (n for n in plan.walk() if isinstance(n, nodes.Scan))
    assert scan.predicate is not None
    return SourceScan(
        (), "t", scan.source, scan.columns, scan.names, scan.predicate, scan.watermark, row_wm=watermark is not None
    ).request(ZONE)


def parquet(path: Path, columns: Schema) -> TableContext:
    return file_table(path, columns, format="parquet")


def batches(t: TableContext, request: ScanRequest, position: Any = None, most: int = 1000) -> list[SourceBatch]:
    """All of the table's only split behind a position."""
    source = source_of(t)
    (split,) = source.splits()
    reader = source.reader(split, position, request)
    out = []
    try:
        while not reader.finished:
            got = reader.poll(most)
            if got is not None:
                out.append(got)
    finally:
        reader.close()
    return out


def kept(found: list[SourceBatch]) -> list[Row]:
    """The rows that the filter leaves, each with its place."""
    return [
        {"row": b.first_row + i} | {k: str(v) for k, v in r.items() if k != "_keep"}
        for b in found
        if b.passed is None
        for i, r in enumerate(b.batch.to_pylist())
        if r["_keep"]
    ]


def passed(found: list[SourceBatch]) -> Passed:
    return sum((b.passed for b in found if b.passed is not None), Passed())


TS = timestamp(3)
T2024 = 1_704_067_200  # seconds: 2024-01-01


def at(*seconds: float | None, unit: str = "us", zone: str | None = None) -> pa.Array:
    scale = {"ms": 1000, "us": 10**6, "ns": 10**9}[unit]
    values = [None if s is None else round((T2024 + s) * scale) for s in seconds]
    return pa.array(values, pa.int64()).view(pa.timestamp(unit, zone))


@pytest.mark.parametrize(
    ("t", "values", "where", "skipped"),
    [
        (INT, pa.array([1, 2, 3, 4], pa.int64()), "x > 2", 1),
        (BIGINT, pa.array([1, 2, 3, 4], pa.int8()), "x = 3", 1),
        (BIGINT, pa.array([1, 2, 3, 4], pa.uint32()), "x = 3", 0),  # unsigned: not known
        (INT, pa.array([1, 1, 2, 3]), "x <> 1", 1),
        (INT, pa.array([1, 1, 2, 3]), "x <= 1 AND x < 5", 1),
        (INT, pa.array([1, 2, 3, 4]), "x BETWEEN 5 AND 9 OR x IN (7, 8)", 2),
        (INT, pa.array([1, 2, 3, 4]), "x > 2.5", 1),
        (INT, pa.array([1, 2, 3, 4]), "x + 1 > 100", 0),  # arithmetic may overflow: looked at row by row
        (INT, pa.array([1, 2, 3, 4]), "3 <= x", 1),
        (INT, pa.array([1, 2, 3, 4]), "NOT (x < 3 OR x = 2)", 1),
        (INT, pa.array([1, 2, None, None]), "x IS NULL", 1),
        (INT, pa.array([1, 2, None, None]), "x IS NOT NULL", 1),
        (INT, pa.array([1, 2, None, None]), "x > 0", 1),
        (INT, pa.array([1, 2, None, None]), "NOT (x > 0)", 2),
        (INT, pa.nulls(4, pa.int32()), "x > 0", 2),
        (DOUBLE, pa.array([1.0, 2.0, 3.0, float("nan")]), "x > 2", 1),
        (DOUBLE, pa.array([1.0, 2.0, 3.0, float("nan")]), "NOT (x > 3)", 0),
        (DOUBLE, pa.array([1.0, 2.0, 3.0, float("nan")]), "x <> 3", 0),
        (DOUBLE, pa.array([-0.0, -0.0, 1.0, 1.0]), "x = 0", 1),
        (DOUBLE, pa.array([0.5, 1.5, 2.5, 3.5], pa.float32()), "x < 2", 1),
        (decimal(10, 2), pa.array([Decimal("1.00"), Decimal("1.50"), Decimal("2.00"), Decimal("2.50")]), "x >= 1.75", 1),
        (STRING, pa.array(["a", "b", "c", "é"]), "x = 'é'", 1),
        (STRING, pa.array(["a", "b", "c", "é"]), "x > 'b'", 1),
        (STRING, pa.array([b"a", b"b", b"c", b"d"]), "x IN ('a', 'bb')", 1),
        (STRING, pa.array(["a" * 99, "b", "c", "d"]), "x LIKE 'z%'", 0),
        (DATE, pa.array([dt.date(2024, 1, d) for d in (1, 2, 3, 4)]), "x < DATE '2024-01-03'", 1),
        (BOOLEAN, pa.array([True, True, False, True]), "NOT x", 1),
        (BOOLEAN, pa.array([False, False, False, True]), "x", 1),
        (TS, at(0, 1, 2, 3), "x >= TIMESTAMP '2024-01-01 00:00:02'", 1),
        (TS, at(0, 1, 2.9995, 3, unit="ns"), "x <= TIMESTAMP '2024-01-01 00:00:02.999'", 0),  # floored, as rows are
        (TS, at(0, 86400, 86401, 86402, unit="ms"), "CAST(x AS DATE) = DATE '2024-01-02'", 0),
        (TS, at(0, 1, 86401, 86402, unit="ms"), "CAST(x AS DATE) = DATE '2024-01-02'", 1),
        (timestamp_ltz(3), at(0, 1, 2, 3, zone="UTC"), "x > TIMESTAMP '2023-12-31 16:00:01'", 1),  # in the session's zone
        (timestamp_ltz(3), at(0, 1, 2, 3), "x > TO_TIMESTAMP_LTZ(1704067201000, 3)", 1),
    ],
)  # fmt: skip
def test_bounds_are_of_the_tables_values(t: Type, values: pa.Array, where: str, skipped: int, tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": values}), tmp_path / "f.parquet", row_group_size=2)
    columns = schema(("x", t))
    request = request_of(columns, where)
    found = batches(parquet(tmp_path / "f.parquet", columns), request)
    assert passed(found).row_groups == skipped
    assert kept(found) == kept(batches(parquet(tmp_path / "f.parquet", columns), replace(request, skip=None)))


def test_files_without_statistics_and_times_of_96_bits_are_read(tmp_path: Path) -> None:
    columns = schema(("x", INT), ("ts", TS))
    table = pa.table({"x": pa.array([1, 2]), "ts": at(0, 1)})
    pq.write_table(table, tmp_path / "f.parquet", write_statistics=False)
    assert passed(batches(parquet(tmp_path / "f.parquet", columns), request_of(columns, "x > 5"))) == Passed()
    pq.write_table(table, tmp_path / "f.parquet", use_deprecated_int96_timestamps=True)
    late = request_of(columns, "ts > TIMESTAMP '2025-01-01 00:00:00'")
    assert passed(batches(parquet(tmp_path / "f.parquet", columns), late)) == Passed()
    assert passed(batches(parquet(tmp_path / "f.parquet", columns), request_of(columns, "x > 5"))).row_groups == 1


def test_fields_of_rows_columns_that_are_not_there_and_names_with_points(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    rows = pa.array([{"x": 1}, {"x": 2}, None, {"x": None}, {"x": 9}, {"x": 9}])
    pq.write_table(pa.table({"r": rows, "a.b": pa.array([1, 1, 1, 1, 5, 5])}), path, row_group_size=2)
    columns = schema(("a.b", INT), ("gone", INT), ("r", row(("x", INT))))

    def groups(where: str, *path_of: str) -> int:
        request = request_of(columns, where)
        request = replace(
            request,
            columns=tuple(replace(c, path=path_of or c.path) if c.path == ("gone",) else c for c in request.columns),
        )
        return passed(batches(parquet(path, columns), request)).row_groups

    assert groups("`a.b` = 5") == 2
    assert groups("gone = 5") == 3
    assert groups("gone IS NULL") == 0
    assert groups("gone = 9", "r", "x") == 2  # as scans ask for fields
    assert groups("gone IS NULL", "r", "x") == 2
    assert groups("gone > 9", "a", "b") == 3  # a field of a column that is not there


def test_a_bloom_filter_tells_what_statistics_do_not(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    made = "SELECT (range % 10) * 2 AS n, 'k' || (range % 10) * 2 AS s FROM range(5000)"
    duck.connect(1).execute(f"COPY ({made}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    columns = schema(("n", BIGINT), ("s", STRING))

    def groups(where: str) -> int:
        return passed(batches(parquet(path, columns), request_of(columns, where))).row_groups

    whole = pq.read_metadata(path).num_row_groups
    assert whole > 1
    assert groups("n = 7") == groups("s IN ('k7', 'k9')") == groups("s = 'k7' AND n > 0") == whole
    assert groups("n IN (7, 8)") == groups("n = 7 OR s = 'k8'") == 0


def test_the_watermark_is_as_if_all_had_been_read(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    columns = schema(("x", INT), ("ts", TS))
    pq.write_table(
        pa.table({"x": pa.array([1, 1, 5, 5, 1, 1]), "ts": at(9, 4, None, None, 1, 2.5)}), path, row_group_size=2
    )
    found = batches(parquet(path, columns), request_of(columns, "x = 5", "ts - INTERVAL '2' SECOND"))
    marks = [(b.first_row, b.passed.rows, b.passed.mark) for b in found if b.passed is not None]
    assert marks == [(0, 2, (T2024 + 7) * 10**6), (4, 2, (T2024 * 10 + 5) * 10**5)]
    found = batches(parquet(path, columns), request_of(columns, "x = 1", "ts - INTERVAL '2' SECOND"))
    assert passed(found) == Passed(2, NO_WATERMARK, 1)  # no row of it has a time


def test_what_no_bound_tells_of_a_watermark_is_read(tmp_path: Path) -> None:
    columns = schema(("x", INT), ("ts", TS))
    pq.write_table(pa.table({"x": pa.array([1, 2]), "ts": at(0, 1)}), tmp_path / "f.parquet")
    request = request_of(columns, "x = 5", "CASE WHEN x > 0 THEN ts END")
    assert request.skip is None
    assert passed(batches(parquet(tmp_path / "f.parquet", columns), request)) == Passed()


def test_what_lies_between_two_that_are_read_is_read_when_it_is_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = schema(("x", INT))
    pq.write_table(pa.table({"x": pa.array([0, 5, 0, 5, 0])}), tmp_path / "f.parquet", row_group_size=1)
    request = request_of(columns, "x = 5")
    assert passed(batches(parquet(tmp_path / "f.parquet", columns), request)).row_groups == 3
    monkeypatch.setattr("sqlstream.formats.parquet.LEAST_SKIPPED", 2)
    found = batches(parquet(tmp_path / "f.parquet", columns), request)
    assert passed(found).row_groups == 2 and [r["row"] for r in kept(found)] == [1, 3]


CONDITIONS = ("{c} > {v}", "{c} <= {v}", "{c} = {v}", "{c} <> {v}", "NOT ({c} = {v})", "{c} IS NULL", "{c} IS NOT NULL",
              "{c} IN ({v}, {w})", "{c} NOT IN ({v}, {w})", "{c} BETWEEN {v} AND {w}")  # fmt: skip
NUMBERED = schema(("x", INT), ("d", DOUBLE), ("s", STRING), ("ts", TS))


def drawn(rng: random.Random, depth: int = 2) -> str:
    """A filter."""
    if depth and rng.random() < 0.5:
        word = rng.choice((" AND ", " OR "))
        inner = word.join(drawn(rng, depth - 1) for _ in range(2))
        return f"NOT ({inner})" if rng.random() < 0.3 else f"({inner})"
    name = rng.choice("xds")
    v, w = (f"'{n}'" if name == "s" else str(n) for n in sorted(rng.sample(range(30), 2)))
    return rng.choice(CONDITIONS).format(c=name, v=v, w=w)


@pytest.mark.parametrize("seed", range(25))
def test_nothing_of_the_rows_shows_what_was_skipped(seed: int, tmp_path: Path) -> None:
    """The same rows at the same places before and after each position, and the same watermark behind them."""
    rng = random_of("row groups", seed)
    n, path = 60, tmp_path / "f.parquet"

    def some(i: int, value: Any) -> Any:
        return None if rng.random() < 0.1 or 20 <= i < 24 else value

    near = [min(29, max(0, i // 2 + rng.randint(-2, 2))) for i in range(n)]
    table = pa.table(
        {
            "x": pa.array([some(i, v) for i, v in enumerate(near)], pa.int32()),
            "d": pa.array([some(i, rng.choice((float(v), float("nan")))) for i, v in enumerate(near)]),
            "s": pa.array([some(i, str(v)) for i, v in enumerate(near)]),
            "ts": at(*(some(i, rng.randint(0, 99)) for i in range(n))),
        }
    )
    pq.write_table(table, path, row_group_size=rng.choice((1, 4, 7)))
    where = drawn(rng)
    request = request_of(NUMBERED, where, "ts - INTERVAL '5' SECOND")
    t = parquet(path, NUMBERED)
    everything = batches(t, replace(request, skip=None))
    marks = [NO_WATERMARK if r["_w"] is None else r["_w"] for b in everything for r in b.batch.to_pylist()]
    found = batches(t, request, most=rng.choice((1, 3, 100)))
    assert kept(found) == kept(everything), said(where)
    watermark = NO_WATERMARK
    for i, b in enumerate(found):
        rest = batches(t, request, b.position)
        assert kept(rest) == kept(found[i + 1 :]), said(where)
        end = b.position["row"]
        assert b.first_row + (b.passed.rows if b.passed else b.batch.num_rows) == end
        of = [b.passed.mark] if b.passed else [NO_WATERMARK if m is None else m for m in b.batch["_w"].to_pylist()]
        watermark = max(watermark, *of) if of else watermark
        assert watermark == max(marks[:end], default=NO_WATERMARK), said(where)
    assert found[-1].position == {"row": n}
