"""Format 'maxwell-json': JSON lines of changes as Maxwell writes them, {"data": row, "old": what has changed, "type": "update"}; a
changelog.

insert gives +I of `data`, delete -D of it, update -U of `data` with the fields that stand in `old`, also those that are NULL there, and +U of
`data`. A record that is `null` is skipped. The encoder writes as Flink does: +I and +U become insert, -U and -D become delete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.formats.base import Decoder, Encoder, Format
from sqlstream.formats.conversion import pointer
from sqlstream.formats.json_changes import TIME, ChangeDecoder, Known, Style, encoder_of, metadata_leaves, options_of
from sqlstream.formats.json_records import JsonRecords, Leaf, Rule
from sqlstream.formats.readers import METADATA
from sqlstream.types import BIGINT, BOOLEAN, STRING, array

_DATA = Rule("op IS NOT NULL AND NOT has_after", "it has no 'data'")
_OLD = Rule("op = 'update' AND NOT has_before", "an update has no 'old'")
_NO_TYPE = Rule("op IS NULL AND is_change", "it has no 'type'")
STYLE = Style("maxwell-json", "type", ("insert",), ("update",), ("delete",))
KNOWN = {
    "database": Known(STRING, ("database",), STRING),
    "table": Known(STRING, ("table",), STRING),
    "primary-key-columns": Known(array(STRING), ("primary_key_columns",), array(STRING)),
    "ingestion-timestamp": Known(TIME, ("ts",), BIGINT, "make_timestamptz({x} * 1000000)"),  # seconds
}


class MaxwellJsonFormat(Format):
    """`'format' = 'maxwell-json'`: a changelog, for reading and writing."""

    name = "maxwell-json"
    extension = "json"
    changelog = True
    metadata = {key: k.type for key, k in KNOWN.items()}
    options = options_of("maxwell-json")

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        leaves = [Leaf("op", ("type",), STRING), Leaf("is_change", (), STRING, presence="type")]
        for name, image in (("has_before", "old"), ("has_after", "data")):
            leaves.append(Leaf(name, (image,), STRING, presence=table.schema.names[0]))
        for i, c in enumerate(request.columns):
            if c.path[0] != METADATA:
                leaves += [Leaf(f"a{i}", ("data", *c.path), c.type), Leaf(f"b{i}", ("old", *c.path), c.type)]
                there = f"coalesce(json_exists(j, {pointer(('old', c.path[0]))}), FALSE)"
                leaves.append(Leaf(f"g{i}", ("old", c.path[0]), BOOLEAN, document=there))
        more, wrong, metadata = metadata_leaves(request, KNOWN)
        standard = options["maxwell-json.timestamp-format.standard"]
        rules = (STYLE.known, _DATA, _OLD, _NO_TYPE, *wrong)
        records = JsonRecords((*leaves, *more), standard, rules=rules)
        return ChangeDecoder(records, request, table.primary_key, STYLE, metadata, partial=True)

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        created, deleted = ('{"data":', ',"type":"insert"}'), ('{"data":', ',"type":"delete"}')
        return encoder_of(table.schema, options, self.name, created, deleted)
