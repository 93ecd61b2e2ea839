"""Avro's container files: those that fastavro writes are read, and it reads those that are written. Damage is told with its place."""

from __future__ import annotations

import datetime as dt
import io
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from connector_cases import file_table, read, read_from, read_positions, relation, schema, sink_of

import sqlstream
from sqlstream.cli.main import main
from sqlstream.contracts import ScanColumn, ScanRequest, SinkTask
from sqlstream.errors import DataError, NotSupported
from sqlstream.formats.avro.container import CODECS, is_whole
from sqlstream.formats.readers import METADATA
from sqlstream.testing.connectors import stage
from sqlstream.types import (
    BIGINT,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    INT,
    STRING,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

UTC = dt.UTC
# What fastavro has for some codecs.
OTHERS = {"snappy": "cramjam", "zstandard": "cramjam"}
AB = schema(("a", BIGINT), ("b", STRING))
WRITER = {
    "type": "record", "name": "r",
    "fields": [{"name": "a", "type": "long"}, {"name": "x", "type": "int"}, {"name": "b", "type": ["null", "string"]}],
}  # fmt: skip


def written(
    path: Path, rows: list[dict[str, Any]], writer: Any = WRITER, codec: str = "null", interval: int = 200
) -> None:
    if codec in OTHERS:
        pytest.importorskip(OTHERS[codec])
    with open(path, "wb") as file:
        fastavro.writer(file, fastavro.parse_schema(writer), rows, codec=codec, sync_interval=interval)


def numbered(n: int) -> list[dict[str, Any]]:
    return [{"a": i * i, "x": -i, "b": None if i % 7 == 0 else f"row {i}"} for i in range(n)]


@pytest.mark.parametrize("codec", CODECS)
def test_fastavros_files_are_read(codec: str, tmp_path: Path) -> None:
    rows = numbered(500)
    written(tmp_path / "f.avro", rows, codec=codec)
    t = file_table(tmp_path / "f.avro", AB, format="avro")
    assert read(t)[0] == relation(t) == [(r["a"], r["b"]) for r in rows]


@pytest.mark.parametrize("codec", CODECS)
def test_fastavro_reads_what_is_written(codec: str, tmp_path: Path) -> None:
    rows = [(i, None if i % 5 == 0 else "x" * (i % 300)) for i in range(2_000)]  # some blocks
    t = file_table(tmp_path, AB, format="avro", avro_codec=codec)
    a, b = zip(*rows, strict=True)
    stage(sink_of(t), SinkTask("job", "run", 0), pa.record_batch({"a": pa.array(a, pa.int64()), "b": pa.array(b)}))()
    assert sorted(relation(t), key=lambda r: r[0]) == rows
    if codec in OTHERS:
        pytest.importorskip(OTHERS[codec])
    (path,) = tmp_path.glob("part-*.avro")
    with open(path, "rb") as file:
        found = fastavro.reader(file)
        assert [(r["a"], r["b"]) for r in found] == rows
        assert found.codec == codec and found.writer_schema["name"] == "org.apache.flink.avro.generated.record"
    with open(path, "rb") as file:
        assert len(list(fastavro.block_reader(file))) > 1


def test_reading_goes_on_from_each_position(tmp_path: Path) -> None:
    rows = numbered(3_000)
    written(tmp_path / "f.avro", rows, interval=100)
    t = file_table(tmp_path / "f.avro", AB, format="avro")
    positions = read_positions(t, 700)
    assert [first for _, first, _ in positions] == [0, 700, 1400, 2100, 2800]
    done = 0
    for position, _, found in positions:
        done += len(found)
        assert read_from(t, position) == [(r["a"], r["b"]) for r in rows[done:]]
    assert read_from(t, {"row": 2_990}) == [(r["a"], r["b"]) for r in rows[2_990:]]  # by the number alone


def test_reading_goes_on_within_the_file_and_not_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = numbered(3_000)
    written(tmp_path / "f.avro", rows, interval=100)
    t = file_table(tmp_path / "f.avro", AB, format="avro")
    monkeypatch.setattr("sqlstream.formats.avro.container.AT_ONCE", 10_000)
    position = read_positions(t, 700)[2][0]
    assert position["byte"] > 10_000 and position["row"] >= 1_400
    data = bytearray((tmp_path / "f.avro").read_bytes())
    data[300:400] = bytes(100)  # behind it
    (tmp_path / "f.avro").write_bytes(data)
    assert read_from(t, position) == [(r["a"], r["b"]) for r in rows[position["row"] :]]


def test_types_and_other_schemas(tmp_path: Path) -> None:
    writer = {
        "type": "record", "name": "other", "namespace": "shop", "fields": [
            {"name": "when", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
            {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "tags", "type": {"type": "array", "items": "string"}},
            {"name": "counts", "type": {"type": "map", "values": "long"}},
            {"name": "inner", "type": ["null", {"type": "record", "name": "i", "fields": [{"name": "x", "type": "int"}]}]},
            {"name": "raw", "type": {"type": "fixed", "name": "f", "size": 2}},
            {"name": "kind", "type": {"type": "enum", "name": "e", "symbols": ["NEW", "OLD"]}},
            {"name": "ratio", "type": "float"},
        ],
    }  # fmt: skip
    value = {
        "when": dt.datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), "local": dt.datetime(2026, 1, 2, 3, 4, 5, 678000), "day": dt.date(2026, 1, 2),
        "price": Decimal("12.50"), "tags": ["a", "b"], "counts": {"k": 7}, "inner": {"x": 5}, "raw": b"\x00\x01", "kind": "OLD", "ratio": 0.5,
    }  # fmt: skip
    written(tmp_path / "f.avro", [value, {**value, "day": None, "inner": None}], writer)
    columns = schema(
        ("ratio", DOUBLE), ("when", timestamp_ltz(6)), ("local", timestamp(3)), ("day", DATE), ("price", decimal(10, 3)), ("tags", array(STRING)),
        ("counts", map_of(STRING, BIGINT)), ("inner", row(("x", BIGINT))), ("raw", BYTES_TYPE), ("kind", STRING), ("missing", INT),
    )  # fmt: skip
    t = file_table(tmp_path / "f.avro", columns, format="avro")
    first = (
        0.5, value["when"], value["local"], value["day"], Decimal("12.500"), ["a", "b"], [("k", 7)], {"f0": 5}, b"\x00\x01", "OLD", None,
    )  # fmt: skip
    second = (*first[:3], None, *first[4:7], None, *first[8:])
    assert read(t)[0] == relation(t) == [first, second]
    with sqlstream.connect() as c:
        said = c.execute(f"SHOW CREATE TABLE '{tmp_path}/f.avro'").fetchall()[0][0]
        for column in (
            "`when` TIMESTAMP_LTZ(6)", "`local` TIMESTAMP(3)", "`day` DATE", "`price` DECIMAL(9, 2)", "`tags` ARRAY<STRING>",
            "`counts` MAP<STRING, BIGINT>", "`inner` ROW<`x` INT>", "`raw` BYTES", "`kind` STRING", "`ratio` FLOAT", "'format' = 'avro'",
        ):  # fmt: skip
            assert column in said
        (tmp_path / "f.avro").rename(tmp_path / "by its beginning")
        found = c.execute(f"SELECT kind, `inner`.x FROM '{tmp_path}/by its beginning'").fetchall()
        assert found == [("OLD", 5), ("OLD", None)]


def test_rows_alone_and_what_is_known_of_files(tmp_path: Path) -> None:
    written(tmp_path / "f.avro", numbered(50))
    t = file_table(tmp_path / "f.avro", AB, format="avro")
    assert read(t, ScanRequest(()))[0] == relation(t, ScanRequest(())) == [(1,)] * 50
    request = ScanRequest((ScanColumn((METADATA, "file.name"), STRING), ScanColumn(("a",), BIGINT)))
    assert read(t, request)[0] == [("f.avro", i * i) for i in range(50)]
    request = ScanRequest((ScanColumn(("a",), BIGINT),), derived=(("double", "2 * c0"),))
    assert read(t, request)[0] == [(i * i, 2 * i * i) for i in range(50)]


def test_damage_is_told_with_its_place(tmp_path: Path) -> None:
    written(tmp_path / "f.avro", numbered(100))
    whole = (tmp_path / "f.avro").read_bytes()
    mark = whole[-16:]
    begin = whole.index(mark) + 16
    t = file_table(tmp_path / "f.avro", AB, format="avro")

    def told(data: bytes) -> str:
        (tmp_path / "f.avro").write_bytes(data)
        with pytest.raises(DataError) as e:
            read(t)
        return e.value.message

    assert told(whole[:-1]) == f"{tmp_path}/f.avro: it ends within a block"
    assert "not an Avro file" in told(b"a,b\n1,x\n")
    assert f"the block at byte {begin:,} does not end with the file's mark" in told(
        whole.replace(mark, b"x" * 16, 2).replace(b"x" * 16, mark, 1)
    )
    # a record of b's second branch becomes one of a branch that is not there
    at = whole.index(b"row 1") - 2
    assert whole[at] == 2 and "record 2: malformed record: a union has no such branch" in told(
        whole[:at] + b"\x08" + whole[at + 1 :]
    )
    # one record less than there are
    count = whole[begin]
    assert "the block has more bytes than its records" in told(whole[:begin] + bytes([count - 2]) + whole[begin + 1 :])
    with pytest.raises(NotSupported, match="compressed by 'lzo'"):
        (tmp_path / "f.avro").write_bytes(_with_codec("lzo"))
        read(t)


def _with_codec(codec: str) -> bytes:
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(WRITER), [], codec="null")
    name = codec.encode()
    return out.getvalue().replace(b"\x08null", bytes([2 * len(name)]) + name)


