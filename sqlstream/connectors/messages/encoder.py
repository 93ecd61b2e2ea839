"""Rows as messages: their values, and their keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import Kind
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.formats.base import Encoder
from sqlstream.formats.messages import NONE, Texts


@dataclass(frozen=True)
class PartEncoder:
    """Encodes some columns of a table: `columns`, whose names in the part are `names`."""

    columns: tuple[str, ...]
    names: tuple[str, ...]
    encoder: Encoder

    @staticmethod
    def of(part: PartFormat) -> PartEncoder:
        """The format's."""
        return PartEncoder(
            tuple(part.columns), tuple(part.columns.values()), part.format.encoder(part.table, part.options)
        )

    def encode(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> Texts:
        """`batch`: all columns of the table."""
        arrays = [batch.column(c) for c in self.columns]
        return self.encoder.messages(pa.RecordBatch.from_arrays(arrays, names=list(self.names)), kinds)


@dataclass(frozen=True)
class MessageEncoder:
    """`tombstones`: a row that goes is its key with the value NULL."""

    value: PartEncoder
    key: PartEncoder | None = None
    tombstones: bool = False

    def encode(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> tuple[Texts, Texts | None]:
        """Values and keys of the rows."""
        keys = None if self.key is None else self.key.encode(batch, None)
        if not self.tombstones or kinds is None:
            return self.value.encode(batch, kinds), keys
        gone = (kinds == Kind.DELETE) | (kinds == Kind.UPDATE_BEFORE)
        if not gone.any():
            return self.value.encode(batch, None), keys
        kept = self.value.encode(batch.filter(pa.array(~gone)), None)
        sizes = np.full(batch.num_rows, NONE, np.int64)
        sizes[~gone] = kept.sizes
        return Texts(kept.buffer, sizes), keys
