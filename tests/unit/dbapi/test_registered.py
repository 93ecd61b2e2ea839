"""Python objects as tables: registered ones, variables, functions that are written to; and executemany."""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sqlstream
from sqlstream.contracts import Sink, SinkTask, SinkWriter
from sqlstream.dbapi.values import plain, type_of

DATA = pa.table({"id": [1, 2, 3], "name": ["a", None, "c"]})
ROWS = [(1, "a"), (2, None), (3, "c")]
BY_MINUTE = """
    SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
    GROUP BY window_start, window_end
"""
T = datetime.datetime(2024, 1, 1)


@pytest.fixture(params=["automatic", "streaming"])
def connection(request: pytest.FixtureRequest) -> Iterator[sqlstream.Connection]:
    with sqlstream.connect(**{"execution.runtime-mode": request.param}) as made:
        yield made


def clicks() -> Iterator[pa.RecordBatch]:
    for minute in range(3):
        start = T + datetime.timedelta(minutes=minute)
        yield pa.record_batch({"id": [minute, 0], "ts": [start, start + datetime.timedelta(seconds=59)]})


async def later() -> AsyncIterator[pa.RecordBatch]:
    for batch in clicks():
        yield batch


def frames() -> list[Any]:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    return [
        DATA,
        DATA.to_batches()[0],
        DATA.to_pydict(),
        DATA.to_pylist(),
        pandas.DataFrame(DATA.to_pydict()),
        polars.from_arrow(DATA),
        polars.from_arrow(DATA).lazy(),
        DATA.to_reader(),
        lambda: DATA.to_reader(),
        iter(DATA.to_pylist()),
        lambda: iter([DATA.to_pylist()]),
        duckdb.sql("SELECT * FROM (VALUES (1, 'a'), (2, NULL), (3, 'c')) t(id, name)"),
    ]


@pytest.mark.parametrize("n", range(12))
def test_what_has_rows(n: int, connection: sqlstream.Connection) -> None:
    connection.register("t", frames()[n])
    assert sorted(connection.execute("SELECT id, name FROM t")) == ROWS


@pytest.mark.parametrize("value", [5, "t", None, object(), int, [], [1], {"a": 1}])
def test_what_has_none(value: object, connection: sqlstream.Connection) -> None:
    with pytest.raises(sqlstream.ProgrammingError):
        connection.register("t", value)
    with pytest.raises(sqlstream.ProgrammingError, match="no table or view 't'"):
        connection.execute("SELECT * FROM t")


ARROW_TYPES = [
    (pa.array([1, None], pa.uint64()), [Decimal(1), None]),
    (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
    (pa.array(["a", None], pa.large_string()), ["a", None]),
    (pa.array([b"a", None], pa.large_binary()), [b"a", None]),
    (pa.array([T, None], pa.timestamp("ns")), [T, None]),
    (pa.array([-1], pa.timestamp("ns")), [datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)]),
    (pa.array([T], pa.timestamp("ms", "Europe/Berlin")), [T.replace(tzinfo=datetime.UTC)]),
    (pa.array([datetime.date(2024, 2, 29)], pa.date64()), [datetime.date(2024, 2, 29)]),
    (pa.array([datetime.time(1, 2, 3, 4000)], pa.time32("ms")), [datetime.time(1, 2, 3, 4000)]),
    (pa.array([datetime.timedelta(hours=1)], pa.duration("s")), [datetime.timedelta(hours=1)]),
    (pa.array([[1], None], pa.large_list(pa.int32())), [[1], None]),
    (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), [[1, 2]]),
    (pa.array([{"x": 1, "y": ["a"]}, None]), [{"x": 1, "y": ["a"]}, None]),
    (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), [{"k": 1}]),
    (pa.array([None, None]), [None, None]),
]


@pytest.mark.parametrize(("values", "expected"), ARROW_TYPES, ids=[str(v[0].type) for v in ARROW_TYPES])
def test_every_arrow_type(values: pa.Array, expected: list[Any], connection: sqlstream.Connection) -> None:
    data = pa.table({"v": values})  # noqa: F841  a variable, and no registered table
    assert [v for (v,) in connection.execute("SELECT v FROM data")] == expected


@pytest.mark.parametrize("make", [clicks, lambda: clicks, lambda: later(), lambda: later], ids=range(4))
def test_a_stream_with_event_time(make: Callable[[], Any], connection: sqlstream.Connection) -> None:
    connection.register("clicks", make(), watermark=("ts", datetime.timedelta(seconds=5)))
    cursor = connection.execute(BY_MINUTE)
    with pytest.raises(sqlstream.NotSupportedError, match="never ends"):
        cursor.fetchall()
    assert list(cursor) == [(T + datetime.timedelta(minutes=m), 2) for m in range(3)]


