"""Rows of fields as byte strings: a head (bytes of the caller's, then the NULL bitmap, one bit a field, little-endian),
then the fields that are not NULL: of fixed width as they are, byte strings behind their length (4 bytes).

What bytes a field has says who packs it: `encoding.py` for keys, `packed.py` for values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sqlstream.errors import CheckpointError, InternalError
from sqlstream.state import packing_kernels
from sqlstream.state.arrays import ALL, Array

# So many rows are written, or read, one field after the other: their bytes stay in the processor's cache. With fewer,
# Python's lock is asked for more often, for which a background thread waits long while another one is busy.
PIECE = 1 << 16


@dataclass(frozen=True)
class Packed:
    """Byte strings end to end: i is data[offsets[i]:offsets[i + 1]]; offsets are int64."""

    data: Array
    offsets: Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def tolist(self) -> list[bytes]:
        """Each as Python bytes."""
        data, o = self.data.tobytes(), self.offsets.tolist()
        return [data[a:b] for a, b in zip(o, o[1:], strict=False)]


# The values of a field, (n, width) bytes or byte strings, and its validity.
Field = tuple[Array | Packed, Array]


def heads(fields: Sequence[Field], n: int, before: int = 0) -> Array:
    """What rows begin with: `before` bytes (zeros), and the NULL bitmap."""
    out = np.zeros((n, before + _bitmap_size(fields)), np.uint8)
    for j, (_, valid) in enumerate(fields):
        if valid.size:
            out[:, before + (j >> 3)] |= (~valid).view(np.uint8) << np.uint8(j & 7)
    return out


def pack_fields(head: Array, fields: Sequence[Field]) -> Packed:
    """Rows that begin with `head` (n, width)."""
    offsets = np.zeros(len(head) + 1, np.int64)
    sizes = offsets[1:]
    sizes[:] = head.shape[1]
    for part, valid in fields:
        size = np.diff(part.offsets) + 4 if isinstance(part, Packed) else part.shape[1]
        sizes += np.where(valid, size, 0) if valid.size else size
    np.cumsum(sizes, out=sizes)
    out, at = np.empty(int(offsets[-1]), np.uint8), offsets[:-1].copy()
    for piece in _pieces(len(head)):
        ends = at[piece]
        for part, valid in ((head, ALL), *fields):
            if isinstance(part, Packed):
                of_piece = part.offsets[piece.start : piece.stop + 1]
                packing_kernels.pack_bytes(out, ends, part.data, of_piece, valid[piece])
            else:
                packing_kernels.pack_fixed(out, ends, part[piece].reshape(-1), part.shape[1], valid[piece])
    return Packed(out, offsets)


def unpack_fields(rows: Packed, before: int, widths: Sequence[int | None], what: str) -> tuple[Array, list[Field]]:
    """What `pack_fields` packed: the heads' first bytes (n, before), and the fields, which are of `widths` (None: byte
    strings). CheckpointError (about `what`) when a row is shorter, or longer, than it says."""
    n, data = len(rows), rows.data
    if n and not 0 <= rows.offsets.min() <= rows.offsets.max() <= len(data):
        raise InternalError(f"{what}: offsets up to {rows.offsets.max()} in {len(data)} bytes")
    at = rows.offsets[:-1].copy()
    head = _Fixed(n, before + _bitmap_size(widths))
    parts = [_Strings(n) if width is None else _Fixed(n, width) for width in widths]
    valid = [ALL] * len(parts)
    for piece in _pieces(n):
        now, end = at[piece], rows.offsets[1:][piece]
        whole = head.read(data, now, end, piece, ALL)
        nulls = head.values[piece, before:]
        some = whole and bool(nulls.any())
        for j, part in enumerate(parts):
            there = nulls[:, j >> 3] >> np.uint8(j & 7) & 1 == 0 if some else ALL
            whole = whole and part.read(data, now, end, piece, there)
            if not there.all():
                valid[j] = valid[j] if valid[j].size else np.ones(n, np.bool_)
                valid[j][piece] = there
        if not whole or (now != end).any():
            raise CheckpointError(f"{what} cannot be read: it is {'longer' if whole else 'shorter'} than it says")
    return head.values[:, :before], [(part.field(data), v) for part, v in zip(parts, valid, strict=True)]


class _Fixed:
    """Values of one width that are being read."""

    def __init__(self, n: int, width: int) -> None:
        self.values: Array = np.empty((n, width), np.uint8)

    def read(self, data: Array, at: Array, end: Array, piece: slice, valid: Array) -> bool:
        """Those of the rows of `piece`, which go on at `at`; False when one ends before."""
        out, width = self.values[piece].reshape(-1), self.values.shape[1]
        return bool(packing_kernels.unpack_fixed(data, at, end, out, width, valid))

    def field(self, data: Array) -> Array:
        """All of them."""
        return self.values


class _Strings:
    """Byte strings that are being found; they are copied when it is known how long they are together."""

    def __init__(self, n: int) -> None:
        self._starts, self._offsets = np.zeros(n, np.int64), np.zeros(n + 1, np.int64)

    def read(self, data: Array, at: Array, end: Array, piece: slice, valid: Array) -> bool:
        """As `_Fixed.read`."""
        offsets = self._offsets[piece.start : piece.stop + 1]
        return bool(packing_kernels.unpack_lengths(data, at, end, self._starts[piece], offsets, valid))

    def field(self, data: Array) -> Packed:
        """All of them, end to end."""
        out = np.empty(int(self._offsets[-1]), np.uint8)
        packing_kernels.gather_strings(data, self._starts, self._offsets, out)
        return Packed(out, self._offsets)


def _bitmap_size(fields: Sequence[object]) -> int:
    return -(-len(fields) // 8)


def _pieces(n: int) -> Iterator[slice]:
    for start in range(0, n, PIECE):
        yield slice(start, min(start + PIECE, n))
