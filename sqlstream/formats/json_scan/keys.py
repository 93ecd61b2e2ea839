"""Helpers of the kernel: keys, and how it learns them.

A key is looked up by its bytes and the object that it is in. One that was not met before gets a node, as long as there is
room; a token is learned when a key is met behind another one, and a few times more where it is spelled in another way.
"""

from __future__ import annotations

import numpy as np

from sqlstream.formats.json_scan.characters import BACKSLASH
from sqlstream.formats.json_scan.layout import (
    CHILDREN,
    END,
    FILLED,
    FIRST,
    KEY_ROOM,
    KEY_SIZE,
    LEAD,
    LONGEST_TOKEN,
    MASK,
    NEXT,
    NODE_ROOM,
    NODES,
    PARENT,
    PLACE,
    SEEN,
    SIZE,
    SPELLED,
    TOKEN,
    UNKNOWN,
)
from sqlstream.formats.json_scan.values import BRACE, CLOSE, COLON, COMMA
from sqlstream.formats.scan.characters import QUOTE, behind_blanks, character_size, matches
from sqlstream.formats.scan.layout import ACTION, NODE, SKIP
from sqlstream.state.kernel import Instruction, apart, helper

byte, put_byte, word, put_word = (
    Instruction("byte"),
    Instruction("put_byte"),
    Instruction("word"),
    Instruction("put_word"),
)
equal32, special32 = Instruction("equal32"), Instruction("special32")
trailing_zeros, shift_right = Instruction("trailing_zeros"), Instruction("shift_right")

NOTHING_PLAIN, OBJECT_END = -1, -2
LONGEST_KEY = 1000
MOST_SPELLINGS = 4
FACTOR, FACTOR_2 = -0x61C8864680B583EB, -0x4B47D0C5B1A45B0D


@helper
def key_hash(data, p, n, parent):  # type: ignore[no-untyped-def]
    """Of the key of n bytes, quotes included, at p. `scanner.hash_of` is the same."""
    a, b = word(data, p), np.int64(0)
    if n < 8:
        a &= (1 << (n << 3)) - 1
    else:
        b = word(data, p + n - 8)
    h = (a ^ (n << 56) ^ (parent << 40)) * FACTOR
    h = (h ^ shift_right(h, 29) ^ b) * FACTOR_2
    return shift_right(h, 40)


@helper
def key_end(data, p):  # type: ignore[no-untyped-def]
    """Behind the key whose first character is at p; -1: it has escapes, or is no string."""
    while True:
        found = equal32(data, p, QUOTE) | equal32(data, p, BACKSLASH) | special32(data, p)
        if found == 0:
            p += 32
            continue
        p += trailing_zeros(found)
        c = byte(data, p)
        if c == QUOTE:
            return p + 1
        size = character_size(data, p) if c > 127 else 0
        if size == 0:
            return -1
        p += size


@helper
def kept(data, p, n, keys, state):  # type: ignore[no-untyped-def]
    """Copies the n bytes at p to the end of `keys`, where there is room."""
    at = word(state, FILLED)
    for k in range(n):
        put_byte(keys, at + k, byte(data, p + k))
    put_word(state, FILLED, at + n)


@helper
def has_room(n, state):  # type: ignore[no-untyped-def]
    """Whether n bytes more may be kept."""
    return word(state, FILLED) + n <= word(state, KEY_ROOM)


@helper
def new_node(data, key, n, h, parent, nodes, keys, table, state):  # type: ignore[no-untyped-def]
    """The node of a key that was not met before; state[UNKNOWN] where there is no room for it. h: the free place in `table`."""
    count = word(state, NODES)
    if count >= word(state, NODE_ROOM) or not has_room(n, state):
        return word(state, UNKNOWN)
    node = count * NODE
    put_word(state, NODES, count + 1)
    put_word(table, h, node)
    for k in range(NODE):
        put_word(nodes, node + k, 0)
    put_word(nodes, node + ACTION, SKIP)
    put_word(nodes, node + PARENT, parent)
    put_word(nodes, node + NEXT, END)
    put_word(nodes, node + FIRST, END)
    put_word(nodes, node + SEEN, -1)
    put_word(nodes, node + KEY_SIZE, n)
    put_word(nodes, node + TOKEN, word(state, FILLED))
    put_word(nodes, parent + CHILDREN, word(nodes, parent + CHILDREN) + 1)
    kept(data, key, n, keys, state)
    return node


@helper
def learn(data, start, key, end, node, parent, before, nodes, keys, state):  # type: ignore[no-untyped-def]
    """Keeps the token from `start` to `end` of the node, and its place in the chain: behind `before`, or first. The first key of
    an object has no separator, and is told a comma."""
    spelled = word(nodes, node + SPELLED)
    if spelled >= MOST_SPELLINGS:
        return
    lead, size = key - start, end - start
    first = before < 0
    if spelled > 0:
        if first:
            return
        if lead == word(nodes, node + LEAD) and size == word(nodes, node + SIZE):
            if matches(data, start, keys, word(nodes, node + TOKEN), size):
                put_word(nodes, node + SPELLED, spelled + 1)
                return
    if first:
        lead, size = 1, end - key + 1
    if size >= LONGEST_TOKEN or not has_room(size, state):
        return
    put_word(nodes, node + TOKEN, word(state, FILLED))
    put_word(nodes, node + LEAD, lead)
    put_word(nodes, node + SIZE, size)
    put_word(nodes, node + SPELLED, spelled + 1)
    if first:
        put_byte(keys, word(state, FILLED), COMMA)
        put_word(state, FILLED, word(state, FILLED) + 1)
        kept(data, key, end - key, keys, state)
    else:
        kept(data, start, size, keys, state)
    if spelled == 0:
        link = parent + FIRST if first else before + NEXT
        put_word(nodes, node + NEXT, word(nodes, link))
        put_word(nodes, link, node)


@apart
def seek(data, p, parent, before, nodes, keys, table, state):  # type: ignore[no-untyped-def]
    """The node of the key that comes at p, behind that of node `before` (-1: it is the first one of the object `parent`).

    OBJECT_END: the object ends; NOTHING_PLAIN. state[PLACE]: behind the colon and blanks, or behind the end.
    """
    start = p
    p = behind_blanks(data, p)
    if byte(data, p) == BRACE + CLOSE:
        put_word(state, PLACE, p + 1)
        return OBJECT_END
    if before >= 0:
        if byte(data, p) != COMMA:
            return NOTHING_PLAIN
        p = behind_blanks(data, p + 1)
    if byte(data, p) != QUOTE:
        return NOTHING_PLAIN
    key = p
    p = key_end(data, key + 1)
    if p < 0 or p - key > LONGEST_KEY:
        return NOTHING_PLAIN
    n = p - key
    p = behind_blanks(data, p)
    if byte(data, p) != COLON:
        return NOTHING_PLAIN
    p = behind_blanks(data, p + 1)
    put_word(state, PLACE, p)
    h = key_hash(data, key, n, parent) & word(state, MASK)
    node = word(table, h)
    while node >= 0:
        if word(nodes, node + PARENT) == parent and word(nodes, node + KEY_SIZE) == n:
            if matches(data, key, keys, word(nodes, node + TOKEN) + word(nodes, node + LEAD), n):
                break
        h = (h + 1) & word(state, MASK)
        node = word(table, h)
    if node < 0:
        node = new_node(data, key, n, h, parent, nodes, keys, table, state)
    if node != word(state, UNKNOWN) and before != word(state, UNKNOWN):
        learn(data, start, key, p, node, parent, before, nodes, keys, state)
    return node
