"""Blocks of whole records: how the bytes of a file come to who decodes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sqlstream.connectors.paths import BLOCK
from sqlstream.errors import DataError
from sqlstream.formats.base import Decoder

FIRST = 65_536  # bytes of a file that are read first: most files of many are small
MANY = 2  # blocks that are read at once where a batch of more rows pays; FIRST less, for what is left of one before
PADDING = 128  # bytes behind a block that who scans it may read, and write
LONGEST = 256 * 2**20  # bytes of a record, before it is called a broken file
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Block:
    """The bytes of `buffer` (uint8) from `start` to `end`. There are PADDING bytes more behind them, whatever they are."""

    buffer: Any
    start: int
    end: int

    @staticmethod
    def of(data: bytes) -> Block:
        """A copy of bytes."""
        buffer = np.empty(len(data) + PADDING, np.uint8)
        buffer[: len(data)] = np.frombuffer(data, np.uint8)
        return Block(buffer, 0, len(data))

    def __len__(self) -> int:
        return self.end - self.start

    def bytes(self) -> bytes:
        """A copy."""
        return self.view.tobytes()

    @property
    def view(self) -> memoryview:
        """The bytes themselves."""
        return memoryview(self.buffer)[self.start : self.end]


def whole_records(file: Any, decoder: Decoder, start: bool, many: bool = False) -> Iterator[tuple[bytes, Block]]:
    """(head, block) to the end of `file`: blocks of whole records; the last record needs no newline. The bytes of a block stay
    until the next one is asked for. `many`: blocks of as many rows as pay what a batch costs, where they take no time to read.

    `start`: the file stands at its first byte, so a byte order mark and the format's own head come before the
    first block, as `head`; else it is empty.
    """
    size = min(FIRST, BLOCK)
    buffer, have, head = np.empty(size + PADDING, np.uint8), 0, b""
    while True:
        if have + size > len(buffer) - PADDING:
            larger = np.empty(2 * have + size + PADDING, np.uint8)
            larger[:have] = buffer[:have]
            buffer = larger
        view = buffer.data
        got = file.readinto(view[have : have + size])
        have, begin, size = have + got, 0, MANY * BLOCK - FIRST if many and BLOCK > FIRST else BLOCK
        if start:
            if have < len(BOM) and got:
                continue
            mark = len(BOM) if view[: len(BOM)] == BOM else 0
            taken = decoder.head(view[mark:have].tobytes(), complete=not got)
            if taken is None:
                continue
            begin, start = mark + taken, False
            head = view[:begin].tobytes()
        cut = begin + decoder.cut(view[begin:have]) if got else have
        if cut > begin:
            yield head, Block(buffer, begin, cut)
            head = b""
        elif have - begin > LONGEST:
            raise DataError(f"a record is longer than {LONGEST // 2**20} MB: the file is not of this format")
        if not got:
            return
        have -= cut
        buffer[:have] = buffer[cut : cut + have].copy()