@pytest.mark.parametrize("codec", [c for c in CODECS if c != "null"])
def test_a_damaged_block_is_found(codec: str, tmp_path: Path) -> None:
    written(tmp_path / "f.avro", numbered(100), codec=codec, interval=10**6)
    data = bytearray((tmp_path / "f.avro").read_bytes())
    begin = data.index(data[-16:]) + 20  # behind the first block's numbers
    data[begin:-16] = b"\xff" * (len(data) - 16 - begin)
    (tmp_path / "f.avro").write_bytes(data)
    with pytest.raises(DataError, match=r"the block at byte [\d,]+ cannot be decompressed"):
        read(file_table(tmp_path / "f.avro", AB, format="avro"))


def test_whole_are_files_whose_last_block_ends() -> None:
    out = io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(WRITER), numbered(100), sync_interval=200)
    data = out.getvalue()
    header = data.index(data[-16:]) + 16
    assert [is_whole(io.BytesIO(data[:n])) for n in (0, 3, header - 1, header, header + 5, len(data) - 1, len(data))] == [
        False, False, False, True, False, False, True,
    ]  # fmt: skip


def test_a_file_is_read_when_it_is_whole(tmp_path: Path) -> None:
    """An unbounded table: a torn file waits, and its rows come when the rest does."""
    written(tmp_path / "a.avro", numbered(3))
    written(tmp_path / "b", [{"a": 100, "x": 0, "b": "late"}])
    late = (tmp_path / "b").read_bytes()
    (tmp_path / "b").rename(tmp_path / "_b")
    (tmp_path / "c.avro").write_bytes(late[:-3])
    with sqlstream.connect() as c:
        c.execute("SET 'execution.runtime-mode' = 'streaming'")
        c.execute(
            f"CREATE TABLE t (a BIGINT, b STRING) WITH ('connector' = 'filesystem', 'path' = '{tmp_path}/*.avro', 'format' = 'avro', "
            "'source.monitor-interval' = '10 ms')"
        )
        cursor = c.execute("SELECT a, b FROM t")
        found = [cursor.fetchone()[-2:] for _ in range(3)]
        (tmp_path / "c.avro").write_bytes(late)
        found.append(cursor.fetchone()[-2:])
        cursor.close()
    assert found == [(0, None), (1, "row 1"), (4, "row 2"), (100, "late")]


def test_the_page_is_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    page = (
        (Path(__file__).parents[3] / "docs/connectors/filesystem.md")
        .read_text()
        .partition("\n## Avro\n")[2]
        .partition("\n## ")[0]
    )
    (script,), (shown,) = (
        re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S),
        re.findall(r"^```\n(\+.*?)^```$", page, re.M | re.S),
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.sql").write_text(script)
    assert main(["run", "page.sql"]) == 0
    assert capfd.readouterr().out.strip() == shown.strip()