def test_a_stream_that_is_bounded_is_read_as_often_as_a_query_wants(connection: sqlstream.Connection) -> None:
    connection.register("c", clicks(), bounded=True)
    assert connection.execute("SELECT COUNT(*) FROM c x JOIN c y ON x.id = y.id").df().iloc[-1, -1] == 18
    with pytest.raises(sqlstream.OperationalError, match="gives its rows once"):
        connection.execute("SELECT * FROM c").fetchall()


def test_a_schema_of_sql(connection: sqlstream.Connection) -> None:
    rows = ({"id": i, "ts": T + datetime.timedelta(seconds=i)} for i in range(3))
    schema = "id INT, ts TIMESTAMP(3), twice AS id * 2, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND"
    connection.register("s", rows, schema=schema)
    assert list(connection.execute("SELECT id, twice FROM s")) == [(0, 0), (1, 2), (2, 4)]


def test_a_changelog() -> None:
    changes = [("+I", 1, 1), ("+I", 2, 5), ("-U", 1, 1), ("+U", 1, 7), ("-D", 2, 5)]
    with sqlstream.connect() as connection:
        rows = [dict(zip(("op", "k", "v"), c, strict=True)) for c in changes]
        connection.register("t", rows, changelog=True, primary_key=["k"])
        assert connection.execute("SELECT k, v FROM t").fetchall() == [(1, 7)]
        connection.register("t", [{"op": "+X", "k": 1, "v": 1}], changelog=True)
        with pytest.raises(sqlstream.DataError, match=r"'op' is '\+X'"):
            connection.execute("SELECT SUM(v) FROM t").fetchall()


def test_what_fails_in_the_program_names_the_table(connection: sqlstream.Connection) -> None:
    def broken() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        raise ZeroDivisionError("oh")

    connection.register("broken", broken)
    with pytest.raises(sqlstream.OperationalError, match="table broken: its iterator failed: ZeroDivisionError: oh"):
        list(connection.execute("SELECT a FROM broken"))


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([1], "its first item cannot be had: TypeError: an item is a int"),
        ([], "the stream is empty"),
        ([{"a": 1}, {"a": 2}, 5], None),
    ],
)
def test_items_that_are_no_rows(items: list[Any], text: str | None, connection: sqlstream.Connection) -> None:
    if text is not None:
        with pytest.raises(sqlstream.ProgrammingError, match=text):
            connection.register("t", iter(items))
        return
    connection.register("t", iter(items))
    with pytest.raises(sqlstream.OperationalError, match="table t: its iterator failed: TypeError: an item is a int"):
        list(connection.execute("SELECT a FROM t"))


def test_unregister(connection: sqlstream.Connection) -> None:
    connection.register("t", DATA).register("t", DATA.slice(1))
    assert len(connection.execute("SELECT id FROM t").fetchall()) == 2
    connection.unregister("t")
    for use in (lambda: connection.execute("SELECT id FROM t"), lambda: connection.unregister("t")):
        with pytest.raises(sqlstream.ProgrammingError):
            use()


OF_THE_MODULE = DATA


def test_variables_are_tables(connection: sqlstream.Connection) -> None:
    local = DATA.slice(2)  # noqa: F841  the query reads it
    query = "SELECT l.id FROM local l JOIN OF_THE_MODULE m ON l.id = m.id"
    assert connection.execute(query).fetchone() == (3,)

    def elsewhere() -> None:
        connection.execute("SELECT * FROM local")

    with pytest.raises(sqlstream.ProgrammingError, match="no table or view 'local'"):
        elsewhere()
    script = connection.cursor().executescript("SET 'pipeline.name' = 'x'; SELECT id FROM local")
    assert script.fetchone() == (3,)
    connection.register("local", DATA)  # a table comes first
    assert len(connection.execute("SELECT id FROM local").fetchall()) == 3
    other = [1, 2]
    with sqlstream.connect(replacement_scans=False) as strict:
        for name in ("OF_THE_MODULE", "other"):
            with pytest.raises(sqlstream.ProgrammingError, match="no table or view"):
                (strict if name == "OF_THE_MODULE" else connection).execute(f"SELECT * FROM {name}")
    assert other


