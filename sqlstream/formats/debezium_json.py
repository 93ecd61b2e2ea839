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

from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.errors import DataError, NotSupported
from sqlstream.formats.base import Decoder, Encoder, Format, Sample
from sqlstream.formats.inference import column_type
from sqlstream.formats.json_changes import (
    MILLISECONDS,
    TIME,
    ChangeDecoder,
    Known,
    Style,
    encoder_of,
    metadata_leaves,
    options_of,
)
from sqlstream.formats.json_inference import fields_of, settled_field, skips
from sqlstream.formats.json_records import JsonRecords, Leaf, Rule
from sqlstream.formats.readers import METADATA
from sqlstream.options import Option
from sqlstream.types import BIGINT, STRING, Type, map_of

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
STYLE = Style("debezium-json", "op", ("c", "r"), ("u",), ("d",), _HINTS)
# Rules name what they are told by in this order.
_OP = Rule(STYLE.known.wrong, "'op' is none of c, r, u, d")
KNOWN = {
    "schema": Known(STRING, ("schema",), STRING, of_record=True),
    "ingestion-timestamp": Known(TIME, ("ts_ms",), BIGINT, MILLISECONDS),
    "source.timestamp": Known(TIME, ("source", "ts_ms"), BIGINT, MILLISECONDS),
    "source.database": Known(STRING, ("source", "db"), STRING),
    "source.schema": Known(STRING, ("source", "schema"), STRING),
    "source.table": Known(STRING, ("source", "table"), STRING),
    "source.properties": Known(map_of(STRING, STRING), ("source",), map_of(STRING, STRING)),
}


@dataclass(frozen=True)
class DebeziumDecoder(ChangeDecoder):
    """Envelopes to changes."""

    def hint(self, reason: str) -> str | None:
        if re.search(r": [A-Za-z0-9+/]+=* is not a DECIMAL", reason):
            return "Debezium writes such numbers as text with 'decimal.handling.mode' = 'string' in its connector"
        return super().hint(reason)


class DebeziumJsonFormat(Format):
    """`'format' = 'debezium-json'`: a changelog, for reading and writing."""

    name = "debezium-json"
    extension = "json"
    changelog = True
    metadata = {key: k.type for key, k in KNOWN.items()}
    options = (
        Option("debezium-json.schema-include", "bool", False,
               "whether records are {\"schema\": …, \"payload\": envelope}, as Kafka Connect writes with schemas on"),
        *options_of("debezium-json"),
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
        more, wrong, metadata = metadata_leaves(request, KNOWN, root)
        records = JsonRecords(
            (*leaves, *more), options["debezium-json.timestamp-format.standard"], rules=(*rules, *wrong)
        )
        return DebeziumDecoder(records, request, table.primary_key, STYLE, metadata)

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        if options["debezium-json.schema-include"]:
            raise NotSupported(
                f"table {table.name}: debezium-json cannot be written with schemas",
                hint="leave out 'debezium-json.schema-include' in a table that is written to",
            )
        created, deleted = ('{"before":null,"after":', ',"op":"c"}'), ('{"before":', ',"after":null,"op":"d"}')
        return encoder_of(table.schema, options, self.name, created, deleted)

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
