"""Memory behind which nothing can be read or written: who does it dies (SIGSEGV), so this is for processes of their own."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

from harness.decoding import Way
from sqlstream.connectors.block_decoder import BlockDecoder
from sqlstream.connectors.blocks import PADDING, Block
from sqlstream.formats.scan.columns import Buffers

PAGE = mmap.PAGESIZE
PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)


def guarded(array: np.ndarray[Any, Any], behind: bool = True) -> np.ndarray[Any, Any]:
    """A copy that ends at a page that may not be touched, or (`behind` False) begins behind one."""
    size = -(-max(array.nbytes, 1) // PAGE) * PAGE
    memory = mmap.mmap(-1, size + PAGE)
    at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if _libc.mprotect(ctypes.c_void_p(at + (size if behind else 0)), ctypes.c_size_t(PAGE), PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")
    begin = size - array.nbytes if behind else PAGE
    copy = np.frombuffer(memory, array.dtype, array.size, begin).reshape(array.shape)
    copy[...] = array
    return copy


class Guarded(Way):
    """With nothing behind the bytes that may be read, nor before the block; and nothing behind what is written."""

    def __init__(self, name: str, behind: bool) -> None:
        super().__init__(name, "on")
        self._behind = behind

    def _decoded(self, decoder: BlockDecoder, data: bytes, line: int) -> pa.RecordBatch | None:
        buffer = guarded(np.frombuffer(data + b"\xff" * PADDING, np.uint8), self._behind)
        with guarded_buffers():
            return decoder.decode(Block(buffer, 0, len(data)), line)


@contextmanager
def guarded_buffers() -> Iterator[None]:
    """Those that a scanner fills, too."""
    made, grown = Buffers.__init__, Buffers.grow

    def guard(buffers: Buffers) -> None:
        for name in ("words", "valid", "offsets", "texts", "filled"):
            setattr(buffers, name, guarded(getattr(buffers, name)))

    def init(self: Buffers, *args: Any) -> None:
        made(self, *args)
        guard(self)

    def grow(self: Buffers, rows: int) -> None:
        grown(self, rows)
        guard(self)

    with mock.patch.object(Buffers, "__init__", init), mock.patch.object(Buffers, "grow", grow):
        yield


GUARDED = (Guarded("guarded behind", True), Guarded("guarded before", False))
