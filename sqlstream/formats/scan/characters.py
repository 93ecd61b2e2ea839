"""Helpers of the kernels: blanks, characters, the ends of lines, and pieces of text."""

from __future__ import annotations

from sqlstream.state.kernel import Instruction, apart, helper

byte, half, copy32 = Instruction("byte"), Instruction("half"), Instruction("copy32")
equal64, same32 = Instruction("equal64"), Instruction("same32")
trailing_zeros = Instruction("trailing_zeros")

QUOTE, NEWLINE, RETURN, TAB, SPACE = 34, 10, 13, 9, 32
ALL32 = 0xFFFFFFFF


@helper
def is_blank(c):  # type: ignore[no-untyped-def]
    """Whether it is white space within a line. A CR is one to JSON; here it ends a line, and is unusual elsewhere."""
    return c == SPACE or c == TAB


@helper
def behind_blanks(data, p):  # type: ignore[no-untyped-def]
    """The next place from p on that is not blank."""
    while is_blank(byte(data, p)):
        p += 1
    return p


@apart
def line_end(data, p):  # type: ignore[no-untyped-def]
    """The next newline from p on; there is one."""
    while True:
        found = equal64(data, p, NEWLINE)
        if found != 0:
            return p + trailing_zeros(found)
        p += 64


@helper
def character_size(data, p):  # type: ignore[no-untyped-def]
    """How many bytes the character at p has, which is not ASCII; 0: it is no well-formed UTF-8."""
    x = half(data, p)
    a, b, c, d = x & 255, (x >> 8) & 255, (x >> 16) & 255, x >> 24
    if a < 0xC2 or (b & 0xC0) != 0x80:
        return 0
    if a < 0xE0:
        return 2
    if (c & 0xC0) != 0x80:
        return 0
    if a < 0xF0:
        if (a == 0xE0 and b < 0xA0) or (a == 0xED and b >= 0xA0):
            return 0
        return 3
    if a > 0xF4 or (d & 0xC0) != 0x80 or (a == 0xF0 and b < 0x90) or (a == 0xF4 and b >= 0x90):
        return 0
    return 4


@apart
def matches(data, p, keys, at, n):  # type: ignore[no-untyped-def]
    """Whether the n bytes at p are those of `keys` at `at`."""
    while n > 32:
        if same32(data, p, keys, at) != ALL32:
            return False
        p += 32
        at += 32
        n -= 32
    return (same32(data, p, keys, at) | (-1 << n)) == -1


@helper
def copy_to(data, p, end, out, to):  # type: ignore[no-untyped-def]
    """Copies the bytes from p to `end`, and up to 31 more."""
    while p < end:
        copy32(out, to, data, p)
        p += 32
        to += 32
