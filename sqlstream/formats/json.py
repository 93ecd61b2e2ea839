"""Format 'json': JSON lines, one object a record; append-only.

Fields are found by name; missing ones and NULLs are NULL. What is strict is in `conversion.py`. The encoder writes
as Flink does: fields in order, NULLs written, timestamps as 'yyyy-MM-dd HH:mm:ss.fraction', decimals with their
scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from sqlstream.connectors.base import ScanRequest, TableContext
from sqlstream.formats.base import Decoder, Encoder, Examined, Format
from sqlstream.formats.conversion import ISO_STANDARD, SQL_STANDARD
from sqlstream.formats.json_encode import JsonEncoder
from sqlstream.formats.json_inference import infer_columns
from sqlstream.formats.json_records import JsonRecords, Leaf
from sqlstream.formats.text_columns import TextColumns, is_fast
from sqlstream.options import Option
from sqlstream.types import Schema

METADATA = "$metadata"


@dataclass(frozen=True)
class JsonDecoder(Decoder):
    leaves: JsonRecords
    request: ScanRequest
    byte_order_mark = False

    def records(self, source: str, file: bool = False, block: bool = False) -> str:
        return self.leaves.sql(source, file)

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        columns = [
            f"{constants[c.path[1]]} AS c{i}" if c.path[0] == METADATA else f"c{i}"
            for i, c in enumerate(self.request.columns)
        ]
        inner = f"SELECT {', '.join(columns) or '1 AS one'} FROM {records}"
        return with_derived(inner, self.request)

    def texts(self) -> TextColumns | None:
        fast = {leaf.name: leaf for leaf in self.leaves.leaves if is_fast(leaf.type)}
        if self.leaves.by_document or not fast:
            return None
        # only a column of its own is checked for NULL: a field may be missing with what it is in
        types = {n: x.type if len(x.path) == 1 else replace(x.type, nullable=True) for n, x in fast.items()}
        return TextColumns(tuple(types.get(f"c{i}") for i in range(len(self.request.columns))), self.leaves.standard)

    def resumed_texts(self, source: str, constants: Mapping[str, str], row: int) -> str:
        as_text = frozenset(leaf.name for leaf in self.leaves.leaves if is_fast(leaf.type))
        plain = JsonDecoder(replace(self.leaves, as_text=as_text), replace(self.request, derived=()))
        return plain.resumed(source, constants, row)

    def cut(self, block: bytes) -> int:
        return block.rfind(b"\n") + 1

    def examine(self, cursor: duckdb.DuckDBPyConnection, block: bytes) -> Examined | None:
        return self.leaves.examine(cursor, block)


def with_derived(inner: str, request: ScanRequest, op: bool = False) -> str:
    """The rows layer's last step: c0, c1, …, the derived columns, then `_op`."""
    out = [f"c{i}" for i in range(len(request.columns))]
    out += [f"{expression} AS {alias}" for alias, expression in request.derived]
    out += ["_op"] if op else []
    return f"SELECT {', '.join(out) or 'one'} FROM ({inner})"


class JsonFormat(Format):
    name = "json"
    extension = "json"
    options = (
        Option("json.fail-on-missing-field", "bool", False, "whether a record without a field of the table is malformed"),
        Option("json.ignore-parse-errors", "bool", False, "skip malformed records (and count them) instead of failing"),
        Option("json.timestamp-format.standard", "enum", SQL_STANDARD,
               "SQL: '2020-12-30 12:13:14.123'; ISO-8601: '2020-12-30T12:13:14.123'", (SQL_STANDARD, ISO_STANDARD)),
        Option("json.encode.decimal-as-plain-number", "bool", False,
               "write decimals as plain numbers; always so here, as no other form is ever written"),
        Option("json.encode.ignore-null-fields", "bool", False, "leave NULL fields out of what is written"),
    )  # fmt: skip

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        leaves = tuple(Leaf(f"c{i}", c.path, c.type) for i, c in enumerate(request.columns) if c.path[0] != METADATA)
        records = JsonRecords(leaves, options["json.timestamp-format.standard"], options["json.fail-on-missing-field"])
        return JsonDecoder(records, request)

    def infer(
        self, cursor: duckdb.DuckDBPyConnection, source: str, options: Mapping[str, Any]
    ) -> list[tuple[str, Any]]:
        return list(infer_columns(cursor, source, options["json.timestamp-format.standard"]))

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        return JsonEncoder(
            Schema(table.schema.columns),
            options["json.timestamp-format.standard"],
            options["json.encode.ignore-null-fields"],
        )
