"""Records of Avro by the instructions of `program.py`, value by value into vectors. A malformed message leaves nothing behind."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.avro.layout import (
    AT,
    BASE,
    BOOLEAN,
    BRANCH,
    CALL,
    COUNT,
    CUT,
    DECIMAL,
    DEEP,
    DENSE,
    DEPTH,
    DONE,
    END,
    FAIL,
    FIRST,
    FIXED,
    FIXED4,
    FIXED8,
    FRAME,
    FREE_ITEMS,
    FULL,
    GREATEST,
    ITEMS,
    JUMP,
    LEAST,
    LEFT,
    LIST,
    LONG,
    LONG_LIST,
    LONG_NUMBER,
    NEXT,
    NULL,
    NULL_LIST,
    OP,
    OUT,
    REASON,
    RETURN,
    ROOM,
    SAVED,
    SECOND,
    SKIP,
    SKIP_LONG,
    SKIP_TEXT,
    TEXT,
    TEXT_BASE,
    TEXT_COUNT,
    TEXT_ROOM,
    TEXT_SAVED,
    THERE,
    UNION,
    VECTOR,
    VECTOR_WORDS,
    WIDE_DECIMAL,
    WIDTH,
    WRONG,
)
from sqlstream.state.kernel import I64, U8, Instruction, helper, kernel, r, w

byte, put_byte, word = Instruction("byte"), Instruction("put_byte"), Instruction("word")
load64, store64, below = Instruction("load64"), Instruction("store64"), Instruction("below")


@helper
def number(data, state):  # type: ignore[no-untyped-def]
    """The zigzag number at AT, behind which AT is then; what, if WRONG is set."""
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
    return ((value >> 1) & np.int64(0x7FFFFFFFFFFFFFFF)) ^ -(value & 1)


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
def put_text(data, size, vectors, v, words, valid, texts, state):  # type: ignore[no-untyped-def]
    """The `size` bytes at AT as the next value of vector v."""
    at, end = state[AT], state[END]
    if size < 0 or size > end - at:
        state[WRONG] = CUT
        return
    vector = v * VECTOR_WORDS
    used = vectors[vector + TEXT_COUNT]
    if used + size > vectors[vector + TEXT_ROOM]:
        state[FULL] = -(v + 1)
        return
    place = slot(vectors, v, state)
    if place < 0:
        return
    to, k = vectors[vector + TEXT_BASE] + used, 0
    while k + 8 <= size:
        store64(texts, to + k, load64(data, at + k))
        k += 8
    while k < size:
        put_byte(texts, to + k, byte(data, at + k))
        k += 1
    vectors[vector + TEXT_COUNT] = used + size
    words[place], valid[place] = used + size, 1
    state[AT] = at + size


@helper
def put_decimal(data, size, vectors, v, high_v, high_limit, low_limit, reason, words, valid, state):  # type: ignore[no-untyped-def]
    """The two's complement of `size` bytes at AT as the next value of vectors v and high_v."""
    at, end = state[AT], state[END]
    if size < 0 or size > end - at:
        state[WRONG] = CUT
        return
    high = np.int64(0)
    low = np.int64(0)
    if size > 0 and byte(data, at) >= 128:
        high, low = np.int64(-1), np.int64(-1)
    sign = high
    for k in range(size):
        b = np.int64(byte(data, at + k))
        if size - k > 16:
            if b != (sign & 255):
                state[WRONG] = WIDE_DECIMAL
                return
        else:
            high = (high << 8) | ((low >> 56) & 255)
            low = (low << 8) | b
    if (sign < 0) != (high < 0):
        state[WRONG] = WIDE_DECIMAL
        return
    # its absolute value, against the greatest that fits
    h, x = high, low
    if h < 0:
        x = -x
        h = ~h + (1 if x == 0 else 0)
    if h < 0 or h > high_limit or (h == high_limit and below(low_limit, x)):
        state[WRONG] = reason
        return
    place, high_place = slot(vectors, v, state), slot(vectors, high_v, state)
    if place < 0 or high_place < 0:
        return
    words[place], valid[place] = low, 1
    words[high_place], valid[high_place] = high, 1
    state[AT] = at + size


@helper
def items(data, skips, state):  # type: ignore[no-untyped-def]
    """How many items the next block of a list has; 0: there is none. Those of a list that is skipped (`skips`) may be passed over with the
    bytes that they are said to have: OUT is 1 then."""
    state[OUT] = 0
    n = number(data, state)
    if n < 0:
        n = -n
        size = number(data, state)
        if skips and state[WRONG] == 0:
            if size < 0 or size > state[END] - state[AT]:
                state[WRONG] = CUT
                return np.int64(0)
            state[AT] += size
            state[OUT] = 1
            return np.int64(1)
    if n < 0 or n > state[ITEMS]:
        state[WRONG] = LONG_LIST
    state[ITEMS] -= n
    return n


