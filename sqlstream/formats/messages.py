"""Messages of a queue to a format: byte strings, each of which is a record, and the records that were made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from sqlstream.formats.scan.layout import PADDING

NEWLINE, BOM, _BLANK = 10, b"\xef\xbb\xbf", 32
NONE = -1  # the size of a value that is NULL


@dataclass(frozen=True)
class Texts:
    """Byte strings, each a line of `buffer` (uint8, PADDING bytes longer), unless it is empty or NULL: those have no line.

    sizes: int64, of each; NONE for NULL.
    """

    buffer: np.ndarray
    sizes: np.ndarray

    @staticmethod
    def of(values: Sequence[bytes | None]) -> Texts:
        """A copy."""
        data = b"".join(v + b"\n" for v in values if v)
        buffer = np.empty(len(data) + PADDING, np.uint8)
        buffer[: len(data)] = np.frombuffer(data, np.uint8)
        return Texts(buffer, np.array([NONE if v is None else len(v) for v in values], np.int64))

    @staticmethod
    def of_lines(buffers: Sequence[pa.Buffer], count: int) -> Texts | None:
        """Of `count` lines, each of which ends; None where there are others: some have line ends within, or are empty."""
        size = sum(len(b) for b in buffers)
        buffer, at = np.empty(size + PADDING, np.uint8), 0
        for b in buffers:
            buffer[at : at + len(b)] = np.frombuffer(b, np.uint8)
            at += len(b)
        ends = np.flatnonzero(buffer[:size] == NEWLINE)
        sizes = np.diff(ends, prepend=-1) - 1
        return Texts(buffer, sizes) if len(ends) == count and (not count or sizes.min() > 0) else None

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def total(self) -> int:
        """How many bytes they have together."""
        return int(np.maximum(self.sizes, 0).sum())

    @cached_property
    def there(self) -> np.ndarray:
        """Which have a line (their numbers)."""
        return np.flatnonzero(self.sizes > 0)

    @cached_property
    def given(self) -> np.ndarray:
        """Which are not NULL (their numbers): those of `there`, and empty ones."""
        return np.flatnonzero(self.sizes >= 0)

    def without_empty(self) -> Texts:
        """Empty ones are NULL."""
        return Texts(self.buffer, np.where(self.sizes == 0, NONE, self.sizes))

    def unmarked(self, before: int = 0) -> Texts:
        """With blanks in place of a byte order mark where each begins, or `before` bytes behind that."""
        at = self.ends - self.sizes[self.there] + before
        mark = (self.sizes[self.there] >= before + len(BOM)) & (self.buffer[at] == BOM[0])
        if not mark.any():  # nearly always
            return self
        for i in range(1, len(BOM)):
            mark &= self.buffer[at + i] == BOM[i]
        if not mark.any():
            return self
        buffer = self.buffer.copy()
        for i in range(len(BOM)):
            buffer[at[mark] + i] = _BLANK
        return Texts(buffer, self.sizes)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Of `given`: where they begin in the buffer, and how many bytes they have."""
        lines = np.where(self.sizes > 0, self.sizes + 1, 0).astype(np.int64)
        given = self.given
        return (np.cumsum(lines) - lines)[given], self.sizes[given].astype(np.int64)

    @cached_property
    def ends(self) -> np.ndarray:
        """Where the lines of `there` end: the places of their line ends."""
        return np.cumsum(self.sizes[self.there] + 1) - 1

    @property
    def size(self) -> int:
        """Bytes of all lines."""
        return int(self.ends[-1]) + 1 if len(self.ends) else 0

    @property
    def lines(self) -> list[bytes]:
        """Those of `there`, without their ends."""
        data, out, begin = self.buffer[: self.size].tobytes(), [], 0
        for end in self.ends.tolist():
            out.append(data[begin:end])
            begin = end + 1
        return out

    def values(self) -> list[bytes | None]:
        """Each; None for NULL."""
        lines = iter(self.lines)
        return [None if size < 0 else next(lines) if size else b"" for size in self.sizes.tolist()]

    def array(self) -> pa.Array:
        """As binary: NULL where one is NULL."""
        end = self.size
        keep = np.ones(end, np.bool_)
        keep[self.ends] = False
        offsets = np.concatenate([[0], np.cumsum(np.maximum(self.sizes, 0))]).astype(np.int64)
        valid = pa.array(self.sizes >= 0).buffers()[1]
        data = pa.py_buffer(np.ascontiguousarray(self.buffer[:end][keep]))
        made = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(self), [valid, pa.py_buffer(offsets), data], int(np.count_nonzero(self.sizes < 0))
        )
        return made.cast(pa.binary())

    def bytes_of(self, i: int) -> bytes:
        """One of them; b"" for NULL."""
        at = int(np.searchsorted(self.there, i))
        if at == len(self.there) or self.there[at] != i:
            return b""
        end = int(self.ends[at])
        return self.buffer[end - int(self.sizes[i]) : end].tobytes()


@dataclass(frozen=True)
class Refused:
    """A malformed message, by its number, and why."""

    message: int
    reason: str


@dataclass(frozen=True)
class Records:
    """The records layer. `of`: which message each record is of, ascending."""

    records: pa.RecordBatch
    of: np.ndarray
    refused: list[Refused]


MessageRecords = Callable[[Texts], Records]
