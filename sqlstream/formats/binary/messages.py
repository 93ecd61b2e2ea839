"""Messages that make rows without a statement, and rows that are such messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.errors import InternalError
from sqlstream.formats.base import Decoder, Encoder
from sqlstream.formats.messages import Records, Refused


def records_of(arrays: list[pa.Array], of: np.ndarray, refused: list[Refused]) -> Records:
    """The rows of messages, which are records of the same columns."""
    if not arrays:
        return Records(pa.RecordBatch.from_arrays([pa.nulls(len(of), pa.int8())], names=["r0"]), of, refused)
    return Records(pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))]), of, refused)


class MessageDecoder(Decoder):
    """Of messages that make rows without a statement."""

    @property
    def records_are_rows(self) -> bool:
        return True

    def records(self, *args: Any, **more: Any) -> str:
        return "SELECT 1 AS none WHERE FALSE"

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        return f"SELECT * FROM {records}"


class MessageEncoder(Encoder):
    """Of messages whose records have no ends."""

    def encode(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> list[pa.Buffer]:
        raise InternalError("binary records have no ends")
