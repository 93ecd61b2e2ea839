"""Format 'debezium-json': JSON lines of change envelopes, {"before": …, "after": …, "op": "c"}; a changelog.

op c (create) and r (snapshot read) give +I of `after`, d gives -D of `before`, u gives -U of `before` and +U of
`after`. A record that is `null` (Kafka's tombstone) or has neither op nor images is skipped. The encoder writes as
Flink does: +I and +U become c, -U and -D become d.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.batches import OP
from sqlstream.connectors.base import ScanRequest, TableContext
from sqlstream.errors import DataError, NotSupported
from sqlstream.formats.base import Decoder, Encoder, Examined, Format
from sqlstream.formats.conversion import ISO_STANDARD, SQL_STANDARD
from sqlstream.formats.inference import column_type
from sqlstream.formats.json import METADATA, with_derived
from sqlstream.formats.json_encode import lines, object_text
from sqlstream.formats.json_records import JsonRecords, Leaf, Rule
from sqlstream.options import Option
from sqlstream.types import STRING, Schema, inside

_RULES = (
    Rule("op NOT IN ('c', 'r', 'u', 'd')", "'op' is none of c, r, u, d"),
    Rule("op IN ('u', 'd') AND NOT has_before", "an update or delete has no 'before'"),
    Rule("op IN ('c', 'r', 'u') AND NOT has_after", "a create or update has no 'after'"),
    Rule("op IS NULL AND (has_before OR has_after)", "it has no 'op'"),
)
_KINDS = "CASE op WHEN 'u' THEN [1, 2] WHEN 'd' THEN [3] WHEN 'c' THEN [0] WHEN 'r' THEN [0] ELSE [] END"


@dataclass(frozen=True)
class DebeziumDecoder(Decoder):
    leaves: JsonRecords
    request: ScanRequest
    byte_order_mark = False

    def records(self, source: str, file: bool = False, block: bool = False) -> str:
        return self.leaves.sql(source, file)

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        columns = []
        for i, c in enumerate(self.request.columns):
            image = (
                constants[c.path[1]] if c.path[0] == METADATA else f"CASE WHEN _op IN (0, 2) THEN a{i} ELSE b{i} END"
            )
            columns.append(f"{image} AS c{i}")
        changes = f"SELECT *, CAST(unnest({_KINDS}) AS TINYINT) AS _op FROM {records}"
        return with_derived(f"SELECT {', '.join([*columns, OP])} FROM ({changes})", self.request, op=True)

    def cut(self, block: bytes) -> int:
        return block.rfind(b"\n") + 1

    def examine(self, cursor: duckdb.DuckDBPyConnection, block: bytes) -> Examined | None:
        return self.leaves.examine(cursor, block)


@dataclass(frozen=True)
class DebeziumEncoder(Encoder):
    schema: Schema
    standard: str
    ignore_null: bool

    def encode(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> list[pa.Buffer]:
        fields = [(c.name, c.type, f"c{i}") for i, c in enumerate(self.schema)]
        row = object_text(fields, self.standard, self.ignore_null)
        if kinds is None:
            kinds = np.zeros(batch.num_rows, np.int8)
        batch = inside(batch, self.schema).append_column(pa.field(OP, pa.int8()), pa.array(kinds, pa.int8()))
        created = f"""concat('{{"before":null,"after":', {row}, ',"op":"c"}}')"""
        deleted = f"""concat('{{"before":', {row}, ',"after":null,"op":"d"}}')"""
        return lines(batch, f"CASE WHEN {OP} IN (0, 2) THEN {created} ELSE {deleted} END")


class DebeziumJsonFormat(Format):
    name = "debezium-json"
    extension = "json"
    changelog = True
    options = (
        Option("debezium-json.schema-include", "bool", False,
               "whether records are {\"schema\": …, \"payload\": envelope}, as Kafka Connect writes with schemas on"),
        Option("debezium-json.ignore-parse-errors", "bool", False,
               "skip malformed records (and count them) instead of failing"),
        Option("debezium-json.timestamp-format.standard", "enum", SQL_STANDARD,
               "SQL: '2020-12-30 12:13:14.123'; ISO-8601: '2020-12-30T12:13:14.123'", (SQL_STANDARD, ISO_STANDARD)),
        Option("debezium-json.encode.ignore-null-fields", "bool", False, "leave NULL fields out of what is written"),
    )  # fmt: skip

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        root = _root(options)
        columns = [(i, c) for i, c in enumerate(request.columns) if c.path[0] != METADATA]
        leaves = [Leaf("op", (*root, "op"), STRING)]
        for name, image in (("has_before", "before"), ("has_after", "after")):
            # some field must be decoded for the image's presence to be seen
            leaves.append(Leaf(name, (*root, image), STRING, presence=table.schema.names[0]))
        for letter, image in (("b", "before"), ("a", "after")):
            leaves += [Leaf(f"{letter}{i}", (*root, image, *c.path), c.type) for i, c in columns]
        standard = options["debezium-json.timestamp-format.standard"]
        return DebeziumDecoder(JsonRecords(tuple(leaves), standard, rules=_RULES), request)

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        if options["debezium-json.schema-include"]:
            raise NotSupported(
                f"table {table.name}: debezium-json cannot be written with schemas",
                hint="leave out 'debezium-json.schema-include' in a table that is written to",
            )
        return DebeziumEncoder(
            table.schema,
            options["debezium-json.timestamp-format.standard"],
            options["debezium-json.encode.ignore-null-fields"],
        )

    def infer(
        self, cursor: duckdb.DuckDBPyConnection, source: str, options: Mapping[str, Any]
    ) -> list[tuple[str, Any]]:
        from sqlstream.formats.json_inference import settled_field

        relation = cursor.sql(f"SELECT * FROM read_json({source}, format='newline_delimited')")
        envelope = {n: t for n, t in zip(relation.columns, relation.types, strict=True)}
        for name in _root(options):
            envelope = dict(envelope[name].children) if str(envelope.get(name)).startswith("STRUCT") else {}
        for image in ("after", "before"):
            if str(envelope.get(image)).startswith("STRUCT"):
                fields = column_type(envelope[image]).fields
                standard = options["debezium-json.timestamp-format.standard"]
                root = (*_root(options), image)
                return [(f.name, settled_field(cursor, source, (*root, f.name), f.type, standard)) for f in fields]
        raise DataError("the records have no 'before' or 'after' to tell columns from", hint="write the columns")


def _root(options: Mapping[str, Any]) -> tuple[str, ...]:
    return ("payload",) if options["debezium-json.schema-include"] else ()
