"""Rows as messages of Protocol Buffers by instructions: each vector has a cursor, which goes on by a value at a time. The length of what
is inside is known when it is written: it stands before it, and what was written is moved where one byte is not enough."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.binary.write_kernels import (
    begin_row,
    end_row,
    put_bytes,
    put_fixed,
    put_varint,
)
from sqlstream.formats.binary.write_layout import (
    CURSOR,
    FRAME,
    OUT_AT,
    OUT_END,
    OUT_FULL,
    OUT_NULL,
    TEXT_PLACE,
    VECTOR_WORDS,
    WORD_PLACE,
)
from sqlstream.formats.protobuf.encode_layout import (
    ADVANCE,
    BEGIN,
    CLOSE,
    DONE,
    FIXED4,
    FIXED8,
    IF_ITEMS,
    IF_OTHER,
    IF_THERE,
    JUMP,
    LIST,
    LITERAL,
    NEXT,
    REQUIRE,
    TEXT,
    UNSIGNED,
    VARINT,
    WIDTH,
    ZIGZAG,
)
from sqlstream.state.kernel import I64, U8, Instruction, helper, kernel, r, w

byte, put_byte = Instruction("byte"), Instruction("put_byte")


@helper
def close(out, begin, state):  # type: ignore[no-untyped-def]
    """What stands behind the byte at `begin` is whole: its length takes the place of this."""
    size = state[OUT_AT] - begin - 1
    more = 0
    rest = size >> 7
    while rest > 0:
        more += 1
        rest >>= 7
    if state[OUT_AT] + more + 10 > state[OUT_END]:
        state[OUT_FULL] = 1
        return
    if more > 0:
        for k in range(size - 1, -1, -1):
            put_byte(out, begin + 1 + more + k, byte(out, begin + 1 + k))
    state[OUT_AT] = begin
    put_varint(out, size, state)
    state[OUT_AT] = begin + 1 + more + size


@kernel(I64, I64, I64, r(I64), I64, r(I64), r(U8), r(I64), r(U8), r(U8), w(I64), w(U8), w(I64), w(I64), w(I64))
def encode(first, rows, program, width, words, valid, ends, texts, literals, vectors, out, sizes, stack, state):  # type: ignore[no-untyped-def]
    """Rows from `first` on, into `out` from OUT_AT on, with a line end behind each that has bytes; gives the row for which there was no room,
    `rows`: all were done. `sizes`: of each."""
    for m in range(first, rows):
        begun = state[OUT_AT]
        begin_row(vectors, width, state)
        pc, depth = 0, 0
        while True:
            i = pc * WIDTH
            op, v, a, b = program[i], program[i + 1], program[i + 2], program[i + 3]
            pc += 1
            vector = max(v, 0) * VECTOR_WORDS
            cursor = vectors[vector + CURSOR]
            place = vectors[vector + WORD_PLACE] + cursor
            if op == IF_THERE:
                if valid[place] == 0:
                    pc = a
            elif op == IF_OTHER:
                # b: 1: of a text, which is not empty; 0: of a number, which is not 0
                text = vectors[vector + TEXT_PLACE] + cursor
                if (words[place] == 0) if b == 0 else (ends[text + 1] == ends[text]):
                    pc = a
            elif op == IF_ITEMS:
                if words[place] == 0:
                    vectors[vector + CURSOR] = cursor + 1
                    pc = a
            elif op == LITERAL:
                put_bytes(out, literals, a, b, state)
            elif op == VARINT or op == UNSIGNED or op == ZIGZAG:
                value = words[place]
                if op == UNSIGNED:
                    value &= 0xFFFFFFFF
                elif op == ZIGZAG:
                    value = (value << 1) ^ (value >> 63)
                put_varint(out, value, state)
                vectors[vector + CURSOR] = cursor + 1
            elif op == FIXED4 or op == FIXED8:
                size = 4 if op == FIXED4 else 8
                put_fixed(out, words[place], size, state)
                vectors[vector + CURSOR] = cursor + 1
            elif op == TEXT:
                text = vectors[vector + TEXT_PLACE] + cursor
                begin, size = ends[text], ends[text + 1] - ends[text]
                put_varint(out, size, state)
                if state[OUT_FULL] == 0:
                    put_bytes(out, texts, begin, size, state)
                vectors[vector + CURSOR] = cursor + 1
            elif op == BEGIN:
                stack[depth * FRAME] = state[OUT_AT]
                depth += 1
                if state[OUT_AT] >= state[OUT_END]:
                    state[OUT_FULL] = 1
                else:
                    state[OUT_AT] += 1
            elif op == CLOSE:
                depth -= 1
                close(out, stack[depth * FRAME], state)
            elif op == LIST:
                n = words[place]
                vectors[vector + CURSOR] = cursor + 1
                if n == 0:
                    pc = a
                else:
                    stack[depth * FRAME], stack[depth * FRAME + 1] = pc, n
                    depth += 1
            elif op == NEXT:
                at = (depth - 1) * FRAME
                stack[at + 1] -= 1
                if stack[at + 1] > 0:
                    pc = stack[at]
                else:
                    depth -= 1
            elif op == ADVANCE:
                vectors[vector + CURSOR] = cursor + 1
            elif op == JUMP:
                pc = a
            elif op == REQUIRE:
                if valid[place] == 0:
                    state[OUT_NULL] = v + 1
                    return np.int64(m)
            elif op == DONE:
                break
            if state[OUT_FULL] != 0:
                break
        if not end_row(out, begun, 1, vectors, width, sizes, m, state):
            return np.int64(m)
    return np.int64(rows)
