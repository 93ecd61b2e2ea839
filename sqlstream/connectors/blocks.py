"""Blocks of whole records: how the bytes of a file come to who decodes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sqlstream.connectors.paths import BLOCK
from sqlstream.contracts import ScanRequest
from sqlstream.errors import DataError
from sqlstream.formats.base import Decoder
from sqlstream.types import Type

FIRST = 65_536  # bytes of a file that are read first: most files of many are small
MANY = 2  # blocks that are read at once where a batch of more rows pays; FIRST less, for what is left of one before
PADDING = 128  # bytes behind a block that who scans it may read, and write
MOST_VALUES = 2**22  # of a block, lines by columns: lines of a few of many fields have room for all of them in memory
SAMPLES, SAMPLE = 8, 4096  # places of a block where lines are counted, and bytes at each
LONGEST = 256 * 2**20  # bytes of a record, before it is called a broken file
BOM, NEWLINE = b"\xef\xbb\xbf", 10


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


def values_a_record(request: ScanRequest) -> int:
    """How many values a record has room for."""
    return sum(_values(c.type) for c in request.columns)


def _values(t: Type) -> int:
    return 1 + sum(_values(f.type) for f in t.fields)


def parts_of(block: Block, decoder: Decoder, values: int) -> Iterator[Block]:
    """The block in parts of whole records, of about MOST_VALUES values at most; most blocks are one. `values`: of a record."""
    while len(block):
        end = block.start + _part(block, decoder, max(len(block) * MOST_VALUES // (values * _lines(block) + 1), SAMPLE))
        yield Block(block.buffer, block.start, end)
        block = Block(block.buffer, end, block.end)


def _part(block: Block, decoder: Decoder, size: int) -> int:
    """How many bytes of the block are whole records, and lines, of about `size` bytes; all, where that cannot be said."""
    while size < len(block):
        cut = decoder.cut(block.view[:size])
        if cut and block.buffer[block.start + cut - 1] == NEWLINE:
            return cut
        size *= 2
    return len(block)


def _lines(block: Block) -> int:
    """About how many lines end in the block."""
    if len(block) <= SAMPLES * SAMPLE:
        return block.bytes().count(b"\n")
    places = (block.start + k * (len(block) - SAMPLE) // (SAMPLES - 1) for k in range(SAMPLES))
    counts = (memoryview(block.buffer)[p : p + SAMPLE].tobytes().count(b"\n") for p in places)
    return sum(counts) * len(block) // (SAMPLES * SAMPLE)


def whole_records(file: Any, decoder: Decoder, start: bool, many: bool = False) -> Iterator[tuple[bytes, Block]]:
    """(head, block) to the end of `file`: blocks of whole records; the last record needs no newline. The bytes of a block stay
    until the next one is asked for. `many`: whether the next ones are to have as many rows as pay what a batch costs.

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
