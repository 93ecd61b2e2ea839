"""Rows as Avro records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.formats.avro import encode_kernels
from sqlstream.formats.avro import encode_layout as y
from sqlstream.formats.avro.encode_program import EncodeProgram
from sqlstream.formats.binary.writer import Writer
from sqlstream.formats.messages import Texts

Array = np.ndarray[Any, Any]


class RecordWriter:
    """Writes rows by a program. `table`: whose they are."""

    def __init__(self, program: EncodeProgram, table: str) -> None:
        program.emit(y.DONE)
        required = "the schema has no null for it"
        self._writer = Writer(encode_kernels.encode, program.code, program.parts, program.literals, table, required)

    def texts(self, columns: list[pa.Array], rows: int) -> Texts:
        """Each row by itself."""
        out, sizes = self._writer.run(columns, rows, 1)
        return Texts(out, sizes)

    def joined(self, columns: list[pa.Array], rows: int) -> bytes:
        """One behind the other."""
        out, sizes = self._writer.run(columns, rows, 0)
        return out[: int(sizes.sum())].tobytes()

    def packed(self, columns: list[pa.Array], rows: int) -> tuple[Array, Array]:
        """One behind the other, and how many bytes each has."""
        return self._writer.run(columns, rows, 0)
