"""Rows as Avro records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.errors import DataError
from sqlstream.formats.avro import encode_kernels
from sqlstream.formats.avro import encode_layout as y
from sqlstream.formats.avro.encode_program import EncodeProgram
from sqlstream.formats.binary import write_layout as common
from sqlstream.formats.binary.parts import Columns
from sqlstream.formats.messages import Texts
from sqlstream.formats.scan.layout import PADDING

Array = np.ndarray[Any, Any]
_ROOM = 64  # bytes of a row, to begin with


class RecordWriter:
    """Writes rows by a program. `table`: whose they are."""

    def __init__(self, program: EncodeProgram, table: str) -> None:
        program.emit(y.DONE)
        self._parts, self._table = program.parts, table
        self._code, self._open = np.array(program.code, np.int64).reshape(-1), len(program.code)
        self._literals = np.frombuffer(program.literals + bytes(8), np.uint8)

    def texts(self, columns: list[pa.Array], rows: int) -> Texts:
        """Each row by itself."""
        out, sizes = self._run(columns, rows, lines=True)
        return Texts(out, sizes)

    def joined(self, columns: list[pa.Array], rows: int) -> bytes:
        """One behind the other."""
        out, sizes = self._run(columns, rows, lines=False)
        return out[: int(sizes.sum())].tobytes()

    def packed(self, columns: list[pa.Array], rows: int) -> tuple[Array, Array]:
        """One behind the other, and how many bytes each has."""
        return self._run(columns, rows, lines=False)

    def _run(self, columns: list[pa.Array], rows: int, lines: bool) -> tuple[Array, Array]:
        made = Columns(self._parts, columns, self._table)
        width = len(self._parts)
        out = np.empty(rows * _ROOM + made.size + PADDING, np.uint8)
        sizes, state, stack = (
            np.zeros(rows, np.int64),
            np.zeros(common.STATE, np.int64),
            np.empty(self._open * y.FRAME, np.int64),
        )
        done = 0
        while done < rows:
            state[common.OUT_END] = len(out) - PADDING
            done = encode_kernels.encode(
                done, rows, self._code, width, made.words, made.valid, made.ends, made.text, self._literals, made.vectors, out, sizes, stack,
                state, int(lines),
            )  # fmt: skip
            if state[common.OUT_NULL]:
                shown = self._parts[int(state[common.OUT_NULL]) - 1].shown
                raise DataError(f"table {self._table}: column {shown} is NULL, and the schema has no null for it")
            if done < rows:
                out = np.concatenate([out, np.empty(len(out), np.uint8)])
        return out, sizes
