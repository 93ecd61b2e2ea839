"""Messages to the rows of a request: columns of the value, of the key, and what is known of the message."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from sqlstream.batches import OP, Kind
from sqlstream.connectors.block_decoder import SHOWN, brief
from sqlstream.connectors.derive import Derivation, conform
from sqlstream.connectors.messages.messages import Messages
from sqlstream.connectors.messages.parts import Part, with_message
from sqlstream.contracts import BadRecord, ScanColumn, ScanRequest, TableContext
from sqlstream.duck import FAILURES
from sqlstream.errors import DataError
from sqlstream.formats.base import Format
from sqlstream.formats.messages import Refused, Texts
from sqlstream.formats.readers import METADATA

OF_VALUE = "value."  # what the keys of METADATA begin with that is in the value of a message


@dataclass(frozen=True)
class PartFormat:
    """How the values of a table's messages are written, or their keys.

    table     what the format is told: its schema has the columns that stand in the part, under the names that they have there
    columns   these columns: name in the table to name in the part
    options   the format's, converted; `prefix`: what stands before their names in the table's options
    """

    format: Format
    table: TableContext
    columns: dict[str, str]
    options: dict[str, object] = field(default_factory=dict)
    prefix: str = ""

    def part(self, columns: list[ScanColumn]) -> Part:
        """What decodes these columns of the table, and METADATA columns that the format has."""
        inner = [
            ScanColumn((METADATA, c.path[1].removeprefix(OF_VALUE)), c.type)
            if c.path[0] == METADATA
            else ScanColumn((self.columns[c.path[0]], *c.path[1:]), c.type)
            for c in columns
        ]
        request = with_message(inner)
        return Part(self.format.decoder(self.table, request, self.options), request)


@dataclass(frozen=True)
class Piece:
    """Rows of some messages. `of`: which message each is of, ascending; `bad`: malformed messages, and their numbers."""

    messages: Messages
    batch: pa.RecordBatch
    of: np.ndarray
    bad: list[tuple[BadRecord, int]]


class MessageDecoder:
    """Decodes the messages of a split. `name`: of the split, as users know it. `skips`: malformed messages are left out and
    counted, not errors; `keeps`: and handed over. `upserts`: a message is the row of its key, and one without a value says that there is
    none. For one thread at a time."""

    def __init__(
        self,
        request: ScanRequest,
        value: PartFormat,
        key: PartFormat | None,
        name: str,
        skips: bool,
        keeps: bool,
        upserts: bool = False,
    ) -> None:
        self._request, self._name, self._upserts = request, name, upserts
        self._skips, self._keeps = skips, keeps
        self.skipped = 0
        self._value_format, self._key_format = value, key
        of_key = [] if key is None else [i for i, c in enumerate(request.columns) if c.path[0] in key.columns]
        self._metadata = [
            (i, c.path[1])
            for i, c in enumerate(request.columns)
            if c.path[0] == METADATA and not c.path[1].startswith(OF_VALUE)
        ]
        known = {*of_key, *(i for i, _ in self._metadata)}
        of_value = [i for i in range(len(request.columns)) if i not in known]
        columns = request.columns
        self._value = (of_value, value.part([columns[i] for i in of_value]))
        needed = key is not None and (of_key or upserts)
        self._key = (of_key, key.part([columns[i] for i in of_key])) if key is not None and needed else None
        self._derivation = Derivation(request)

    @property
    def reads_keys(self) -> bool:
        """Whether messages come with their keys."""
        return self._key is not None

    def decode(self, messages: Messages) -> Piece:
        """The rows of the messages. DataError that names the first malformed one, unless they are skipped."""
        places, part = self._value
        try:
            found = part.columns(messages.values)
        except FAILURES as e:
            raise DataError(f"{self._name}: {brief(e)}") from e
        columns: dict[int, pa.Array] = dict(zip(places, found.columns, strict=True))
        of, op = found.of, found.op
        bad = [self._refuse(messages, messages.values, r, self._value_format) for r in found.refused]
        if self._upserts:
            of, op, columns = self._with_deletes(messages, of, columns)
        if self._key is not None:
            of, op, columns, more = self._with_key(messages, of, op, columns)
            bad = sorted([*bad, *more], key=lambda b: b[1])
        at = pa.array(of)
        for i, key in self._metadata:
            columns[i] = messages.metadata[key].take(at)
        return Piece(messages, self._batch(columns, of, op), of, bad)

    def _with_deletes(
        self, messages: Messages, of: np.ndarray, columns: dict[int, pa.Array]
    ) -> tuple[np.ndarray, pa.Array, dict[int, pa.Array]]:
        """The rows as updates, and a deletion for each message without a value."""
        gone = np.flatnonzero(messages.values.sizes < 0)
        all_of = np.concatenate([of, gone])
        order = np.argsort(all_of, kind="stable")
        at = np.concatenate([np.arange(len(of)), np.full(len(gone), -1)])[order]
        taken = pa.array(at, mask=at < 0)
        op = np.where(at < 0, np.int8(Kind.DELETE), np.int8(Kind.UPDATE_AFTER)).astype(np.int8)
        return all_of[order], pa.array(op), {i: a.take(taken) for i, a in columns.items()}

    def _with_key(
        self, messages: Messages, of: np.ndarray, op: pa.Array | None, columns: dict[int, pa.Array]
    ) -> tuple[np.ndarray, pa.Array | None, dict[int, pa.Array], list[tuple[BadRecord, int]]]:
        """The columns of the keys beside those of the values. A message without a key has NULL for each of them; one with a
        malformed key is malformed."""
        assert self._key is not None and self._key_format is not None and messages.keys is not None
        places, part = self._key
        found = part.columns(messages.keys)
        has_value = np.isin(np.array([r.message for r in found.refused], np.int64), of)
        refused = [r for r, there in zip(found.refused, has_value.tolist(), strict=True) if there]
        bad = [self._refuse(messages, messages.keys, r, self._key_format) for r in refused]
        if refused:
            keep = ~np.isin(of, [r.message for r in refused])
            of, mask = of[keep], pa.array(keep)
            columns = {i: a.filter(mask) for i, a in columns.items()}
            op = None if op is None else op.filter(mask)
        row = np.full(len(messages), -1, np.int64)
        row[found.of] = np.arange(len(found.of))
        at = row[of]
        taken = pa.array(at, mask=at < 0)
        return of, op, {**columns, **{i: a.take(taken) for i, a in zip(places, found.columns, strict=True)}}, bad

    def _batch(self, columns: dict[int, pa.Array], of: np.ndarray, op: pa.Array | None) -> pa.RecordBatch:
        if not columns:
            batch = pa.RecordBatch.from_arrays([pa.array(np.ones(len(of), np.int32))], names=["one"])
        else:
            arrays = [columns[i] for i in range(len(columns))]
            batch = pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(columns))])
            batch = conform(batch, self._request)
        try:
            batch = self._derivation.of(batch)
        except FAILURES as e:
            raise DataError(f"{self._name}: {brief(e)}") from e
        return batch if op is None else batch.append_column(pa.field(OP, pa.int8()), op)

    def _refuse(self, messages: Messages, texts: Texts, refused: Refused, form: PartFormat) -> tuple[BadRecord, int]:
        place, record = int(messages.places[refused.message]), texts.bytes_of(refused.message)
        if not self._skips:
            text = form.format.shown(record)
            text = text if len(text) <= SHOWN else text[:SHOWN] + "…"
            key = f"{form.format.name}.ignore-parse-errors"
            skips = f"'{form.prefix}{key}' = 'true' skips such records, and 'source.bad-records' = 'a table' writes them there"
            if all(o.key != key for o in form.format.options):
                skips = "'source.bad-records' = 'skip' leaves such messages out, 'a table' writes them there"
            raise DataError(
                f"{self._name}, offset {place}: malformed record: {refused.reason}: {text}",
                hint=self._value[1].decoder.hint(refused.reason) or skips,
            )
        self.skipped += 1
        return BadRecord(self._name, place, refused.reason, record), refused.message
