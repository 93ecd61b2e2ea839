"""canal-json, maxwell-json and ogg-json, as Flink's documentation has them: what each record of these tools means, and what is
written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from connector_cases import file_table, read, read_from, read_positions, relation, schema, sink_of

from sqlstream.contracts import ScanColumn, ScanRequest, SinkTask, TableContext
from sqlstream.errors import DataError, NotSupported, OptionError
from sqlstream.types import BIGINT, INT, STRING, array, decimal, row

PRODUCTS = schema(("id", BIGINT), ("name", STRING), ("weight", decimal(10, 3)))
SCOOTER, LIGHTER = (1, "scooter", "3.140"), (1, "scooter", "5.180")


def file_of(path: Path, format: str, *records: Any, columns: Any = PRODUCTS, **options: str) -> TableContext:
    """A table of these records: objects, or text as it stands."""
    path.write_text("".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in records))
    return file_table(path, columns, format=format, **options)


def rows_of(t: TableContext, request: ScanRequest | None = None) -> list[tuple[Any, ...]]:
    """The same ones in every way."""
    found = read(t, request)[0]
    assert found == relation(t, request)
    return [tuple(str(v) if i == 2 and len(r) == 4 and v is not None else v for i, v in enumerate(r)) for r in found]


def canal(type: str, data: Any, old: Any = None, **more: Any) -> dict[str, Any]:
    """A record as Canal writes it: values are texts."""
    return {
        "data": data, "database": "shop", "es": 1_600_000_000_000, "id": 7, "isDdl": False, "mysqlType": {"id": "INTEGER"}, "old": old,
        "pkNames": ["id"], "sql": "", "sqlType": {"id": 4, "name": 12}, "table": "products", "ts": 1_600_000_000_123, "type": type, **more,
    }  # fmt: skip


def test_canal(tmp_path: Path) -> None:
    one, two = {"id": "1", "name": "scooter", "weight": "3.14"}, {"id": "2", "name": None, "weight": "0.1"}
    t = file_of(
        tmp_path / "f.json", "canal-json", canal("CREATE", None, sql="CREATE TABLE products (…)", isDdl=True), canal("INSERT", [one, two]),
        canal("UPDATE", [{**one, "weight": "5.18"}, {**two, "name": "car"}], [{"weight": "3.14"}, {"name": None}]), "null",
        canal("DELETE", [two]),
    )  # fmt: skip
    second, named = (2, None, "0.100"), (2, "car", "0.100")
    expected = [
        (*SCOOTER, 0), (*second, 0), (*SCOOTER, 1), (*LIGHTER, 2), (*second, 1), (*named, 2), (*second, 3),
    ]  # fmt: skip
    assert rows_of(t) == expected
    for position, _, _ in read_positions(t, 1):
        assert len(read_from(t, position)) == len(expected) - position["row"]
    only = ScanRequest((ScanColumn(("name",), STRING),))
    assert rows_of(t, only) == [(r[1], r[3]) for r in expected]
    assert len(rows_of(t, ScanRequest(()))) == len(expected)


def test_canal_reads_what_is_included(tmp_path: Path) -> None:
    """The rows of others may be of any form."""
    mine, other = {"id": "1", "name": "a", "weight": "1"}, {"id": "x", "weight": {"no": "number"}}
    records = [canal("INSERT", [mine]), canal("INSERT", [other], table="users"), canal("INSERT", [other], database="Shop"),
               canal("ALTER", None, table="users", isDdl=True)]  # fmt: skip
    t = file_of(tmp_path / "f.json", "canal-json", *records)
    options = {**t.options, "canal-json.database.include": "sh.p", "canal-json.table.include": "products|pro"}
    assert rows_of(replace(t, options=options)) == [(1, "a", "1.000", 0)]
    for value, error in (("(", OptionError), (r"(a)\1", NotSupported)):
        with pytest.raises(error, match="canal-json.table.include"):
            read(replace(t, options={**options, "canal-json.table.include": value}))


def test_canal_nested(tmp_path: Path) -> None:
    """Fields that the table has not are passed over, also within rows."""
    columns = schema(("id", INT), ("r", row(("x", INT), ("l", array(row(("y", STRING)))))))
    value = {"id": "1", "r": {"x": "2", "z": 1, "l": [{"y": "a", "q": 1}, {"q": 2}, None]}, "more": [1]}
    t = file_of(tmp_path / "f.json", "canal-json", canal("UPDATE", [value], [{"r": None}]), columns=columns)
    inner = {"f0": 2, "f1": [{"f0": "a"}, {"f0": None}, None]}
    assert read(t)[0] == relation(t) == [(1, None, 1), (1, inner, 2)]
    request = ScanRequest((ScanColumn(("r", "x"), INT),))
    assert read(t, request)[0] == [(None, 1), (2, 2)]


def maxwell(type: str, data: Any, **more: Any) -> dict[str, Any]:
    return {"database": "shop", "table": "products", "type": type, "ts": 1_600_000_000, "xid": 7, "commit": True, "data": data,
            "primary_key_columns": ["id"], **more}  # fmt: skip


def test_maxwell(tmp_path: Path) -> None:
    one, two = {"id": 1, "name": "scooter", "weight": 3.14}, {"id": 2, "name": "car", "weight": 0.1, "more": 1}
    t = file_of(
        tmp_path / "f.json", "maxwell-json", maxwell("insert", one), "null", maxwell("update", {**one, "weight": 5.18}, old={"weight": 3.14}),
        maxwell("update", two, old={"name": None, "id": 3}), maxwell("delete", two),
    )  # fmt: skip
    car, before = (2, "car", "0.100"), (3, None, "0.100")
    expected = [(*SCOOTER, 0), (*SCOOTER, 1), (*LIGHTER, 2), (*before, 1), (*car, 2), (*car, 3)]
    assert rows_of(t) == expected
    keyed = replace(t, primary_key=("id",))
    assert rows_of(keyed) == [(*SCOOTER, 0), (*LIGHTER, 2), (*before, 3), (*car, 2), (*car, 3)]


def ogg(op: str, before: Any, after: Any, **more: Any) -> dict[str, Any]:
    return {"table": "SHOP.PRODUCTS", "op_type": op, "op_ts": "2020-05-13 15:40:06.000000", "current_ts": "2020-05-13T15:40:07.000123",
            "primary_keys": ["id"], "before": before, "after": after, **more}  # fmt: skip


def test_ogg(tmp_path: Path) -> None:
    one, light = ({"id": 1, "name": "scooter", "weight": w} for w in (3.14, 5.18))
    t = file_of(
        tmp_path / "f.json", "ogg-json", ogg("I", None, one), ogg("U", one, light), "null", ogg("D", light, None)
    )
    assert rows_of(t) == [(*SCOOTER, 0), (*SCOOTER, 1), (*LIGHTER, 2), (*LIGHTER, 3)]
    keyed = replace(file_of(tmp_path / "k.json", "ogg-json", ogg("U", None, one)), primary_key=("id",))
    assert rows_of(keyed) == [(*SCOOTER, 2)]


@pytest.mark.parametrize(
    ("format", "record", "reason"),
    [
        ("canal-json", canal("TRUNCATE", None, isDdl=True), "'type' is none of INSERT, UPDATE, DELETE"),
        ("canal-json", canal("INSERT", None), "it has no 'data'"),
        ("canal-json", canal("UPDATE", [{"id": 1}], None), "an update has fewer rows in 'old'"),
        ("canal-json", canal("UPDATE", [{"id": 1}, {"id": 2}], [{}]), "an update has fewer rows in 'old'"),
        ("canal-json", canal("INSERT", {"id": 1}), "Expected ARRAY"),
        ("canal-json", canal("INSERT", [{"id": 1}, 5]), "a row in 'data' or 'old' is not an object"),
        ("canal-json", canal("DELETE", [None]), "a row in 'data' or 'old' is not an object"),
        ("canal-json", canal("UPDATE", [{"id": 1}], ["x"]), "a row in 'data' or 'old' is not an object"),
        ("canal-json", canal("INSERT", [{"id": "x"}]), "not a BIGINT: x"),
        ("canal-json", canal("INSERT", [{"id": 1, "name": "a", "weight": "y"}]), "not a DECIMAL"),
        ("canal-json", {"data": [{"id": 1}]}, "it has no 'type'"),
        ("canal-json", "[", ""),
        ("maxwell-json", maxwell("bootstrap-start", {}), "'type' is none of insert, update, delete"),
        ("maxwell-json", maxwell("insert", None), "it has no 'data'"),
        ("maxwell-json", maxwell("update", {"id": 1}), "an update has no 'old'"),
        ("maxwell-json", {"data": {"id": 1}}, "it has no 'type'"),
        ("maxwell-json", maxwell("update", {"id": 1}, old={"id": "x"}), "field old.id: x is not a BIGINT"),
        ("maxwell-json", "{", "not valid JSON"),
        ("ogg-json", ogg("T", None, None), "'op_type' is none of I, U, D"),
        ("ogg-json", ogg("U", None, {"id": 1}), "an update or delete has no 'before'"),
        ("ogg-json", ogg("I", None, None), "an insert or update has no 'after'"),
        ("ogg-json", {"after": {"id": 1}}, "it has no 'op_type'"),
        ("ogg-json", ogg("I", None, {"id": 1.5}), "field after.id: 1.5 is not a BIGINT"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_malformed(format: str, record: Any, reason: str, tmp_path: Path) -> None:
    good = {"canal-json": canal("INSERT", [{"id": 1}]), "maxwell-json": maxwell("insert", {"id": 1}),
            "ogg-json": ogg("I", None, {"id": 1})}[format]  # fmt: skip
    t = file_of(tmp_path / "f.json", format, good, record, good)
    with pytest.raises(DataError) as e:
        read(t)
    assert "line 2: malformed record" in e.value.message and reason in e.value.message
    ignoring = replace(t, options={**t.options, f"{format}.ignore-parse-errors": "true"})
    assert read(ignoring) == ([(1, None, None, 0)] * 2, 1)


@pytest.mark.parametrize(
    ("format", "made", "gone"),
    [
        ("canal-json", '{"data":[%s],"type":"INSERT"}', '{"data":[%s],"type":"DELETE"}'),
        ("maxwell-json", '{"data":%s,"type":"insert"}', '{"data":%s,"type":"delete"}'),
        ("ogg-json", '{"before":null,"after":%s,"op_type":"I"}', '{"before":%s,"after":null,"op_type":"D"}'),
    ],
)
def test_written_as_flink_writes(format: str, made: str, gone: str, tmp_path: Path) -> None:
    """It has no updates there: the row before one is deleted, and the one behind it comes."""
    t = file_table(tmp_path / "out", schema(("a", BIGINT), ("b", STRING)), format=format)
    sink, task = sink_of(t), SinkTask("j", "r", 0)
    writer = sink.writer(task)
    writer.write(pa.record_batch({"a": [1, 1, 2, 2], "b": ["x", "x", None, '"']}), np.array([0, 1, 2, 3], np.int8))
    (done,) = writer.prepare(1)
    sink.committer(task).commit([done])
    rows = ['{"a":1,"b":"x"}', '{"a":1,"b":"x"}', '{"a":2,"b":null}', '{"a":2,"b":"\\""}']
    written = (tmp_path / "out" / done["final"]).read_text().splitlines()
    assert written == [form % r for form, r in zip((made, gone, made, gone), rows, strict=True)]
    assert sink.changelog
    assert [r[-1] for r in read(t)[0]] == [0, 3, 0, 3]
