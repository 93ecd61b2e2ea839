"""Parts of loops that write binary messages: numbers, and bytes."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.binary.write_layout import CURSOR, OUT_AT, OUT_END, OUT_FULL, SAVED, VECTOR_WORDS
from sqlstream.state.kernel import Instruction, helper

byte, put_byte = Instruction("byte"), Instruction("put_byte")
load64, store64 = Instruction("load64"), Instruction("store64")


@helper
def put_varint(out, value, state):  # type: ignore[no-untyped-def]
    """The 64 bits of a number, as one without a sign: seven a byte."""
    at = state[OUT_AT]
    if at + 10 > state[OUT_END]:
        state[OUT_FULL] = 1
        return
    while value & ~127:
        put_byte(out, at, (value & 127) | 128)
        value = (value >> 7) & np.int64(0x01FFFFFFFFFFFFFF)
        at += 1
    put_byte(out, at, value)
    state[OUT_AT] = at + 1


@helper
def put_fixed(out, value, size, state):  # type: ignore[no-untyped-def]
    """The lowest `size` bytes of a word, the lowest first."""
    at = state[OUT_AT]
    if at + size > state[OUT_END]:
        state[OUT_FULL] = 1
        return
    for k in range(size):
        put_byte(out, at + k, (value >> (8 * k)) & 255)
    state[OUT_AT] = at + size


@helper
def put_bytes(out, data, begin, size, state):  # type: ignore[no-untyped-def]
    """`size` bytes of `data` from `begin` on."""
    at = state[OUT_AT]
    if at + size > state[OUT_END]:
        state[OUT_FULL] = 1
        return
    k = 0
    while k + 8 <= size:
        store64(out, at + k, load64(data, begin + k))
        k += 8
    while k < size:
        put_byte(out, at + k, byte(data, begin + k))
        k += 1
    state[OUT_AT] = at + size


@helper
def begin_row(vectors, width, state):  # type: ignore[no-untyped-def]
    """Which values are next is remembered."""
    state[OUT_FULL] = 0
    for v in range(width):
        vectors[v * VECTOR_WORDS + SAVED] = vectors[v * VECTOR_WORDS + CURSOR]


@helper
def end_row(out, begun, lines, vectors, width, sizes, m, state):  # type: ignore[no-untyped-def]
    """The row is whole, and with `lines` a line end stands behind it if it has bytes; or there was no room, and nothing of it is there:
    whether that is so."""
    if state[OUT_FULL] == 0 and lines != 0 and state[OUT_AT] > begun:
        if state[OUT_AT] >= state[OUT_END]:
            state[OUT_FULL] = 1
        else:
            put_byte(out, state[OUT_AT], 10)
    if state[OUT_FULL] != 0:
        for v in range(width):
            vectors[v * VECTOR_WORDS + CURSOR] = vectors[v * VECTOR_WORDS + SAVED]
        state[OUT_AT] = begun
        return False
    sizes[m] = state[OUT_AT] - begun
    state[OUT_AT] += lines != 0 and sizes[m] > 0
    return True
