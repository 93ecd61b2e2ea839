"""The kernel: records of CSV to the buffers of columns. See `layout.py` for its words."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.csv_scan.fields import (
    behind_blanks_to,
    closing_quote,
    is_utf8,
    number_begin,
    rare_value,
    record_end,
    unescape,
)
from sqlstream.formats.csv_scan.layout import (
    COMMENTS,
    DELIMITER,
    ESCAPE,
    FOREIGN,
    NOT_NULL,
    NULL_SIZE,
    NUMBER,
    QUOTE,
    SPECIAL,
    STOP,
    WIDTH,
    WITHIN,
)
from sqlstream.formats.scan.characters import NEWLINE, RETURN, SPACE, copy_to, matches
from sqlstream.formats.scan.layout import (
    ACTION,
    FEW,
    GREATEST,
    INTEGER,
    LINES,
    NODE,
    PLACES,
    RAW,
    ROOM,
    ROW,
    SHARE,
    SLOT,
    SLOTS,
    STRING,
    STRINGS,
    TEXT,
    TIMESTAMP,
    UNUSUAL,
)
from sqlstream.formats.scan.numbers import integer
from sqlstream.formats.scan.times import timestamp
from sqlstream.state.kernel import I32, I64, U8, Instruction, helper, inlined, kernel, r, w

byte, word = Instruction("byte"), Instruction("word")
put_byte, put_half, put_word = Instruction("put_byte"), Instruction("put_half"), Instruction("put_word")
equal64, foreign64 = Instruction("equal64"), Instruction("foreign64")
copy32, trailing_zeros = Instruction("copy32"), Instruction("trailing_zeros")

HASH = 35


@helper
def is_line_end(c):  # type: ignore[no-untyped-def]
    """Whether it ends a line outside of quotes."""
    return c == NEWLINE or c == RETURN


@inlined
def stops(data, p, delimiter, stop):  # type: ignore[no-untyped-def]
    """Which of 64 bytes end a field that is not in quotes, or escape the next one."""
    return equal64(data, p, delimiter) | equal64(data, p, stop) | equal64(data, p, NEWLINE) | equal64(data, p, RETURN)


@helper
def behind_line(data, p):  # type: ignore[no-untyped-def]
    """Behind the line end at p."""
    return p + 2 if byte(data, p) == RETURN and byte(data, p + 1) == NEWLINE else p + 1


@kernel(
    I64, r(U8), I64, I64, w(I64), r(U8), w(I64), w(U8), I64, w(I32), w(U8), I64, w(I64), w(I64), w(I64), w(I64), r(U8), r(U8),
    r(U8), r(I64), r(I64),
)  # fmt: skip
def scan_records(  # type: ignore[no-untyped-def]
    data, start, end, fields, null, words, valid, stride, offsets, texts, region, filled, state, unusual, total, delimiters,
    quotes, escapes, powers, tens,
):  # fmt: skip
    """Records from `start` on, up to `end`, the byte behind a newline, into rows from state[ROW] on; gives the place of the record
    that it has not taken: rows are full, or there are so many unusual ones that the block is better left to others.

    `null`: the text that means NULL. `words` to `unusual`: as in `json_scan/lines.py`. `total`: what `field_end` needs.
    `delimiters`, `quotes`, `escapes`: one byte, or none.
    """
    p = start
    row = word(state, ROW)
    slots, strings = word(state, SLOTS), word(state, STRINGS)
    odd, room = word(state, UNUSUAL), word(state, ROOM)
    delimiter, quote, escape, stop = word(state, DELIMITER), word(state, QUOTE), word(state, ESCAPE), word(state, STOP)
    stop_within = escape if escape >= 0 else quote
    width, comments, null_size = word(state, WIDTH), word(state, COMMENTS), word(state, NULL_SIZE)
    while p < end and row < room and (odd - FEW) * SHARE < row:
        begin = p
        c = byte(data, p)
        if is_line_end(c) and width > 1:
            p = behind_line(data, p)
            put_word(state, LINES, word(state, LINES) + 1)
            continue
        if c == HASH and comments:
            while not is_line_end(byte(data, p)):
                p += 1
            p = behind_line(data, p)
            put_word(state, LINES, word(state, LINES) + 1)
            continue
        base, at = p, p  # of the bytes of `bits`; of the field
        bits, foreign = stops(data, p, delimiter, stop), foreign64(data, p)
        within = np.int64(0)
        k, field = np.int64(0), np.int64(0)
        wanted = word(fields, NUMBER)
        good = True
        while True:
            special = np.int64(0)
            quoted = byte(data, at) == quote
            if quoted:
                at += 1
                to = closing_quote(data, at, end, quote, stop_within, escape, state)
                if to < 0:
                    good = False
                    break
                special = word(state, SPECIAL)
                within += word(state, WITHIN)
                foreign |= word(state, FOREIGN)
                p = to + 1
                while byte(data, p) == SPACE and delimiter != SPACE:
                    p += 1
                c = byte(data, p)
                if c != delimiter and not is_line_end(c):
                    good = False
                    break
                if p - base < 64:
                    bits &= -1 << (p - base)
                else:
                    base = p
                    bits = stops(data, p, delimiter, stop)
                    foreign |= foreign64(data, p)
                bits &= bits - 1
            else:
                while True:
                    while bits == 0:
                        base += 64
                        bits = stops(data, base, delimiter, stop)
                        foreign |= foreign64(data, base)
                    p = base + trailing_zeros(bits)
                    bits &= bits - 1
                    c = byte(data, p)
                    if c != escape:
                        break
                    special = np.int64(1)
                    if is_line_end(byte(data, p + 1)):
                        good = False
                        break
                    base = p + 1
                    bits = stops(data, base, delimiter, stop) & -2
                    foreign |= foreign64(data, base)
                if not good:
                    break
                to = p
            if k == wanted:
                size = to - at
                action, slot = word(fields, field + ACTION), word(fields, field + SLOT) * stride + row
                there = size > 0
                if action == TEXT or action == RAW:
                    s = word(fields, field + STRING)
                    out = s * region + word(filled, s)
                    if special:
                        enclosed = quote if quoted else np.int64(-1)
                        size = unescape(data, at, to, enclosed, stop_within, escape, texts, out) - out
                    else:
                        copy_to(data, at, to, texts, out)
                    there = (action == TEXT or size > 0) and (
                        size != null_size or not matches(texts, out, null, 0, size)
                    )
                    if there:
                        put_word(filled, s, word(filled, s) + size)
                elif special:
                    good = False
                    break
                elif there and (size != null_size or not matches(data, at, null, 0, size)):
                    if action == INTEGER:
                        after = number_begin(data, at)
                        if after >= 0:
                            after = behind_blanks_to(
                                data, integer(data, after, word(fields, field + GREATEST), words, slot), to
                            )
                    elif action == TIMESTAMP:
                        after = timestamp(data, at, fields, field, words, slot)
                    else:
                        after = rare_value(
                            data, at, to, action, fields, field, words, slot, stride, state, powers, tens
                        )
                    if after != to:
                        good = False
                        break
                else:
                    there = False
                if there:
                    put_byte(valid, slot, 1)
                elif word(fields, field + NOT_NULL):
                    good = False
                    break
                field += NODE
                wanted = word(fields, field + NUMBER)
            k += 1
            if c != delimiter:
                break
            if k == width:
                good = False
                break
            at = p + 1
        if good and k == width and (foreign == 0 or is_utf8(data, begin, p)):
            p = behind_line(data, p)
            put_word(state, LINES, word(state, LINES) + within + 1)
        else:
            put_word(unusual, odd * PLACES, row)
            put_word(unusual, odd * PLACES + 1, begin)
            put_word(unusual, odd * PLACES + 3, word(state, LINES))
            p = record_end(data, begin, end, delimiters, quotes, escapes, total, state)
            put_word(unusual, odd * PLACES + 2, p)
            odd += 1
            for n in range(slots):
                put_byte(valid, n * stride + row, 0)
            for n in range(strings):
                put_word(filled, n, np.int64(offsets[n * (stride + 1) + row]))
        row += 1
        for n in range(strings):
            put_half(offsets, n * (stride + 1) + row, word(filled, n))
    put_word(state, ROW, row)
    put_word(state, UNUSUAL, odd)
    return p
