"""Helpers of the kernel: fields in quotes and with escapes, text of them, values of text, and the ends of records."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.csv_kernels import WITHIN as LINES_WITHIN
from sqlstream.formats.csv_kernels import field_end
from sqlstream.formats.csv_kernels import line_end as size_of_line_end
from sqlstream.formats.csv_scan.layout import FOREIGN, SPECIAL, WITHIN
from sqlstream.formats.scan.characters import NEWLINE, RETURN, character_size, is_blank
from sqlstream.formats.scan.layout import BOOLEAN, DATE, LINES, STEP, TIME
from sqlstream.formats.scan.numbers import HYPHEN, PLUS
from sqlstream.formats.scan.times import date, time_of_day
from sqlstream.formats.scan.values import number
from sqlstream.state.kernel import Instruction, apart, helper

byte, half, word = Instruction("byte"), Instruction("half"), Instruction("word")
put_byte, put_word, copy32 = Instruction("put_byte"), Instruction("put_word"), Instruction("copy32")
equal32, foreign32 = Instruction("equal32"), Instruction("foreign32")
trailing_zeros = Instruction("trailing_zeros")

SMALL = 0x20202020  # of four capitals
TRUE_WORD, FALS_WORD, LARGE_E, E = 0x65757274, 0x736C6166, 69, 101
N, R, T, ZERO, NINE = 110, 114, 116, 48, 57


@apart
def closing_quote(data, p, end, quote, stop, escape, state):  # type: ignore[no-untyped-def]
    """The place of the quote that closes the field whose first byte is p; -1: there is none before `end`. `stop`: the escape, or
    the quote where there is none. state[SPECIAL], [WITHIN], [FOREIGN]: what is in it."""
    special, lines, foreign = 0, 0, 0
    while p < end:
        found = equal32(data, p, quote) | equal32(data, p, stop) | equal32(data, p, NEWLINE) | equal32(data, p, RETURN)
        foreign |= foreign32(data, p)
        if found == 0:
            p += 32
            continue
        p += trailing_zeros(found)
        if p >= end:
            break
        c = byte(data, p)
        if c == escape:
            special = 1
            p += 1
            c = byte(data, p)
            if p >= end:
                break
        elif c == quote:
            if byte(data, p + 1) != quote:
                put_word(state, SPECIAL, special)
                put_word(state, WITHIN, lines)
                put_word(state, FOREIGN, foreign)
                return p
            special = 1
            p += 1
        if c == RETURN and byte(data, p + 1) == NEWLINE:
            p += 1
        lines += c == RETURN or c == NEWLINE
        p += 1
    return -1


@apart
def unescape(data, p, end, quote, stop, escape, out, to):  # type: ignore[no-untyped-def]
    """Copies the text from p to `end` without its escapes, and with one for two quotes (-1: they are data); the place behind the
    copy. Up to 32 bytes more are written there."""
    while p < end:
        found = equal32(data, p, stop)
        if quote >= 0:
            found |= equal32(data, p, quote)
        copy32(out, to, data, p)
        size = trailing_zeros(found) if found else 32
        if p + size >= end:
            return to + end - p
        p += size
        to += size
        if size == 32:
            continue
        c = byte(data, p)
        if c == escape and p + 1 < end:
            p += 1
            c = byte(data, p)
            if c == N:
                c = NEWLINE
            elif c == R:
                c = RETURN
            elif c == T:
                c = 9
            elif c == ZERO:
                c = 0
        elif c == quote and byte(data, p + 1) == quote:
            p += 1
        put_byte(out, to, c)
        p += 1
        to += 1
    return to


@helper
def number_begin(data, p):  # type: ignore[no-untyped-def]
    """Behind blanks, a plus and zeros before the number at p; -1: there is none."""
    while is_blank(byte(data, p)):
        p += 1
    if byte(data, p) == PLUS:
        p += 1
        if byte(data, p) == HYPHEN:
            return -1
    while byte(data, p) == ZERO and byte(data, p + 1) >= ZERO and byte(data, p + 1) <= NINE:
        p += 1
    return p


@helper
def behind_blanks_to(data, p, end):  # type: ignore[no-untyped-def]
    """The next place from p on that is not blank, `end` at most. p may be -1."""
    while p >= 0 and p < end and is_blank(byte(data, p)):
        p += 1
    return p


@apart
def rare_value(data, p, end, action, fields, field, words, at, stride, state, powers, tens):  # type: ignore[no-untyped-def]
    """The text from p to `end` as a value that is none of the most frequent types, into words[at] (and words[at + stride]); where
    it ends, or -1."""
    if action == BOOLEAN:
        is_true = np.int64((half(data, p) | SMALL) == TRUE_WORD)
        put_word(words, at, is_true)
        if is_true:
            return p + 4
        c = byte(data, p + 4)
        return p + 5 if (half(data, p) | SMALL) == FALS_WORD and (c == E or c == LARGE_E) else -1
    if action == DATE:
        return date(data, p, words, at)
    if action == TIME:
        return time_of_day(data, p, word(fields, field + STEP), words, at)
    p = number_begin(data, p)
    if p < 0:
        return -1
    return behind_blanks_to(data, number(data, p, action, fields, field, words, at, stride, state, powers, tens), end)


@apart
def is_utf8(data, p, end):  # type: ignore[no-untyped-def]
    """Whether the bytes from p to `end` are."""
    while p < end:
        found = foreign32(data, p)
        if found == 0:
            p += 32
            continue
        p += trailing_zeros(found)
        while p < end and byte(data, p) > 127:
            size = character_size(data, p)
            if size == 0 or p + size > end:
                return False
            p += size
    return True


@apart
def record_end(data, p, end, delimiters, quotes, escapes, total, state):  # type: ignore[no-untyped-def]
    """Behind the record that begins at p, whatever it is; adds its lines to state[LINES]."""
    lines = word(state, LINES)
    while True:
        p = field_end(data, end, p, delimiters, quotes, escapes, total)
        lines += word(total, LINES_WITHIN)
        if p >= end:
            break
        size = size_of_line_end(data, end, p)
        if size > 0:
            p += size
            lines += 1
            break
        p += 1
    put_word(state, LINES, lines)
    return p