def test_a_function_is_written_to(connection: sqlstream.Connection) -> None:
    plain: list[Any] = []
    changed: list[Any] = []
    schema = pa.schema([("name", pa.string()), ("n", pa.int64())])
    connection.register("t", DATA)
    connection.register_sink("plain", lambda batch: plain.extend(batch.to_pylist()), "id BIGINT")
    connection.register_sink("changed", lambda b, kinds: changed.extend(kinds.to_pylist()), schema, changelog=True)
    assert connection.execute("INSERT INTO plain SELECT id FROM t").rowcount == 3
    assert sorted(r["id"] for r in plain) == [1, 2, 3]
    connection.execute("INSERT INTO changed SELECT name, COUNT(*) FROM t GROUP BY name")
    assert changed == ["+I"] * 3
    with pytest.raises(sqlstream.NotSupportedError):
        connection.execute("SET 'execution.runtime-mode' = 'streaming'")
        connection.execute("INSERT INTO plain SELECT COUNT(*) FROM t GROUP BY name")
    for name, text in (("plain", "cannot be read"), ("t", "cannot be written")):
        sql = f"SELECT * FROM {name}" if name == "plain" else "INSERT INTO t VALUES (1, 'a')"
        with pytest.raises(sqlstream.NotSupportedError, match=text):
            connection.execute(sql)


def test_a_function_that_fails(connection: sqlstream.Connection) -> None:
    connection.register_sink("f", lambda batch: 1 / 0, "a INT")
    with pytest.raises(sqlstream.OperationalError, match="its function failed: ZeroDivisionError"):
        connection.execute("INSERT INTO f VALUES (1)")
    with pytest.raises(sqlstream.ProgrammingError, match="neither a function nor a Sink"):
        connection.register_sink("f", 5, "a INT")  # type: ignore[arg-type]


class Phases(SinkWriter):
    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def write(self, batch: pa.RecordBatch, kinds: object) -> None:
        self.seen.append("write")

    def prepare(self, checkpoint: int) -> list[dict[str, Any]]:
        self.seen.append("prepare")
        return []


class TwoPhases(Sink):
    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def writer(self, task: SinkTask) -> SinkWriter:
        return Phases(self.seen)


def test_a_sink_of_two_phases(connection: sqlstream.Connection) -> None:
    seen: list[str] = []
    connection.register_sink("s", TwoPhases(seen), "a INT")
    connection.execute("INSERT INTO s VALUES (1)")
    assert seen[0] == "write" and "prepare" in seen


def test_a_durable_job_goes_on_reading_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[int] = []

    def take(batch: pa.RecordBatch) -> None:
        if len(seen) == 1 and failing:
            raise OSError("lost")
        seen.extend(batch.column(0).to_pylist())

    data = pa.table({"a": range(10)})
    options = {"pipeline.name": "j", "execution.epoch.max-rows": "1", "restart-strategy.type": "none"}
    for failing in (True, False):
        with sqlstream.connect(**options, **{"execution.checkpointing.interval": "1 ms"}) as connection:
            connection.register("t", data).register_sink("s", take, "a BIGINT")
            if failing:
                with pytest.raises(sqlstream.OperationalError, match="lost"):
                    connection.execute("INSERT INTO s SELECT a FROM t")
            else:
                connection.execute("INSERT INTO s SELECT a FROM t")
    assert sorted(set(seen)) == list(range(10)) and len(seen) <= 12


# ---- executemany


def table(connection: sqlstream.Connection, path: Path, columns: str) -> None:
    connection.execute(
        f"CREATE TABLE o ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}/o', 'format' = 'json')"
    )


def test_executemany(connection: sqlstream.Connection, tmp_path: Path) -> None:
    table(connection, tmp_path, "a INT, b STRING, c DOUBLE")
    cursor = connection.cursor()
    rows = [(1, "x?", 1), (2, None, 2.5), (3, ":b", None)]
    assert cursor.executemany("INSERT INTO o VALUES (?, UPPER(?), ?) -- ?", rows).rowcount == 3
    assert cursor.description is None
    named = [{"a": 4, "b": "q"}, {"a": 5, "b": "r", "unused": 1}]
    assert cursor.executemany("INSERT INTO o (b, a) VALUES (:b, :a + 0);", named).rowcount == 2
    assert cursor.executemany("INSERT INTO o VALUES (7, 'seven', 7.0)", [(), ()]).rowcount == 2
    assert cursor.executemany("INSERT INTO o (a) VALUES (?)", []).rowcount == 0
    got = sorted(connection.execute("SELECT * FROM o").fetchall())
    assert got[:5] == [(1, "X?", 1.0), (2, None, 2.5), (3, ":B", None), (4, "q", None), (5, "r", None)]
    assert got[5:] == [(7, "seven", 7.0)] * 2


