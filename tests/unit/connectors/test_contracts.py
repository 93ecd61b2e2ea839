"""Every registered connector and format keeps the contract of `contracts.py`. A new connector has its case here."""

from __future__ import annotations

import json
import pickle
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from connector_cases import Row, read, relation, schema, sink_of, source_of, table, whole
from harness.servers import Kafka, PostgreSQL
from harness.topics import Topics

from sqlstream.connectors.python import OBJECTS
from sqlstream.connectors.python_source import TableObject
from sqlstream.connectors.registry import CONNECTORS
from sqlstream.connectors.relation import relation_of
from sqlstream.contracts import Connector, ScanColumn, ScanRequest, SinkTask, Source, Split, TableContext
from sqlstream.errors import NotSupported
from sqlstream.formats.registry import FORMATS
from sqlstream.types import BIGINT, INT, STRING, Schema

AB = schema(("a", BIGINT), ("b", STRING))


@dataclass(frozen=True)
class Case:
    """A table of a connector whose rows are the same each time: its columns, its options, and files that it reads.

    `server`: the fixture of what it needs, and `made`: options of a new table there, with rows."""

    columns: Schema
    options: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    server: str = ""
    made: Callable[[Any], Mapping[str, str]] = lambda server: {}


def postgresql_table(server: PostgreSQL) -> Mapping[str, str]:
    name = f"t{uuid.uuid4().hex}"
    server.psql(f"CREATE TABLE {name} AS SELECT i::int8 AS a, 'x' || i AS b FROM generate_series(1, 5) i")
    return {"url": server.url(), "table__name": name}


def kafka_topic(server: Kafka) -> Mapping[str, str]:
    topics = Topics(server.bootstrap)
    name = topics.new(2)
    for p in (0, 1):
        topics.put(name, [f'{{"a": {i}, "b": "x{i}"}}' for i in range(3 * p, 3 + 2 * p)], partition=p)
    return {"properties.bootstrap.servers": server.bootstrap, "topic": name, "sink_transactional__id__prefix": name}


CASES = {
    "blackhole": Case(AB, {}),
    "datagen": Case(AB, {"number__of__rows": "20", "fields_b_null__rate": "0.5"}),
    "filesystem": Case(AB, {"path": "{directory}"}),
    "jdbc": Case(AB, {"sink_delivery__guarantee": "exactly-once"}, server="postgresql", made=postgresql_table),
    "kafka": Case(
        AB,
        {
            "format": "json",
            "scan_startup_mode": "earliest-offset",
            "scan_bounded_mode": "latest-offset",
            "sink_delivery__guarantee": "exactly-once",
        },
        server="kafka",
        made=kafka_topic,
    ),
    "nexmark": Case(schema(("event_type", INT)), {"events_num": "60"}),
    "print": Case(AB, {}),
    "python": Case(AB, {"object": "of test_contracts"}),
}


@dataclass(frozen=True)
class Kind:
    """A connector, with a format if it takes one."""

    connector: str
    format: str | None = None

    def __str__(self) -> str:
        return self.connector if self.format is None else f"{self.connector}-{self.format}"

    def table(self, directory: Path, request: pytest.FixtureRequest) -> TableContext:
        """Its table; files of two splits are there, and a server if it needs one."""
        assert self.connector in CASES, f"connector '{self.connector}' has no case in test_contracts.py"
        case = CASES[self.connector]
        options = {k: v.format(directory=directory) for k, v in case.options.items()}
        if case.server:
            options.update(case.made(request.getfixturevalue(case.server)))
        for name, text in case.files.items():
            (directory / name).write_text(text)
        if self.format is None:
            return table(case.columns, connector=self.connector, **options)
        t = table(case.columns, connector=self.connector, format=self.format, **options)
        for subtask, rows in enumerate(([(1, "x"), (2, "-"), (3, "y")], [(4, "z")])):
            stage(t, SinkTask("earlier", "run", subtask), rows)()
        return t


OBJECTS.add("of test_contracts", TableObject(pa.table({"a": range(5), "b": ["x", None, "z", "", "y"]})))
SERVED = {"upsert-kafka"}  # its rows have a key: see tests/connectors
FILES = sorted(n for n, f in FORMATS.items() if f.files)
KINDS = [Kind(c, f) for c in sorted(CONNECTORS.keys() - SERVED) for f in (FILES if c == "filesystem" else [None])]
READ = [k for k in KINDS if CONNECTORS[k.connector].source is not Connector.source]
# the object of 'python' is read here: one that is written is a function (unit/dbapi/test_registered.py)
WRITTEN = [k for k in KINDS if CONNECTORS[k.connector].sink is not Connector.sink and k.connector != "python"]


