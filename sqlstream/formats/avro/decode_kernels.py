"""Records of Avro by the instructions of `program.py`, value by value into vectors. A malformed message leaves nothing behind."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.avro.layout import (
    BOOLEAN,
    BRANCH,
    CALL,
    DECIMAL,
    DEEP,
    DENSE,
    DEPTH,
    DONE,
    FAIL,
    FIRST,
    FIXED,
    FIXED4,
    FIXED8,
    FRAME,
    FREE_ITEMS,
    GREATEST,
    ITEMS,
    JUMP,
    LEAST,
    LEFT,
    LIST,
    LONG,
    LONG_LIST,
    NEXT,
    NULL,
    NULL_LIST,
    OP,
    OUT,
    REASON,
    RETURN,
    SECOND,
    SKIP,
    SKIP_LONG,
    SKIP_TEXT,
    TEXT,
    THERE,
    UNION,
    VECTOR,
    WIDE_DECIMAL,
    WIDTH,
)
from sqlstream.formats.binary.read_kernels import (
    begin_message,
    pass_bytes,
    put_text,
    signed,
    slot,
    take_back,
    varint,
)
from sqlstream.formats.binary.read_layout import (
    AT,
    COUNT,
    CUT,
    END,
    FULL,
    TEXT_COUNT,
    VECTOR_WORDS,
    WRONG,
)
from sqlstream.state.kernel import I64, U8, Instruction, helper, kernel, r, w

byte, word, below = Instruction("byte"), Instruction("word"), Instruction("below")


@helper
def number(data, state):  # type: ignore[no-untyped-def]
    """The number at AT, behind which AT is then; 0 and what, if WRONG is set."""
    return signed(varint(data, state))


@helper
def put_sized(data, size, vectors, v, words, valid, texts, state):  # type: ignore[no-untyped-def]
    """The `size` bytes at AT as the next value of vector v."""
    begin = state[AT]
    pass_bytes(size, state)
    if state[WRONG] == 0:
        put_text(data, begin, size, vectors, v, words, valid, texts, state)


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
            pass_bytes(size, state)
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
        begin_message(vectors, width, state)
        state[ITEMS] = state[END] - began + FREE_ITEMS  # of those with bytes there are no more than bytes
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
                    put_sized(data, size, vectors, v, words, valid, texts, state)
            elif op == FIXED:
                put_sized(data, first_of, vectors, v, words, valid, texts, state)
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
                pass_bytes(first_of, state)
            elif op == SKIP_LONG:
                number(data, state)
            elif op == SKIP_TEXT:
                size = number(data, state)
                if state[WRONG] == 0:
                    pass_bytes(size, state)
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
            take_back(vectors, width)
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
