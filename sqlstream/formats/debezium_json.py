"""Format 'debezium-json': JSON lines of change envelopes, {"before": …, "after": …, "op": "c"}; a changelog.

op c (create) and r (snapshot read) give +I of `after`, d gives -D of `before`, u gives -U of `before` and +U of
`after`. In a table with a primary key `before` counts for its key alone: u gives +U of `after`, and before it -D of
`before` where the key is another one (Flink leaves the row of the old key there). A record that is `null` (Kafka's tombstone) is skipped, and so is an envelope whose payload is; any other
record without op is malformed. The encoder writes as Flink does: +I and +U become c, -U and -D become d.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.batches import OP
from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.errors import DataError, NotSupported
from sqlstream.formats.base import Decoder, Encoder, Examined, Format, Sample
from sqlstream.formats.conversion import ISO_STANDARD, SQL_STANDARD
from sqlstream.formats.inference import column_type
from sqlstream.formats.json import timestamp_hint, with_derived
from sqlstream.formats.json_encode import lines, object_text
from sqlstream.formats.json_inference import fields_of, settled_field, skips
from sqlstream.formats.json_records import JsonRecords, Leaf, Rule, whole_lines
from sqlstream.formats.json_scan.recipe import JsonRecipe
from sqlstream.formats.readers import LONGEST_OBJECT, METADATA, Paths
from sqlstream.formats.scan.recipe import Recipe
from sqlstream.options import Option
from sqlstream.types import STRING, Schema, Type, inside

_OP = Rule("op NOT IN ('c', 'r', 'u', 'd')", "'op' is none of c, r, u, d")
_BEFORE = Rule("op IN ('u', 'd') AND NOT has_before", "an update or delete has no 'before'")
_KEY_BEFORE = Rule("op = 'd' AND NOT has_before", "a delete has no 'before'")
_AFTER = Rule("op IN ('c', 'r', 'u') AND NOT has_after", "a create or update has no 'after'")
_NO_OP = Rule("op IS NULL AND is_change", "it has no 'op'")
# Leaves and rules that tell records with a schema from those without, by 'debezium-json.schema-include'.
_BARE = (Leaf("is_change", (), STRING, presence="op"), Leaf("payload", ("payload",), STRING))
_IN_ENVELOPE = (
    Leaf("is_change", ("payload",), STRING, presence="op"),
    Leaf("is_record", (), STRING, presence="op"),
    Leaf("has_schema", ("schema",), STRING, presence="type"),
)
_WRAPPED = Rule("op IS NULL AND payload IS NOT NULL", 'it is an envelope {"schema": …, "payload": …}')
_NOT_WRAPPED = Rule("is_record AND NOT is_change AND NOT has_schema", "it has no 'payload'")
_HINTS = {
    _WRAPPED.reason: "'debezium-json.schema-include' = 'true' reads such records",
    _NOT_WRAPPED.reason: "'debezium-json.schema-include' = 'false' reads records that are no {\"schema\": …, \"payload\": …}",
    _BEFORE.reason: "PostgreSQL sends the row before a change only after ALTER TABLE … REPLICA IDENTITY FULL; a table "
    "with a PRIMARY KEY does without it",
    _KEY_BEFORE.reason: "PostgreSQL sends the key before a change unless the table is of REPLICA IDENTITY NOTHING",
}
_KINDS = "CASE op WHEN 'u' THEN {update} WHEN 'd' THEN [3] WHEN 'c' THEN [0] WHEN 'r' THEN [0] ELSE [] END"


@dataclass(frozen=True)
class DebeziumDecoder(Decoder):
    """Envelopes to changes: leaves a0, a1, … of `after`, b0, b1, … of `before`, and `op`. `primary_key`: the table's."""

    leaves: JsonRecords
    request: ScanRequest
    primary_key: tuple[str, ...]
    byte_order_mark = False

    def records(self, paths: Paths, file: bool = False, block: bool = False, longest: int = LONGEST_OBJECT) -> str:
        return self.leaves.sql(paths, file, longest)

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        columns = []
        for i, c in enumerate(self.request.columns):
            image = (
                constants[c.path[1]] if c.path[0] == METADATA else f"CASE WHEN _op IN (0, 2) THEN a{i} ELSE b{i} END"
            )
            columns.append(f"{image} AS c{i}")
        kinds = _KINDS.format(update=self._update())
        changes = f"SELECT *, CAST(unnest({kinds}) AS TINYINT) AS _op FROM {records}"
        return with_derived(f"SELECT {', '.join([*columns, OP])} FROM ({changes})", self.request, op=True)

    def _update(self) -> str:
        """The kinds of rows of an update."""
        if not self.primary_key:
            return "[1, 2]"
        key = [i for i, c in enumerate(self.request.columns) if c.path in [(k,) for k in self.primary_key]]
        moved = " OR ".join(f"b{i} IS DISTINCT FROM a{i}" for i in key) or "FALSE"
        return f"CASE WHEN has_before AND ({moved}) THEN [3, 2] ELSE [2] END"

    def cut(self, block: bytes | memoryview) -> int:
        return whole_lines(block)

    def scanned(self) -> Recipe | None:
        return JsonRecipe.of(self.leaves)

    def single_line(self, message: bytes) -> bytes:
        return message.replace(b"\n", b"\t")  # both are blanks between tokens, and neither may stand in a string

    def hint(self, reason: str) -> str | None:
        if re.search(r": [A-Za-z0-9+/]+=* is not a DECIMAL", reason):
            return "Debezium writes such numbers as text with 'decimal.handling.mode' = 'string' in its connector"
        return _HINTS.get(reason) or timestamp_hint(DebeziumJsonFormat.name, self.leaves.standard, reason)

    def plain(self, file: Any) -> bool:
        return self.leaves.numbers.plain(file)

    def exact(self, block: bytes) -> bytes:
        return self.leaves.numbers.quoted(block)

    def examine(self, cursor: duckdb.DuckDBPyConnection, block: bytes) -> Examined | None:
        return self.leaves.examine(cursor, block)


