"""The kernel: lines of JSON to the buffers of columns. See `layout.py` for its words."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.json_scan.characters import BACKSLASH, string_end, unescape
from sqlstream.formats.json_scan.keys import OBJECT_END, seek
from sqlstream.formats.json_scan.layout import (
    CHILDREN,
    END,
    FIRST,
    LEAD,
    NEXT,
    NULL_WEIGHT,
    PARENT,
    PLACE,
    REQUIRED,
    ROOT,
    SEEN,
    SIZE,
    TOKEN,
    UNKNOWN,
    WEIGHT,
)
from sqlstream.formats.json_scan.values import (
    ALSE_WORD,
    BRACE,
    CLOSE,
    COMMA,
    NULL_WORD,
    TRUE_WORD,
    F,
    N,
    T,
    atom_end,
    value_end,
)
from sqlstream.formats.scan.characters import (
    NEWLINE,
    QUOTE,
    RETURN,
    behind_blanks,
    copy_to,
    is_blank,
    line_end,
    matches,
)
from sqlstream.formats.scan.layout import (
    ACTION,
    BOOLEAN,
    DATE,
    FEW,
    GREATEST,
    INTEGER,
    LINES,
    OBJECT,
    OUT,
    PLACES,
    RAW,
    ROOM,
    ROW,
    SHARE,
    SKIP,
    SLOT,
    SLOTS,
    STEP,
    STRING,
    STRINGS,
    TEXT,
    TIME,
    TIMESTAMP,
    UNUSUAL,
)
from sqlstream.formats.scan.numbers import HYPHEN, ZEROS, digit_count, digits_end, integer
from sqlstream.formats.scan.times import date, time_of_day, timestamp
from sqlstream.formats.scan.values import number
from sqlstream.state.kernel import I32, I64, U8, Instruction, apart, helper, inlined, kernel, r, w

byte, half, word = Instruction("byte"), Instruction("half"), Instruction("word")
put_byte, put_half, put_word = Instruction("put_byte"), Instruction("put_half"), Instruction("put_word")
equal64, equal32 = Instruction("equal64"), Instruction("equal32")
special64, special32 = Instruction("special64"), Instruction("special32")
same32, copy32, trailing_zeros = Instruction("same32"), Instruction("copy32"), Instruction("trailing_zeros")

KEYS_AHEAD = 3  # of the chain that are looked at where another one comes than was expected
MOST_UNWANTED = 24  # keys that are learned of an object that nobody wants


@helper
def is_token(data, p, keys, at, size):  # type: ignore[no-untyped-def]
    """Whether a token of up to 32 bytes is at p; False for a longer one."""
    return (same32(data, p, keys, at) | (-1 << size)) == -1


@apart
def plain_text(data, p, out, to, state):  # type: ignore[no-untyped-def]
    """The text of a whole number, true or false at p, as it stands there; -1. As `unescape`."""
    c = byte(data, p)
    end = atom_end(data, p)
    if c != T and c != F:
        if end < 0 or c == N or end > p + 18 or (c == HYPHEN and byte(data, p + 1) == 48):
            return -1
        stop = digits_end(data, p + (c == HYPHEN))
        if stop != end:
            return -1
    if end < 0:
        return -1
    copy_to(data, p, end, out, to)
    put_word(state, OUT, to + end - p)
    return end


@apart
def raw_text(data, p, out, to, state):  # type: ignore[no-untyped-def]
    """The JSON of any value at p. As `unescape`."""
    end = value_end(data, p)
    if end >= 0:
        copy_to(data, p, end, out, to)
        put_word(state, OUT, to + end - p)
    return end


@inlined
def text_value(data, p, texts, to, state):  # type: ignore[no-untyped-def]
    """The string at p; as `unescape`."""
    if byte(data, p) != QUOTE:
        return plain_text(data, p, texts, to, state)
    p += 1
    quotes = equal32(data, p, QUOTE)
    other = special32(data, p) | equal32(data, p, BACKSLASH)
    copy32(texts, to, data, p)
    t = trailing_zeros(quotes)
    if quotes == 0 or (other & ((1 << t) - 1)) != 0:
        return unescape(data, p, texts, to, state)
    put_word(state, OUT, to + t)
    return p + t + 1


@apart
def rare_value(data, p, action, nodes, node, words, at, stride, state, powers, tens):  # type: ignore[no-untyped-def]
    """A value that is none of the most frequent types, into words[at] (and words[at + stride]); behind it, or -1."""
    quoted = np.int64(byte(data, p) == QUOTE)
    if action == BOOLEAN:
        truth = np.int64(byte(data, p + quoted) == T)
        p += quoted
        if half(data, p + 1 - truth) != (TRUE_WORD if truth else ALSE_WORD) or (not truth and byte(data, p) != F):
            return -1
        put_word(words, at, truth)
        p += 5 - truth
    elif action == DATE or action == TIME:
        if not quoted:
            return -1
        if action == DATE:
            p = date(data, p + 1, words, at)
        else:
            p = time_of_day(data, p + 1, word(nodes, node + STEP), words, at)
    else:
        p = number(data, p + quoted, action, nodes, node, words, at, stride, state, powers, tens)
    if p < 0:
        return -1
    if quoted:
        return p + 1 if byte(data, p) == QUOTE else -1
    return p


@inlined
def wanted_value(data, p, action, nodes, node, words, at, stride, texts, region, filled, state, powers, tens):  # type: ignore[no-untyped-def]
    """The value of a node at p, which is not NULL, into words[at] or to the end of its texts; behind it, or -1."""
    if action == INTEGER:
        quoted = byte(data, p) == QUOTE
        p = integer(data, p + quoted, word(nodes, node + GREATEST), words, at)
        if quoted and p >= 0:
            p = p + 1 if byte(data, p) == QUOTE else np.int64(-1)
        return p
    if action == TIMESTAMP:
        p = timestamp(data, p + 1, nodes, node, words, at) if byte(data, p) == QUOTE else np.int64(-1)
        if p >= 0:
            p = p + 1 if byte(data, p) == QUOTE else np.int64(-1)
        return p
    if action == TEXT or action == RAW:
        k = word(nodes, node + STRING)
        to = k * region + word(filled, k)
        p = text_value(data, p, texts, to, state) if action == TEXT else raw_text(data, p, texts, to, state)
        if p >= 0:
            put_word(filled, k, word(state, OUT) - k * region)
        return p
    return rare_value(data, p, action, nodes, node, words, at, stride, state, powers, tens)


@apart
def left_out(data, begin, row, line, valid, stride, offsets, filled, state, unusual, to):  # type: ignore[no-untyped-def]
    """Notes at unusual[to] the line that begins at `begin`, and takes back what its row has; the place behind the line."""
    end = line_end(data, begin) + 1
    put_word(unusual, to, row)
    put_word(unusual, to + 1, begin)
    put_word(unusual, to + 2, end)
    put_word(unusual, to + 3, line)
    for k in range(word(state, SLOTS)):
        put_byte(valid, k * stride + row, 0)
    for k in range(word(state, STRINGS)):
        put_word(filled, k, np.int64(offsets[k * (stride + 1) + row]))
    return end


@inlined
def skipped(data, p):  # type: ignore[no-untyped-def]
    """Behind a value that nobody wants, at p; -1. First what most of them are: short and plain."""
    c = byte(data, p)
    if c == QUOTE:
        quotes = equal64(data, p + 1, QUOTE)
        other = equal64(data, p + 1, BACKSLASH) | special64(data, p + 1)
        if quotes != 0 and (other & (quotes ^ (quotes - 1))) == 0:
            return p + 2 + trailing_zeros(quotes)
        return string_end(data, p + 1)
    if c == N and half(data, p) == NULL_WORD:
        return p + 4
    x = word(data, p) ^ ZEROS
    n = digit_count(x)
    after = byte(data, p + n)
    if n > 0 and ((x & 255) != 0 or n == 1) and (after == COMMA or after == BRACE + CLOSE):
        return p + n
    return value_end(data, p)


@kernel(
    I64, r(U8), I64, I64, w(I64), w(U8), w(I64), w(I64), w(U8), I64, w(I32), w(U8), I64, w(I64), w(I64), w(I64), r(I64), r(I64)
)  # fmt: skip
def scan_lines(  # type: ignore[no-untyped-def]
    data, start, end, nodes, keys, table, words, valid, stride, offsets, texts, region, filled, state, unusual, powers, tens
):  # fmt: skip
    """Lines from `start` on, up to `end`, the byte behind a newline, into rows from state[ROW] on; gives the place of the line
    that it has not taken: rows are full, or there are so many unusual lines that the block is better left to others.

    `words`, `valid`: of a row in each slot, `stride` rows apart. Texts of string k: `region` bytes of `texts` from k * region on,
    of which filled[k] are used; their ends in stride + 1 `offsets`. `unusual`: PLACES words of each such line.
    """
    p = start
    row, line = word(state, ROW), word(state, LINES)
    strings = word(state, STRINGS)
    required, unknown = word(state, REQUIRED), word(state, UNKNOWN)
    odd, room = word(state, UNUSUAL), word(state, ROOM)
    while p < end and row < room and (odd - FEW) * SHARE < row:
        begin = p
        p = behind_blanks(data, p)
        if byte(data, p) == RETURN:
            p += byte(data, p + 1) == NEWLINE
        if byte(data, p) == NEWLINE:
            p += 1
            line += 1
            continue
        good = byte(data, p) == BRACE
        p += 1
        parent, before = np.int64(ROOT), np.int64(-1)
        node = word(nodes, ROOT + FIRST)
        counted = np.int64(0)
        first = np.int64(1)  # 1: the first key of an object comes, which has no separator
        while good:
            skip = first * word(nodes, node + LEAD)
            size = word(nodes, node + SIZE) - skip
            at = word(nodes, node + TOKEN) + skip
            if is_token(data, p, keys, at, size) or (size > 32 and node != END and matches(data, p, keys, at, size)):
                p += size
            else:
                closes = byte(data, p) == BRACE + CLOSE
                if closes:
                    p += 1
                else:
                    # keys may be missing
                    other = node
                    found = False
                    for _ in range(KEYS_AHEAD):
                        other = word(nodes, other + NEXT)
                        if other == END:
                            break
                        skip = first * word(nodes, other + LEAD)
                        size = word(nodes, other + SIZE) - skip
                        if is_token(data, p, keys, word(nodes, other + TOKEN) + skip, size):
                            found = True
                            break
                    if found:
                        p += size
                        node = other
                    else:
                        node = seek(data, p, parent, before, nodes, keys, table, state)
                        p = word(state, PLACE)
                        closes = node == OBJECT_END
                        if node < 0 and not closes:
                            good = False
                            break
                if closes:
                    if parent == ROOT:
                        break
                    before = parent
                    node = word(nodes, parent + NEXT)
                    parent = word(nodes, parent + PARENT)
                    first = np.int64(0)
                    continue
            first = np.int64(0)
            action = word(nodes, node + ACTION)
            c = byte(data, p)
            if is_blank(c):  # more of them than the token has
                p = behind_blanks(data, p)
                c = byte(data, p)
            if action <= OBJECT:
                walked = c == BRACE and node != unknown
                if action == SKIP:
                    walked = walked and word(nodes, node + CHILDREN) < MOST_UNWANTED
                    if not walked:
                        p = skipped(data, p)
                else:
                    if word(nodes, node + SEEN) == line:
                        good = False  # twice
                        break
                    put_word(nodes, node + SEEN, line)
                    if c == N and half(data, p) == NULL_WORD:
                        p += 4
                        counted += word(nodes, node + NULL_WEIGHT)
                    elif walked:
                        counted += word(nodes, node + WEIGHT)
                        slot = word(nodes, node + SLOT)
                        if slot >= 0:
                            put_byte(valid, slot * stride + row, 1)
                    else:
                        p = np.int64(-1)
                if walked:
                    p += 1
                    parent, before = node, np.int64(-1)
                    node = word(nodes, node + FIRST)
                    first = np.int64(1)
                    continue
            elif word(nodes, node + SEEN) == line:
                p = np.int64(-1)  # twice
            else:
                put_word(nodes, node + SEEN, line)
                if c == N and half(data, p) == NULL_WORD:
                    p += 4
                    counted += word(nodes, node + NULL_WEIGHT)
                else:
                    at = word(nodes, node + SLOT) * stride + row
                    p = wanted_value(
                        data, p, action, nodes, node, words, at, stride, texts, region, filled, state, powers, tens
                    )
                    put_byte(valid, at, 1)
                    counted += word(nodes, node + WEIGHT)
            if p < 0:
                good = False
                break
            before = node
            node = word(nodes, node + NEXT)
        if good:
            p = behind_blanks(data, p)
            if byte(data, p) == RETURN:
                p += 1
            good = byte(data, p) == NEWLINE and counted == required
        if good:
            p += 1
        else:
            p = left_out(data, begin, row, line, valid, stride, offsets, filled, state, unusual, odd * PLACES)
            odd += 1
        line += 1
        row += 1
        for k in range(strings):
            put_half(offsets, k * (stride + 1) + row, word(filled, k))
    put_word(state, ROW, row)
    put_word(state, LINES, line)
    put_word(state, UNUSUAL, odd)
    return p