@pytest.mark.parametrize(
    ("sql", "rows", "text"),
    [
        ("INSERT INTO o VALUES (?, ?, 1)", [(1, "a"), (2,)], "row 2: the statement has 2 parameters, 1 were given"),
        ("INSERT INTO o VALUES (:a, 'b', 1)", [{"b": 1}], "row 1: the statement has parameter :a"),
        ("INSERT INTO o VALUES (?, 'b', 1)", [(1,), ("x",)], "parameter 1: INT and STRING do not go together"),
        ("INSERT INTO o VALUES (?, 'b', 1)", [(object(),)], "it cannot be a object"),
        ("INSERT INTO o VALUES (?, 'b', 1)", ["x"], "row 1: parameters are a sequence"),
        ("INSERT INTO o VALUES (?, 'b', 1)", [("x",)], "column 'a' is INT, the query gives STRING"),
    ],
)
def test_executemany_says_what_does_not_fit(
    sql: str, rows: list[Any], text: str, connection: sqlstream.Connection, tmp_path: Path
) -> None:
    table(connection, tmp_path, "a INT, b STRING, c DOUBLE")
    with pytest.raises(sqlstream.ProgrammingError, match=text):
        connection.cursor().executemany(sql, rows)


@pytest.mark.parametrize("sql", ["SELECT ?", "INSERT INTO o SELECT ?", "INSERT INTO o VALUES (?), (?)", "SET 'a' = ?"])
def test_executemany_is_for_values(sql: str, connection: sqlstream.Connection) -> None:
    with pytest.raises(sqlstream.NotSupportedError, match="INSERT INTO … VALUES"):
        connection.cursor().executemany(sql, [(1,)])


# ---- what goes in comes out


@dataclasses.dataclass
class Point:
    x: int
    y: str


Pair = collections.namedtuple("Pair", "x y")

VALUES = st.one_of(
    st.booleans(),
    st.integers(-(10**38) + 1, 10**38 - 1),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-(10**20), max_value=10**20),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.datetimes(
        min_value=datetime.datetime(1, 1, 3), max_value=datetime.datetime(9999, 12, 29), timezones=st.timezones()
    ),
    st.timedeltas(datetime.timedelta(days=-90_000), datetime.timedelta(days=90_000)),
    st.uuids(),
    st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=4),
    st.dictionaries(st.text("abc'?:`"), st.floats(allow_nan=False), min_size=1, max_size=3),
    st.builds(Point, st.integers(0, 100), st.text("ab'")),
    st.builds(Pair, st.integers(0, 100), st.text("ab'")),
)


def expected(value: Any) -> Any:
    if isinstance(value, Point):
        return dataclasses.asdict(value)
    if hasattr(value, "_asdict"):
        return value._asdict()
    return str(value) if type(value).__name__ == "UUID" else value


def in_arrow(value: Any) -> Any:
    return value // datetime.timedelta(microseconds=1) if isinstance(value, datetime.timedelta) else expected(value)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(VALUES, min_size=1, max_size=5))
def test_values_come_back(values: list[Any]) -> None:
    with sqlstream.connect() as connection:
        got = connection.execute(f"SELECT {', '.join('?' for _ in values)}", values).fetchone()
        assert got == tuple(map(expected, values))
        names = {f"p{i}": v for i, v in enumerate(values)}
        assert connection.execute(f"SELECT {', '.join(':' + n for n in names)}", names).fetchone() == got


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES, st.booleans())
def test_values_of_many_rows_come_back(value: Any, first: bool) -> None:
    """As columns they are what they are as literals; an INTERVAL is microseconds to Arrow."""
    seen: list[Any] = []
    with sqlstream.connect() as connection:
        connection.register_sink("s", lambda batch: seen.append(batch), f"v {type_of([plain(value)])}")
        connection.cursor().executemany(
            "INSERT INTO s VALUES (?)", [(value,), (None,)] if first else [(None,), (value,)]
        )
        back = pa.Table.from_batches(seen)  # noqa: F841  the query reads it
        rows = [v for (v,) in connection.execute("SELECT v FROM back")]
    assert sorted([v for v in rows if v is not None], key=str) == [in_arrow(value)] and len(rows) == 2
