"""Helpers of the kernel: strings and their escapes."""

from __future__ import annotations

from sqlstream.formats.scan.characters import NEWLINE, QUOTE, RETURN, SPACE, TAB, character_size
from sqlstream.formats.scan.layout import OUT
from sqlstream.state.kernel import Instruction, apart, helper, inlined

byte, put_byte, half = Instruction("byte"), Instruction("put_byte"), Instruction("half")
put_word, copy32 = Instruction("put_word"), Instruction("copy32")
equal64, equal32 = Instruction("equal64"), Instruction("equal32")
special64, special32 = Instruction("special64"), Instruction("special32")
trailing_zeros = Instruction("trailing_zeros")

BACKSLASH, SLASH = 92, 47
B, F, N, R, T, U = 98, 102, 110, 114, 116, 117
EVENS = 0x5555555555555555


@helper
def hexadecimal(data, p):  # type: ignore[no-untyped-def]
    """The number that 4 hexadecimal digits are; -1."""
    value = 0
    for k in range(4):
        c = byte(data, p + k)
        d = c - 48
        if d < 0 or d > 9:
            d = (c | 32) - 87
            if d < 10 or d > 15:
                return -1
        value = value * 16 + d
    return value


@helper
def escape_size(data, p):  # type: ignore[no-untyped-def]
    """How many bytes the escape at p has, a pair of surrogates being one; 0: none, or \\u0000, or half a pair."""
    c = byte(data, p + 1)
    if c == QUOTE or c == BACKSLASH or c == SLASH or c == B or c == F or c == N or c == R or c == T:
        return 2
    if c != U:
        return 0
    value = hexadecimal(data, p + 2)
    if value <= 0 or (value >= 0xDC00 and value < 0xE000):
        return 0
    if value < 0xD800 or value >= 0xE000:
        return 6
    if byte(data, p + 6) != BACKSLASH or byte(data, p + 7) != U:
        return 0
    value = hexadecimal(data, p + 8)
    return 12 if value >= 0xDC00 and value < 0xE000 else 0


@apart
def rest_of_string(data, p):  # type: ignore[no-untyped-def]
    """As `string_end`, one by one through what is not simple. p: within the string."""
    while True:
        found = equal32(data, p, QUOTE) | equal32(data, p, BACKSLASH) | special32(data, p)
        if found == 0:
            p += 32
            continue
        p += trailing_zeros(found)
        c = byte(data, p)
        if c == QUOTE:
            return p + 1
        size = escape_size(data, p) if c == BACKSLASH else character_size(data, p) if c > 127 else 0
        if size == 0:
            return -1
        p += size


@inlined
def string_end(data, p):  # type: ignore[no-untyped-def]
    """Behind the string whose first character is at p; -1: it is none, or not plain.

    Runs of \\\\ and \\" are resolved as bits: of a run of backslashes every second one is escaped, and so is what follows an odd
    run (Langdale and Lemire, Parsing Gigabytes of JSON per Second).
    """
    while True:
        quotes, backslashes, special = equal64(data, p, QUOTE), equal64(data, p, BACKSLASH), special64(data, p)
        if backslashes == 0:
            found = quotes | special
            if found == 0:
                p += 64
                continue
            t = trailing_zeros(found)
            if (special >> t) & 1:
                return rest_of_string(data, p + t)
            return p + t + 1
        follows = backslashes << 1
        odd_starts = backslashes & ~EVENS & ~follows
        escaped = (EVENS ^ ((odd_starts + backslashes) << 1)) & follows
        ends = quotes & ~escaped
        other = (escaped & ~(quotes | backslashes)) | special
        if ends == 0:
            if other != 0 or backslashes < 0:  # (the last byte is a backslash)
                return rest_of_string(data, p)
            p += 64
            continue
        t = trailing_zeros(ends)
        if other & ((1 << t) - 1):
            return rest_of_string(data, p)
        return p + t + 1


@helper
def put_character(value, out, to):  # type: ignore[no-untyped-def]
    """Writes a code point, not of ASCII alone, as UTF-8; the place behind it."""
    if value < 0x80:
        put_byte(out, to, value)
        return to + 1
    if value < 0x800:
        put_byte(out, to, 0xC0 | (value >> 6))
        put_byte(out, to + 1, 0x80 | (value & 63))
        return to + 2
    if value < 0x10000:
        put_byte(out, to, 0xE0 | (value >> 12))
        put_byte(out, to + 1, 0x80 | ((value >> 6) & 63))
        put_byte(out, to + 2, 0x80 | (value & 63))
        return to + 3
    put_byte(out, to, 0xF0 | (value >> 18))
    put_byte(out, to + 1, 0x80 | ((value >> 12) & 63))
    put_byte(out, to + 2, 0x80 | ((value >> 6) & 63))
    put_byte(out, to + 3, 0x80 | (value & 63))
    return to + 4


@helper
def put_escape(data, p, size, out, to):  # type: ignore[no-untyped-def]
    """Writes what the escape of `size` bytes at p stands for; the place behind it."""
    if size > 2:
        value = hexadecimal(data, p + 2)
        if size == 12:
            value = 0x10000 + ((value - 0xD800) << 10) + hexadecimal(data, p + 8) - 0xDC00
        return put_character(value, out, to)
    c = byte(data, p + 1)
    if c == N:
        c = NEWLINE
    elif c == T:
        c = TAB
    elif c == R:
        c = RETURN
    elif c == B:
        c = 8
    elif c == F:
        c = 12
    put_byte(out, to, c)
    return to + 1


@apart
def unescape(data, p, out, to, state):  # type: ignore[no-untyped-def]
    """Copies the string whose first character is at p, with what its escapes stand for; result as `string_end`.
    state[OUT]: the place behind the copy. Up to 32 bytes more are written there."""
    while True:
        quotes, backslashes, special = equal32(data, p, QUOTE), equal32(data, p, BACKSLASH), special32(data, p)
        copy32(out, to, data, p)
        found = quotes | backslashes | special
        if found == 0:
            p += 32
            to += 32
            continue
        t = trailing_zeros(found)
        p += t
        to += t
        c = byte(data, p)
        if c == QUOTE:
            put_word(state, OUT, to)
            return p + 1
        if c == BACKSLASH:
            size = escape_size(data, p)
            if size == 0:
                return -1
            to = put_escape(data, p, size, out, to)
            p += size
            continue
        while c > 127:  # such characters stand together
            size = character_size(data, p)
            if size == 0:
                return -1
            copy32(out, to, data, p)
            p += size
            to += size
            c = byte(data, p)
        if c < SPACE:
            return -1