@kernel(I64, r(U8), r(I64), r(I64), I64, I64, r(I64), I64, w(I64), w(U8), w(U8), w(I64), w(I64), w(I64), w(I64))
def decode(data, begins, sizes, first, count, program, width, words, valid, texts, vectors, errors, stack, state):  # type: ignore[no-untyped-def]
    """Messages from `first` on, each of `sizes` bytes that begin at `begins`. Gives the message that was not done, for which FULL
    has no room; `count`: all were. `errors`: why one is malformed; 0: it is not. `width`: how many vectors there are. A message
    that begins at -1 does so where that before it ended; and if DENSE is set, those that lie together fill what they lie in."""
    for m in range(first, count):
        if begins[m] >= 0:
            state[AT], state[END] = begins[m], begins[m] + sizes[m]
        began = state[AT]
        state[WRONG], state[FULL] = 0, 0
        state[ITEMS] = state[END] - began + FREE_ITEMS  # of those with bytes there are no more than bytes
        for v in range(width):
            at = v * VECTOR_WORDS
            vectors[at + SAVED], vectors[at + TEXT_SAVED] = vectors[at + COUNT], vectors[at + TEXT_COUNT]
        pc, depth = 0, 0
        while True:
            i = pc * WIDTH
            op, v = program[i + OP], program[i + VECTOR]
            first_of, second = program[i + FIRST], program[i + SECOND]
            pc += 1
            if op == LONG:
                value = number(data, state)
                if value < program[i + LEAST] or value > program[i + GREATEST]:
                    state[WRONG] = max(state[WRONG], program[i + REASON])
                elif state[WRONG] == 0:
                    place = slot(vectors, v, state)
                    if place >= 0:
                        if second != 1:
                            value = value // second
                        words[place], valid[place] = value * first_of, 1
            elif op == UNION:
                branch = number(data, state)
                if branch < 0 or branch >= first_of:
                    state[WRONG] = max(state[WRONG], BRANCH)
                else:
                    pc += branch
            elif op == JUMP:
                pc = first_of
            elif op == TEXT:
                size = number(data, state)
                if state[WRONG] == 0:
                    put_text(data, size, vectors, v, words, valid, texts, state)
            elif op == FIXED:
                put_text(data, first_of, vectors, v, words, valid, texts, state)
            elif op == NULL:
                place = slot(vectors, v, state)
                if place >= 0:
                    words[place], valid[place] = vectors[v * VECTOR_WORDS + TEXT_COUNT], 0
            elif op == NULL_LIST:
                place = slot(vectors, v, state)
                if place >= 0:
                    words[place], valid[place] = vectors[first_of * VECTOR_WORDS + COUNT], 0
            elif op == THERE:
                place = slot(vectors, v, state)
                if place >= 0:
                    valid[place] = 1
            elif op == BOOLEAN or op == FIXED4 or op == FIXED8:
                size = 1 if op == BOOLEAN else 4 if op == FIXED4 else 8
                at = state[AT]
                if size > state[END] - at:
                    state[WRONG] = CUT
                else:
                    place = slot(vectors, v, state)
                    if place >= 0:
                        value = word(data, at)
                        if size == 1:
                            value = np.int64(value & 255 != 0)
                        words[place], valid[place] = value, 1
                        state[AT] = at + size
            elif op == DECIMAL:
                size = first_of
                if size < 0:
                    size = number(data, state)
                if state[WRONG] == 0:
                    put_decimal(
                        data, size, vectors, v, second, program[i + LEAST], program[i + GREATEST], program[i + REASON], words, valid, state
                    )  # fmt: skip
            elif op == LIST:
                # FIRST: the vector of its items, SECOND: what comes behind it
                n = items(data, v < 0, state)
                while state[OUT] == 1 and state[WRONG] == 0:
                    n = items(data, True, state)
                if state[WRONG] == 0:
                    if n == 0:
                        if v >= 0:
                            place = slot(vectors, v, state)
                            if place >= 0:
                                words[place], valid[place] = vectors[first_of * VECTOR_WORDS + COUNT], 1
                        pc = second
                    elif depth >= DEPTH:
                        state[WRONG] = DEEP
                    else:
                        at = depth * FRAME
                        stack[at], stack[at + 1], stack[at + 2], stack[at + 3] = pc, n, second, i
                        depth += 1
            elif op == NEXT:
                at = (depth - 1) * FRAME
                stack[at + 1] -= 1
                if stack[at + 1] > 0:
                    pc = stack[at]
                else:
                    begun = stack[at + 3]
                    of = program[begun + VECTOR]
                    n = items(data, of < 0, state)
                    while state[OUT] == 1 and state[WRONG] == 0:
                        n = items(data, True, state)
                    if state[WRONG] == 0 and n > 0:
                        stack[at + 1], pc = n, stack[at]
                    elif state[WRONG] == 0:
                        if of >= 0:
                            place = slot(vectors, of, state)
                            if place >= 0:
                                words[place] = vectors[program[begun + FIRST] * VECTOR_WORDS + COUNT]
                                valid[place] = 1
                        depth, pc = depth - 1, stack[at + 2]
            elif op == SKIP:
                if first_of > state[END] - state[AT]:
                    state[WRONG] = CUT
                else:
                    state[AT] += first_of
            elif op == SKIP_LONG:
                number(data, state)
            elif op == SKIP_TEXT:
                size = number(data, state)
                if state[WRONG] == 0:
                    if size < 0 or size > state[END] - state[AT]:
                        state[WRONG] = CUT
                    else:
                        state[AT] += size
            elif op == CALL:
                if depth >= DEPTH:
                    state[WRONG] = DEEP
                else:
                    stack[depth * FRAME] = pc
                    depth, pc = depth + 1, first_of
            elif op == RETURN:
                depth -= 1
                pc = stack[depth * FRAME]
            elif op == FAIL:
                state[WRONG] = program[i + REASON]
            elif op == DONE:
                break
            if state[WRONG] != 0 or state[FULL] != 0:
                break
        if state[WRONG] != 0 or state[FULL] != 0:
            for v in range(width):
                at = v * VECTOR_WORDS
                vectors[at + COUNT], vectors[at + TEXT_COUNT] = vectors[at + SAVED], vectors[at + TEXT_SAVED]
        if state[FULL] != 0 and state[WRONG] == 0:
            state[AT] = began
            return np.int64(m)
        if (
            state[DENSE] == 1
            and state[WRONG] == 0
            and state[AT] != state[END]
            and (m + 1 == count or begins[m + 1] >= 0)
        ):
            state[WRONG] = LEFT
        errors[m] = state[WRONG]
    return np.int64(count)
