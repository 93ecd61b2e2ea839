"""Format 'ogg-json': JSON lines of changes as Oracle GoldenGate writes them, {"before": …, "after": …, "op_type": "U"}; a changelog.

I gives +I of `after`, D gives -D of `before`, U gives -U of `before` and +U of `after`. A record that is `null` is skipped. The encoder
writes as Flink does: +I and +U become I, -U and -D become D.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.formats.base import Decoder, Encoder, Format
from sqlstream.formats.json_changes import ChangeDecoder, Known, Style, encoder_of, metadata_leaves, options_of
from sqlstream.formats.json_records import JsonRecords, Leaf, Rule
from sqlstream.formats.readers import METADATA
from sqlstream.types import STRING, array, timestamp_ltz

_BEFORE = Rule("op IN ('U', 'D') AND NOT has_before", "an update or delete has no 'before'")
_KEY_BEFORE = Rule("op = 'D' AND NOT has_before", "a delete has no 'before'")
_AFTER = Rule("op IN ('I', 'U') AND NOT has_after", "an insert or update has no 'after'")
_NO_OP = Rule("op IS NULL AND is_change", "it has no 'op_type'")
_HINTS = {
    _BEFORE.reason: "GoldenGate writes the row before a change where the table's supplemental logging has all columns; a table "
    "with a PRIMARY KEY does without it in updates"
}
STYLE = Style("ogg-json", "op_type", ("I",), ("U",), ("D",), _HINTS)


def _time(field: str) -> Known:
    """GoldenGate writes one of its times with a T in it, and the other one without."""
    return Known(
        timestamp_ltz(6), (field,), STRING, "timezone('UTC', CAST({x} AS TIMESTAMP))",
        "{x} IS NOT NULL AND TRY_CAST({x} AS TIMESTAMP) IS NULL", f"field {field} is no time",
    )  # fmt: skip


KNOWN = {
    "table": Known(STRING, ("table",), STRING),
    "primary-keys": Known(array(STRING), ("primary_keys",), array(STRING)),
    "ingestion-timestamp": _time("current_ts"),
    "event-timestamp": _time("op_ts"),
}


class OggJsonFormat(Format):
    """`'format' = 'ogg-json'`: a changelog, for reading and writing."""

    name = "ogg-json"
    extension = "json"
    changelog = True
    metadata = {key: k.type for key, k in KNOWN.items()}
    options = options_of("ogg-json")

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        leaves = [Leaf("op", ("op_type",), STRING), Leaf("is_change", (), STRING, presence="op_type")]
        for letter, name, image in (("b", "has_before", "before"), ("a", "has_after", "after")):
            # some field must be decoded for the image's presence to be seen
            leaves.append(Leaf(name, (image,), STRING, presence=table.schema.names[0]))
            columns = [(i, c) for i, c in enumerate(request.columns) if c.path[0] != METADATA]
            leaves += [Leaf(f"{letter}{i}", (image, *c.path), c.type) for i, c in columns]
        more, wrong, metadata = metadata_leaves(request, KNOWN)
        before = _KEY_BEFORE if table.primary_key else _BEFORE
        rules = (STYLE.known, before, _AFTER, _NO_OP, *wrong)
        records = JsonRecords((*leaves, *more), options["ogg-json.timestamp-format.standard"], rules=rules)
        return ChangeDecoder(records, request, table.primary_key, STYLE, metadata)

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        created, deleted = (
            ('{"before":null,"after":', ',"op_type":"I"}'),
            ('{"before":', ',"after":null,"op_type":"D"}'),
        )
        return encoder_of(table.schema, options, self.name, created, deleted)
