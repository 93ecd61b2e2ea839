"""Format 'debezium-avro-confluent': Debezium's envelopes, {before, after, op}, as Avro records behind the numbers of their schemas; a
changelog, which means what 'debezium-json' means.

The encoder writes as Flink does: +I and +U become c, -U and -D become d, of a schema with before, after and op alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import Kind
from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.formats.avro.decoder import Wants
from sqlstream.formats.avro.encoder import RecordWriter
from sqlstream.formats.avro.flink import schema_of, text_of
from sqlstream.formats.base import Decoder, Encoder, Format
from sqlstream.formats.binary.messages import MessageEncoder
from sqlstream.formats.confluent.avro import NULL_RECORD, AvroReaders, check_options, writer, written_by
from sqlstream.formats.confluent.client import Registry
from sqlstream.formats.confluent.settings import options_of, registry_of
from sqlstream.formats.confluent.writing import Written
from sqlstream.formats.debezium_json import STYLE
from sqlstream.formats.json_changes import ChangeDecoder
from sqlstream.formats.json_records import JsonRecords
from sqlstream.formats.messages import MessageRecords, Records, Refused, Texts
from sqlstream.formats.readers import METADATA
from sqlstream.types import STRING, Column, Field, Schema, Type

NO_BEFORE, NO_AFTER = "an update or delete has no 'before'", "a create or update has no 'after'"
NO_KEY = "a delete has no 'before'"
_IMAGES = (("before", "b"), ("after", "a"))


@dataclass(frozen=True)
class DebeziumAvroDecoder(Decoder):
    """`image`: the columns of the table that are read, as a row."""

    registry: Registry
    image: Type
    changes: ChangeDecoder

    @cached_property
    def _readers(self) -> AvroReaders:
        wanted = {"before": self.image, "after": self.image, "op": STRING}
        return AvroReaders(self.registry, Wants(wanted, tuple((n,) for n in wanted), tuple(wanted.values())))

    def records(self, *args: Any, **more: Any) -> str:
        return "SELECT 1 AS none WHERE FALSE"

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        return self.changes.rows(records, constants)

    def hint(self, reason: str) -> str | None:
        return STYLE.hints.get(reason)

    def messages(self) -> MessageRecords:
        return self._records

    def _records(self, texts: Texts) -> Records:
        (before, after, op), of, refused = self._readers.read(texts.without_empty())
        # An envelope that is null says nothing, as a message without a value does.
        refused = [r for r in refused if r.reason != NULL_RECORD]
        good, wrong = self._checked(before, after, op, of)
        images = dict(zip(("before", "after"), (before, after), strict=True))
        arrays, names = [op.filter(good), before.is_valid().filter(good)], ["op", "has_before"]
        for image, letter in _IMAGES:
            for i, c in enumerate(self.changes.request.columns):
                if c.path[0] != METADATA:
                    arrays.append(_at(images[image], self.image, c.path).filter(good))
                    names.append(f"{letter}{i}")
        refused = sorted([*refused, *wrong], key=lambda r: r.message)
        return Records(
            pa.RecordBatch.from_arrays(arrays, names=names), of[good.to_numpy(zero_copy_only=False)], refused
        )

    def _checked(
        self, before: pa.Array, after: pa.Array, op: pa.Array, of: np.ndarray
    ) -> tuple[pa.Array, list[Refused]]:
        """Which envelopes are whole, and what is wrong with the others."""
        keyed = bool(self.changes.primary_key)
        needs_before = pc.is_in(op, pa.array(["d"] if keyed else ["u", "d"]))
        needs_after = pc.is_in(op, pa.array(["c", "r", "u"]))
        known = pc.is_in(op, pa.array(["c", "r", "u", "d"]))
        cases = (
            (pc.invert(known), "'op' is none of c, r, u, d"),
            (pc.and_(needs_before, before.is_null()), NO_KEY if keyed else NO_BEFORE),
            (pc.and_(needs_after, after.is_null()), NO_AFTER),
        )
        bad, refused = pa.array(np.zeros(len(op), np.bool_)), list[Refused]()
        for wrong, reason in cases:
            fresh = pc.and_(wrong, pc.invert(bad))
            refused += [Refused(m, reason) for m in of[fresh.to_numpy(zero_copy_only=False)].tolist()]
            bad = pc.or_(bad, wrong)
        return pc.invert(bad), refused


def _at(image: pa.Array, t: Type, path: tuple[str, ...]) -> pa.Array:
    """A field of the rows, NULL where the row is."""
    for name in path:
        i = [f.name for f in t.fields].index(name)
        image, t = image.flatten()[i], t.fields[i].type
    return image


@dataclass(frozen=True)
class DebeziumAvroEncoder(MessageEncoder):
    """Changes as envelopes. `envelope`: a table of before, after and op."""

    envelope: TableContext
    written: Written
    kept: dict[str, RecordWriter] = field(default_factory=dict, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"envelope": self.envelope, "written": self.written, "kept": {}}

    def messages(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> Texts:
        if not self.kept:
            self.kept["writer"] = writer(self.written, self.envelope)
        gone = np.zeros(batch.num_rows, np.bool_)
        if kinds is not None:
            gone = (kinds == Kind.DELETE) | (kinds == Kind.UPDATE_BEFORE)
        columns = [
            pa.StructArray.from_arrays(batch.columns, names=batch.schema.names, mask=pa.array(mask))
            for mask in (~gone, gone)
        ]
        op = pa.array(np.where(gone, "d", "c"), pa.string())
        return self.kept["writer"].texts([*columns, op], batch.num_rows)


class DebeziumAvroFormat(Format):
    """`'format' = 'debezium-avro-confluent'`: a changelog, for reading and writing messages."""

    name = "debezium-avro-confluent"
    extension = "avro"
    files = False
    text = False
    changelog = True
    registers = True
    options = options_of("debezium-avro-confluent")

    def check(self, table: TableContext, options: Mapping[str, Any]) -> None:
        check_options(self.name, table, options)

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        wanted = {c.path[0] for c in request.columns}
        columns = [c for c in table.schema if c.name in wanted] or [table.schema[0]]
        # of what a record was, a table with a key may have the key alone: nothing of it has to be there
        image = Type("ROW", fields=tuple(Field(c.name, c.type.null()) for c in columns))
        changes = ChangeDecoder(JsonRecords(()), request, table.primary_key, replace(STYLE, name=self.name), {})
        return DebeziumAvroDecoder(registry_of(self.name, table.name, options, table.working_directory), image, changes)

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        row = Type("ROW", fields=tuple(Field(c.name, c.type) for c in table.schema))
        envelope = replace(table, schema=Schema((Column("before", row), Column("after", row), Column("op", STRING))))
        given = options["debezium-avro-confluent.schema"] is not None
        # Flink's is a union: the record itself may be null
        derived = "" if given else text_of(["null", schema_of(envelope.schema, True, table.name)])
        return DebeziumAvroEncoder(envelope, written_by(self.name, table, options, derived, envelope))
