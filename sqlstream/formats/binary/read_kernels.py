"""Parts of loops that take binary messages apart: numbers, and values into vectors."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.binary.read_layout import (
    AT,
    BASE,
    COUNT,
    CUT,
    END,
    FULL,
    LONG_NUMBER,
    ROOM,
    SAVED,
    SEEN,
    TEXT_BASE,
    TEXT_COUNT,
    TEXT_ROOM,
    TEXT_SAVED,
    VECTOR_WORDS,
    WRONG,
)
from sqlstream.state.kernel import Instruction, helper, inlined

byte, put_byte = Instruction("byte"), Instruction("put_byte")
load64, store64 = Instruction("load64"), Instruction("store64")


# Left to LLVM it is called where there are many helpers, and protobuf reads a tenth slower.
@inlined
def varint(data, state):  # type: ignore[no-untyped-def]
    """The number at AT, seven bits a byte, behind which AT is then; 0 and what, if WRONG is set."""
    at, end, shift, value = state[AT], state[END], 0, np.int64(0)
    while True:
        if at >= end:
            state[WRONG] = CUT
            return np.int64(0)
        if shift > 63:
            state[WRONG] = LONG_NUMBER
            return np.int64(0)
        b = byte(data, at)
        at += 1
        value |= np.int64(b & 127) << shift
        if b < 128:
            break
        shift += 7
    state[AT] = at
    return value


@helper
def signed(value):  # type: ignore[no-untyped-def]
    """What zigzag has made of a number that may be negative."""
    return ((value >> 1) & np.int64(0x7FFFFFFFFFFFFFFF)) ^ -(value & 1)


@helper
def pass_bytes(size, state):  # type: ignore[no-untyped-def]
    """AT is behind so many bytes, or the message is CUT."""
    if size < 0 or size > state[END] - state[AT]:
        state[WRONG] = CUT
    else:
        state[AT] += size


@helper
def slot(vectors, v, state):  # type: ignore[no-untyped-def]
    """Where the next value of vector v goes, which is then there; -1: it has no room."""
    at = v * VECTOR_WORDS
    count = vectors[at + COUNT]
    if count >= vectors[at + ROOM]:
        state[FULL] = v + 1
        return np.int64(-1)
    vectors[at + COUNT] = count + 1
    return vectors[at + BASE] + count


@helper
def has_room(vectors, v, state):  # type: ignore[no-untyped-def]
    """Whether vector v has room for a value more."""
    at = v * VECTOR_WORDS
    if vectors[at + COUNT] >= vectors[at + ROOM]:
        state[FULL] = v + 1
        return False
    return True


@helper
def put_word(value, vectors, v, words, valid, state):  # type: ignore[no-untyped-def]
    """The next value of vector v."""
    if has_room(vectors, v, state):
        at = v * VECTOR_WORDS
        place = vectors[at + BASE] + vectors[at + COUNT]
        vectors[at + COUNT] += 1
        words[place], valid[place] = value, 1


@helper
def put_text(data, begin, size, vectors, v, words, valid, texts, state):  # type: ignore[no-untyped-def]
    """The next value of vector v: bytes of `data`, which are there."""
    at = v * VECTOR_WORDS
    used = vectors[at + TEXT_COUNT]
    if used + size > vectors[at + TEXT_ROOM]:
        state[FULL] = -(v + 1)
        return
    if not has_room(vectors, v, state):
        return
    to, k = vectors[at + TEXT_BASE] + used, 0
    while k + 8 <= size:
        store64(texts, to + k, load64(data, begin + k))
        k += 8
    while k < size:
        put_byte(texts, to + k, byte(data, begin + k))
        k += 1
    place = vectors[at + BASE] + vectors[at + COUNT]
    vectors[at + TEXT_COUNT] = used + size
    vectors[at + COUNT] += 1
    words[place], valid[place] = used + size, 1


@helper
def begin_message(vectors, width, state):  # type: ignore[no-untyped-def]
    """The message from AT to END; what the vectors have is remembered."""
    state[WRONG], state[FULL] = 0, 0
    for v in range(width):
        at = v * VECTOR_WORDS
        vectors[at + SAVED], vectors[at + TEXT_SAVED] = vectors[at + COUNT], vectors[at + TEXT_COUNT]
        vectors[at + SEEN] = 0


@helper
def take_back(vectors, width):  # type: ignore[no-untyped-def]
    """Nothing of the message is in the vectors."""
    for v in range(width):
        at = v * VECTOR_WORDS
        vectors[at + COUNT], vectors[at + TEXT_COUNT] = vectors[at + SAVED], vectors[at + TEXT_SAVED]