@dataclass(frozen=True)
class DebeziumEncoder(Encoder):
    """Changes as envelopes, one a change."""

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
    """`'format' = 'debezium-json'`: a changelog, for reading and writing."""

    name = "debezium-json"
    extension = "json"
    changelog = True
    options = (
        Option("debezium-json.schema-include", "bool", False,
               "whether records are {\"schema\": …, \"payload\": envelope}, as Kafka Connect writes with schemas on"),
        Option("debezium-json.ignore-parse-errors", "bool", False,
               "skip malformed records (and count them) instead of failing",
               compared="nothing"),
        Option("debezium-json.timestamp-format.standard", "enum", SQL_STANDARD,
               "SQL: '2020-12-30 12:13:14.123'; ISO-8601: '2020-12-30T12:13:14.123'", (SQL_STANDARD, ISO_STANDARD)),
        Option("debezium-json.encode.ignore-null-fields", "bool", False, "leave NULL fields out of what is written"),
    )  # fmt: skip

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        root, wrapped = _root(options), options["debezium-json.schema-include"]
        columns = [(i, c) for i, c in enumerate(request.columns) if c.path[0] != METADATA]
        leaves = [Leaf("op", (*root, "op"), STRING), *(_IN_ENVELOPE if wrapped else _BARE)]
        before = _KEY_BEFORE if table.primary_key else _BEFORE
        rules = (_OP, before, _AFTER, _NOT_WRAPPED if wrapped else _WRAPPED, _NO_OP)
        for name, image in (("has_before", "before"), ("has_after", "after")):
            # some field must be decoded for the image's presence to be seen
            leaves.append(Leaf(name, (*root, image), STRING, presence=table.schema.names[0]))
        for letter, image in (("b", "before"), ("a", "after")):
            leaves += [Leaf(f"{letter}{i}", (*root, image, *c.path), c.type) for i, c in columns]
        standard = options["debezium-json.timestamp-format.standard"]
        return DebeziumDecoder(JsonRecords(tuple(leaves), standard, rules=rules), request, table.primary_key)

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
        self, cursor: duckdb.DuckDBPyConnection, sample: Sample, options: Mapping[str, Any]
    ) -> list[tuple[str, Type]]:
        tolerant = skips(options, self.name)
        envelope = fields_of(cursor, sample, tolerant)
        for name in _root(options):
            envelope = dict(envelope[name].children) if str(envelope.get(name)).startswith("STRUCT") else {}
        for image in ("after", "before"):
            if str(envelope.get(image)).startswith("STRUCT"):
                fields = column_type(envelope[image]).fields
                standard = options["debezium-json.timestamp-format.standard"]
                root = (*_root(options), image)
                return [
                    (f.name, settled_field(cursor, sample, (*root, f.name), f.type, standard, tolerant)) for f in fields
                ]
        raise DataError("the records have no 'before' or 'after' to tell columns from", hint="write the columns")


def _root(options: Mapping[str, Any]) -> tuple[str, ...]:
    return ("payload",) if options["debezium-json.schema-include"] else ()
