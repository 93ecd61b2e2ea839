"""Helpers of the kernel: the ends of values that nobody wants, looked at as strictly as those that are."""

from __future__ import annotations

from sqlstream.formats.json_scan.characters import string_end
from sqlstream.formats.scan.characters import QUOTE, behind_blanks
from sqlstream.formats.scan.numbers import HYPHEN, LARGE_E, POINT, E, digits_end, exponent_end
from sqlstream.state.kernel import Instruction, apart, helper

byte, half = Instruction("byte"), Instruction("half")

NULL_WORD, TRUE_WORD, ALSE_WORD = 0x6C6C756E, 0x65757274, 0x65736C61
T, F, N = 116, 102, 110
BRACE, BRACKET, COLON, COMMA = 123, 91, 58, 44
CLOSE = 2  # what closes a brace or bracket is so much behind it in ASCII
DEEPEST = 60  # a bit a level
LONGEST_NUMBER, LONGEST_INTEGER = 40, 19
VALUE, AFTER_VALUE, KEY = 0, 1, 2


@apart
def number_end(data, p):  # type: ignore[no-untyped-def]
    """Behind the number at p, which is of no interest; -1: it is none, or so long or large that others may not take it."""
    start = p
    if byte(data, p) == HYPHEN:
        p += 1
    end = digits_end(data, p)
    if end == p or (byte(data, p) == 48 and end > p + 1):
        return -1
    p = end
    if byte(data, p) == POINT:
        p = digits_end(data, p + 1)
        if p == end + 1:
            return -1
    elif p - start > LONGEST_INTEGER:
        return -1
    if p - start > LONGEST_NUMBER:
        return -1
    if byte(data, p) == E or byte(data, p) == LARGE_E:
        end = exponent_end(data, p + 1)
        if end > p + 4:  # of three digits
            return -1
        p = end
    return p


@apart
def atom_end(data, p):  # type: ignore[no-untyped-def]
    """Behind the string, number, true, false or null at p; -1."""
    c = byte(data, p)
    if c == QUOTE:
        return string_end(data, p + 1)
    if c == T or c == N:
        return p + 4 if half(data, p) == (TRUE_WORD if c == T else NULL_WORD) else -1
    if c == F:
        return p + 5 if half(data, p + 1) == ALSE_WORD else -1
    return number_end(data, p)


@apart
def nested_end(data, p):  # type: ignore[no-untyped-def]
    """Behind the object or array that begins at p; -1: it is none, or very deep."""
    depth, objects = 0, 0  # a bit a level
    state = VALUE
    while True:
        p = behind_blanks(data, p)
        c = byte(data, p)
        if state == KEY:
            if c != QUOTE:
                return -1
            p = string_end(data, p + 1)
            if p < 0:
                return -1
            p = behind_blanks(data, p)
            if byte(data, p) != COLON:
                return -1
            p += 1
            state = VALUE
        elif state == AFTER_VALUE:
            p += 1
            if c == COMMA:
                state = KEY if objects & 1 else VALUE
                continue
            if c != CLOSE + (BRACE if objects & 1 else BRACKET):
                return -1
            depth -= 1
            objects >>= 1
        elif c == BRACE or c == BRACKET:
            if depth == DEEPEST:
                return -1
            p = behind_blanks(data, p + 1)
            if byte(data, p) == c + CLOSE:
                p += 1
                state = AFTER_VALUE
            else:
                depth += 1
                objects = (objects << 1) | (c == BRACE)
                state = KEY if c == BRACE else VALUE
                continue
        else:
            p = atom_end(data, p)
            if p < 0:
                return -1
            state = AFTER_VALUE
        if state == AFTER_VALUE and depth == 0:
            return p


@helper
def value_end(data, p):  # type: ignore[no-untyped-def]
    """Behind any value; -1."""
    c = byte(data, p)
    return nested_end(data, p) if c == BRACE or c == BRACKET else atom_end(data, p)
