"""Rows by a program that one of the kernels runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.errors import DataError
from sqlstream.formats.binary import write_layout as y
from sqlstream.formats.binary.parts import Columns, Part
from sqlstream.formats.scan.layout import PADDING

Array = np.ndarray[Any, Any]
_ROOM = 64  # bytes of a row, to begin with


class Writer:
    """Writes the rows of `table` by a program of `kernel`. `required`: what an error says of a column that is NULL and may not be.
    No more lists and messages are open at once than the program has instructions."""

    def __init__(
        self,
        kernel: Callable[..., int],
        code: list[list[int]],
        parts: list[Part],
        literals: bytes,
        table: str,
        required: str,
    ) -> None:
        self._kernel, self._parts, self._table, self._required = kernel, parts, table, required
        self._code, self._open = np.array(code, np.int64).reshape(-1), len(code)
        self._literals = np.frombuffer(literals + bytes(8), np.uint8)

    def run(self, columns: list[pa.Array], rows: int, *more: int) -> tuple[Array, Array]:
        """Their bytes, one behind the other, with room behind them, and how many each has. `more`: what this kernel is told yet."""
        made = Columns(self._parts, columns, self._table)
        out = np.empty(rows * _ROOM + made.size + PADDING, np.uint8)
        sizes, state, stack = (
            np.zeros(rows, np.int64),
            np.zeros(y.STATE, np.int64),
            np.empty(self._open * y.FRAME, np.int64),
        )
        done = 0
        while done < rows:
            state[y.OUT_END] = len(out) - PADDING
            done = self._kernel(
                done, rows, self._code, len(self._parts), made.words, made.valid, made.ends, made.text, self._literals, made.vectors, out, sizes,
                stack, state, *more,
            )  # fmt: skip
            if state[y.OUT_NULL]:
                shown = self._parts[int(state[y.OUT_NULL]) - 1].shown
                raise DataError(f"table {self._table}: column {shown} is NULL, and {self._required}")
            if done < rows:
                out = np.concatenate([out, np.empty(len(out), np.uint8)])
        return out, sizes
