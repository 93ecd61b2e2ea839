"""Rows as records of Avro by the instructions of `encode_program.py`: each vector has a cursor, which goes on by a value at a time."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.avro.encode_layout import (
    ADVANCE,
    BOOLEAN,
    DECIMAL,
    DONE,
    FIXED,
    FIXED4,
    FIXED8,
    JUMP,
    LIST,
    LITERAL,
    LONG,
    NEXT,
    NULLABLE,
    OP,
    REQUIRE,
    TEXT,
    WIDTH,
)
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
from sqlstream.state.kernel import I64, U8, Instruction, helper, kernel, r, w

put_byte = Instruction("put_byte")


@helper
def put_number(out, value, state):  # type: ignore[no-untyped-def]
    """Zigzag."""
    put_varint(out, (value << 1) ^ (value >> 63), state)


@helper
def put_decimal(out, low, high, fixed, state):  # type: ignore[no-untyped-def]
    """Two's complement, of `fixed` bytes, or (-1) of as few as there can be, behind their number."""
    size = 16
    while size > 1:
        k = size - 1  # the byte that would go, and the sign of what stays
        top = (high >> (8 * (k - 8))) & 255 if k >= 8 else (low >> (8 * k)) & 255
        below_it = (high >> (8 * (k - 9))) & 255 if k >= 9 else (low >> (8 * (k - 1))) & 255
        if (top == 0 and below_it < 128) or (top == 255 and below_it >= 128):
            size -= 1
        else:
            break
    if fixed < 0:
        put_number(out, size, state)
        fixed = size
    at = state[OUT_AT]
    if at + fixed > state[OUT_END]:
        state[OUT_FULL] = 1
        return
    for i in range(fixed):
        k = fixed - 1 - i
        if k >= 16:
            b = 255 if high < 0 else 0
        elif k >= 8:
            b = (high >> (8 * (k - 8))) & 255
        else:
            b = (low >> (8 * k)) & 255
        put_byte(out, at + i, b)
    state[OUT_AT] = at + fixed


@kernel(I64, I64, I64, r(I64), I64, r(I64), r(U8), r(I64), r(U8), r(U8), w(I64), w(U8), w(I64), w(I64), w(I64), I64)
def encode(first, rows, program, width, words, valid, ends, texts, literals, vectors, out, sizes, stack, state, lines):  # type: ignore[no-untyped-def]
    """Rows from `first` on, into `out` from OUT_AT on; gives the row for which there was no room, `rows`: all were done. `sizes`: of each.
    `lines`: 1: a line end stands behind each that has bytes."""
    for m in range(first, rows):
        begun = state[OUT_AT]
        begin_row(vectors, width, state)
        pc, depth = 0, 0
        while True:
            i = pc * WIDTH
            op, v = program[i + OP], program[i + 1]
            a, b = program[i + 2], program[i + 3]
            pc += 1
            vector = max(v, 0) * VECTOR_WORDS
            cursor = vectors[vector + CURSOR]
            place = vectors[vector + WORD_PLACE] + cursor
            if op == NULLABLE:
                # a: the branch of null, b: that of the value, then where NULL goes on
                if valid[place] != 0:
                    put_number(out, b, state)
                else:
                    put_number(out, a, state)
                    pc = program[i + 4]
            elif op == LONG:
                value = words[place]
                if a != 1:
                    value = value // a
                put_number(out, value, state)
                vectors[vector + CURSOR] = cursor + 1
            elif op == TEXT or op == FIXED:
                text = vectors[vector + TEXT_PLACE] + cursor
                begin, size = ends[text], ends[text + 1] - ends[text]
                if op == TEXT:
                    put_number(out, size, state)
                if state[OUT_FULL] == 0:
                    put_bytes(out, texts, begin, size, state)
                vectors[vector + CURSOR] = cursor + 1
            elif op == BOOLEAN or op == FIXED4 or op == FIXED8:
                size = 1 if op == BOOLEAN else 4 if op == FIXED4 else 8
                put_fixed(out, words[place], size, state)
                vectors[vector + CURSOR] = cursor + 1
            elif op == DECIMAL:
                high = vectors[b * VECTOR_WORDS + WORD_PLACE] + cursor
                put_decimal(out, words[place], words[high], a, state)
                vectors[vector + CURSOR] = cursor + 1
            elif op == LIST:
                n = words[place]
                vectors[vector + CURSOR] = cursor + 1
                put_number(out, n, state)
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
                    put_number(out, 0, state)
                    depth -= 1
            elif op == ADVANCE:
                vectors[vector + CURSOR] = cursor + 1
            elif op == LITERAL:
                put_bytes(out, literals, a, b, state)
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
        if not end_row(out, begun, lines, vectors, width, sizes, m, state):
            return np.int64(m)
    return np.int64(rows)
