"""The contract of connectors (`sqlstream.testing.connectors`), kept by files and by tables of lakes as sources and sinks of jobs."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.sql import SqlCatalog

from sqlstream.connectors.delta.connector import DeltaConnector
from sqlstream.connectors.filesystem import FilesystemConnector
from sqlstream.connectors.iceberg.connector import IcebergConnector
from sqlstream.testing.connectors import DeliveryContract, Row, StreamContract

ALONE: Mapping[str, str] = {"server": "there is none", "credentials": "nobody asks for any"}
LAKE = {**ALONE, "bad records": "no record of a Parquet file is malformed by itself"}
SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])


def table_of(rows: Sequence[Row]) -> pa.Table:
    return pa.table({"id": [i for i, _ in rows], "name": [n for _, n in rows]}, SCHEMA)


def rows_of(found: pa.Table) -> list[Row]:
    return list(zip(found["id"].to_pylist(), found["name"].to_pylist(), strict=True))


class InDirectory:
    unable: Mapping[str, str] = LAKE

    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    def new(self) -> Path:
        self.path = self.directory / uuid.uuid4().hex
        return self.path


class TestFilesRead(InDirectory, StreamContract):
    connector, unable, named = FilesystemConnector, ALONE, ".json, line 1"
    tells = frozenset({"bytes", "pending bytes"})

    def made(self) -> Mapping[str, str]:
        self.new().mkdir()
        return {"path": str(self.path), "format": "json", "source.monitor-interval": "10 ms"}

    def _add(self, text: str) -> None:
        name = uuid.uuid4().hex
        (self.directory / name).write_text(text)
        os.rename(self.directory / name, self.path / f"{name}.json")

    def put(self, rows: Sequence[Row]) -> None:
        self._add("".join(json.dumps({"id": i, "name": n}, ensure_ascii=False) + "\n" for i, n in rows))

    def put_bad(self) -> str:
        self._add("{bad\n")
        return "{bad"


class TestFilesWritten(InDirectory, DeliveryContract):
    connector, unable = FilesystemConnector, ALONE

    def made(self) -> Mapping[str, str]:
        return {"path": str(self.new()), "format": "json"}

    def seen(self) -> Sequence[Row]:
        texts = [f.read_text() for f in self.path.glob("part-*")]
        return [(r["id"], r["name"]) for text in texts for r in map(json.loads, text.splitlines())]


class TestDeltaRead(InDirectory, StreamContract):
    connector = DeltaConnector
    tells = frozenset({"bytes", "pending records", "pending bytes"})

    def made(self) -> Mapping[str, str]:
        write_deltalake(str(self.new()), table_of([]))
        return {"table-path": str(self.path), "mode": "streaming", "updateCheckIntervalMillis": "20"}

    def put(self, rows: Sequence[Row]) -> None:
        write_deltalake(str(self.path), table_of(rows), mode="append")


class TestDeltaWritten(InDirectory, DeliveryContract):
    connector = DeltaConnector

    def made(self) -> Mapping[str, str]:
        return {"table-path": str(self.new())}

    def seen(self) -> Sequence[Row]:
        there = DeltaTable.is_deltatable(str(self.path))
        return rows_of(DeltaTable(str(self.path)).to_pyarrow_table()) if there else []


class InCatalog(InDirectory):
    connector = IcebergConnector

    def made(self) -> Mapping[str, str]:
        self.new().mkdir()
        self.catalog = SqlCatalog(
            "lake", uri=f"sqlite:///{self.path}/catalog.db", warehouse=str(self.path / "warehouse")
        )
        self.catalog.create_namespace("default")
        self.catalog.create_table(("default", "t"), SCHEMA)
        return {
            "catalog-name": "lake", "catalog-type": "sql", "uri": f"sqlite:///{self.path}/catalog.db",
            "warehouse": str(self.path / "warehouse"),
        }  # fmt: skip


class TestIcebergRead(InCatalog, StreamContract):
    tells = frozenset({"bytes", "pending records", "pending bytes"})

    def made(self) -> Mapping[str, str]:
        streams = {"streaming": "true", "monitor-interval": "20 ms", "starting-strategy": "TABLE_SCAN_THEN_INCREMENTAL"}
        return {**super().made(), **streams}

    def put(self, rows: Sequence[Row]) -> None:
        self.catalog.load_table(("default", "t")).append(table_of(rows))


class TestIcebergWritten(InCatalog, DeliveryContract):
    def seen(self) -> Sequence[Row]:
        return rows_of(self.catalog.load_table(("default", "t")).scan().to_arrow())