def stage(t: TableContext, task: SinkTask, rows: list[tuple[int, str]]) -> Callable[[], None]:
    """Writes rows as a task does, up to a checkpoint. What it gives commits them."""
    sink = pickle.loads(pickle.dumps(sink_of(t)))
    writer = sink.writer(task)
    a, b = zip(*rows, strict=True)
    kinds = np.zeros(len(rows), np.int8) if sink.changelog else None
    writer.write(pa.record_batch({"a": pa.array(a, pa.int64()), "b": pa.array(b)}), kinds)
    writer.flush()
    staged = json.loads(json.dumps(writer.prepare(1)))
    writer.close()
    return lambda: sink.committer(task).commit(staged)


@pytest.fixture(params=READ, ids=str)
def given(request: pytest.FixtureRequest, tmp_path: Path) -> TableContext:
    """A table of each kind that can be read from."""
    made: TableContext = request.param.table(tmp_path, request)
    return made


@pytest.fixture
def source(given: TableContext) -> Source:
    """Its source, as a task gets it."""
    made: Source = pickle.loads(pickle.dumps(source_of(given)))
    return made


def rows_from(
    source: Source, split: Split, position: Any, request: ScanRequest, size: int, first: int = 0
) -> tuple[list[Row], list[tuple[int, int, Any]]]:
    """The rows of a split from a position on; of each batch its first row's number, how many it has, and its position."""
    rows: list[Row] = []
    batches = []
    reader = source.reader(split, position, request, first)
    try:
        while not reader.finished:
            got = reader.poll(size)
            if got is not None and got.batch.num_rows:
                rows += [tuple(r.values()) for r in got.batch.to_pylist()]
                batches.append((got.first_row, got.batch.num_rows, got.position))
    finally:
        reader.close()
    return rows, batches


def test_splits_are_the_same_another_time(given: TableContext, source: Source) -> None:
    splits = source.splits()
    assert splits and source_of(given).splits() == splits
    assert len({s.id for s in splits}) == len(splits)
    json.dumps([dict(s.info) for s in splits])
    known = tuple(pickle.loads(pickle.dumps(splits)))
    assert tuple(source_of(given).splits(known)) == known


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_both_ways_give_the_same_rows(given: TableContext, source: Source, size: int) -> None:
    assert read(given, batch=size, source=source)[0] == relation(given) != []


@pytest.mark.parametrize("size", [1, 3])
def test_reading_goes_on_from_each_position(given: TableContext, source: Source, size: int) -> None:
    request = whole(given.schema)
    for split in source.splits():
        rows, batches = rows_from(source, split, None, request, size)
        done = 0
        for first, n, position in batches:
            assert first == done and n <= size
            done += n
            again = json.loads(json.dumps(position))
            assert rows_from(source, split, again, request, size, done)[0] == rows[done:]
        assert done == len(rows)


def test_a_request_for_nothing_has_all_rows(given: TableContext, source: Source) -> None:
    n = len(relation(given))
    assert len(relation(given, ScanRequest(()))) == n
    assert len(read(given, ScanRequest(()), source=source)[0]) == n


def test_columns_come_in_the_order_of_the_request_then_what_is_derived(given: TableContext, source: Source) -> None:
    columns = [ScanColumn((c.name,), c.type) for c in reversed([*given.schema])]
    last = len(columns) - 1
    request = ScanRequest(tuple(columns), (("d0", f"c{last} IS NULL"), ("d1", f"c{last}")))
    n = len(columns)  # behind them is the kind of the change, if rows can change
    rows = [(*reversed(r[:n]), r[0] is None, r[0], *r[n:]) for r in relation(given)]
    assert relation(given, request) == rows == read(given, request, source=source)[0]


def test_a_relation_is_scanned_as_often_as_a_statement_names_it(given: TableContext, source: Source) -> None:
    with duckdb.connect() as connection:
        found = relation_of(source, connection, whole(given.schema))
        both = connection.execute(f"SELECT * FROM {found} UNION ALL SELECT * FROM {found}").fetchall()
    assert sorted(both, key=str) == sorted(2 * relation(given), key=str)


@pytest.mark.parametrize("kind", WRITTEN, ids=str)
def test_what_is_committed_is_there_once(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    t = kind.table(tmp_path, request)
    before = [r[:2] for r in relation(t)] if kind in READ else []
    rows = [(7, "p"), (8, "q")]
    commit = stage(t, SinkTask("job", "run", 0), rows)
    assert kind not in READ or [r[:2] for r in relation(t)] == before
    for _ in range(2):
        commit()
    assert kind not in READ or sorted(r[:2] for r in relation(t)) == sorted([*before, *rows])


def test_cases_are_of_connectors() -> None:
    assert CASES.keys() | SERVED == CONNECTORS.keys(), "connectors/registry.py has others than there are cases here"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_a_connector_cannot_do_is_refused(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    t = kind.table(tmp_path, request)
    for does, made, what in ((READ, source_of, "read from"), (WRITTEN, sink_of, "written to")):
        if kind not in does:
            with pytest.raises(NotSupported, match=f"table t: connector '{kind.connector}' cannot be {what}"):
                made(t)
