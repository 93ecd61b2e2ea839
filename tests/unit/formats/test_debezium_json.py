"""debezium-json both ways."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from connector_cases import file_table, read, read_from, read_positions, relation, schema, sink_of, source_of

from sqlstream.contracts import ScanColumn, ScanRequest, SinkTask, TableContext
from sqlstream.errors import DataError
from sqlstream.types import BIGINT, STRING

AB = schema(("a", BIGINT), ("b", STRING))
ONE, TWO = '{"a":1,"b":"x"}', '{"a":2,"b":"y"}'
LINES = [
    f'{{"before":null,"after":{ONE},"op":"c"}}',
    f'{{"before":null,"after":{TWO},"op":"r","source":{{"ts":1}}}}',
    f'{{"before":{ONE},"after":{TWO},"op":"u"}}',
    "null",
    f'{{"before":{TWO},"after":null,"op":"d"}}',
]
ROWS = [(1, "x", 0), (2, "y", 0), (1, "x", 1), (2, "y", 2), (2, "y", 3)]


@pytest.mark.parametrize("schema_included", [False, True])
def test_changes(schema_included: bool, tmp_path: Path) -> None:
    lines = [f'{{"schema":{{}},"payload":{x}}}' for x in LINES] if schema_included else LINES
    path = tmp_path / "f.json"
    path.write_text("\n".join(lines))
    options = {"debezium__json_schema__include": str(schema_included).lower()}
    tab = file_table(path, AB, format="debezium-json", **options)
    assert not source_of(tab).append_only
    assert read(tab)[0] == relation(tab) == ROWS
    request = ScanRequest((ScanColumn(("b",), STRING),), (("d", "length(c0)"),))
    assert read(tab, request)[0] == [(b, 1, op) for _, b, op in ROWS]


def keyed(path: Path, *lines: str) -> TableContext:
    """A table of `lines` with primary key a."""
    path.write_text("\n".join(lines))
    return replace(file_table(path, AB, format="debezium-json"), primary_key=("a",))


def test_with_a_primary_key_before_counts_for_its_key(tmp_path: Path) -> None:
    tab = keyed(
        tmp_path / "f.json",
        LINES[0],
        '{"before":{"a":1},"after":{"a":1,"b":"z"},"op":"u"}',
        '{"before":null,"after":{"a":1,"b":null},"op":"u"}',
        LINES[2],  # the row has another key
        '{"before":{"a":2},"after":null,"op":"d"}',
    )
    rows = [(1, "x", 0), (1, "z", 2), (1, None, 2), (1, "x", 3), (2, "y", 2), (2, None, 3)]
    assert read(tab)[0] == relation(tab) == rows
    for position, _, _ in read_positions(tab, 1):
        assert read_from(tab, position) == rows[position["row"] :]


def test_a_delete_without_a_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a delete has no 'before'") as e:
        read(keyed(tmp_path / "f.json", '{"before":null,"after":null,"op":"d"}'))
    assert "REPLICA IDENTITY NOTHING" in (e.value.hint or "")


def test_resume_within_an_update(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text("\n".join(LINES))
    tab = file_table(path, AB, format="debezium-json")
    for position, _, _ in read_positions(tab, 1):
        assert read_from(tab, position) == ROWS[position["row"] :]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f'{{"before":null,"after":{ONE},"op":"u"}}', "no 'before'"),
        ('{"before":null,"after":null,"op":"d"}', "no 'before'"),
        ('{"before":null,"after":null,"op":"c"}', "no 'after'"),
        (f'{{"before":null,"after":{ONE},"op":"z"}}', "none of c, r, u, d"),
        (f'{{"before":null,"after":{ONE}}}', "no 'op'"),
        (f'{{"schema":{{"type":"struct"}},"payload":{LINES[0]}}}', "it is an envelope"),
        ('{"a":1,"b":"x"}', "no 'op'"),
        ("{}", "no 'op'"),
        ('{"before":null,"after":null,"op":null}', "no 'op'"),
        ('{"before":null,"after":{"a":1.5},"op":"c"}', "field after.a: 1.5 is not a BIGINT"),
        ('{"before":null,"after":7,"op":"c"}', "is not an object"),
    ],
)
def test_malformed(line: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text("\n".join([LINES[0], line, LINES[2]]))
    with pytest.raises(DataError) as e:
        read(file_table(path, AB, format="debezium-json"))
    assert "line 2" in e.value.message and reason in e.value.message
    ignoring = file_table(path, AB, format="debezium-json", debezium__json_ignore__parse__errors="true")
    assert read(ignoring) == ([ROWS[0], ROWS[2], ROWS[3]], 1)


@pytest.mark.parametrize(
    ("options", "line", "hint"),
    [
        ({}, f'{{"schema":{{}},"payload":{LINES[0]}}}', "'debezium-json.schema-include' = 'true'"),
        ({"schema__include": "true"}, LINES[0], "'debezium-json.schema-include' = 'false'"),
        ({"schema__include": "true"}, "{}", "'debezium-json.schema-include' = 'false'"),
        ({}, f'{{"before":null,"after":{ONE},"op":"u"}}', "REPLICA IDENTITY FULL"),
        ({}, '{"before":null,"after":null,"op":"d"}', "REPLICA IDENTITY FULL"),
        ({}, f'{{"before":null,"after":{ONE},"op":"z"}}', "'debezium-json.ignore-parse-errors'"),
    ],
)
def test_what_the_hint_names(options: dict[str, str], line: str, hint: str, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(line + "\n")
    given = {f"debezium__json_{k}": v for k, v in options.items()}
    with pytest.raises(DataError) as e:
        read(file_table(tmp_path / "f.json", AB, format="debezium-json", **given))
    assert hint in (e.value.hint or "")


def test_tombstones_in_envelopes(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('null\n{"schema":{"type":"struct"},"payload":null}\n')
    tab = file_table(tmp_path / "f.json", AB, format="debezium-json", debezium__json_schema__include="true")
    assert read(tab)[0] == relation(tab) == []


def test_written_as_flink_writes(tmp_path: Path) -> None:
    import pyarrow as pa

    tab = file_table(tmp_path / "out", AB, format="debezium-json")
    sink = sink_of(tab)
    assert sink.changelog
    task = SinkTask("j", "r", 0)
    writer = sink.writer(task)
    batch = pa.record_batch({"a": [1, 1, 2, 2], "b": ["x", "x", None, None]})
    writer.write(batch, np.array([0, 1, 2, 3], np.int8))
    (done,) = writer.prepare(1)
    sink.committer(task).commit([done])
    written = [json.loads(x) for x in (tmp_path / "out" / done["final"]).read_text().splitlines()]
    one, two = {"a": 1, "b": "x"}, {"a": 2, "b": None}
    assert written == [
        {"before": None, "after": one, "op": "c"},
        {"before": one, "after": None, "op": "d"},
        {"before": None, "after": two, "op": "c"},
        {"before": two, "after": None, "op": "d"},
    ]
    assert [r[-1] for r in read(tab)[0]] == [0, 3, 0, 3]
