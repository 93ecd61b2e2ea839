"""The bytes before a record: a zero, and the number of its schema in four bytes. In Protobuf, whose schemas are files, follows which of
their messages it is: how many numbers, and these, of messages within messages; all as varints with zig-zag. A zero is the first message."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.messages import NEWLINE, NONE, Refused, Texts
from sqlstream.formats.scan.layout import PADDING

SIZE = 5
SHORT, MAGIC, EMPTY = (
    "it is shorter than the number of a schema",
    "it does not begin as a message whose schema a registry has: its first byte is not 0",
    "there is nothing behind the number of its schema",
)
PLACE = "what stands behind the number of its schema is no place of a message in it"
DEEPEST = 64  # messages within one another
_BLANK = 32


def prefix(number: int) -> bytes:
    """Before a record of this schema."""
    return b"\0" + number.to_bytes(4, "big")


def numbers(texts: Texts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the messages that are given: the numbers of their schemas (-1: none), where their records begin, their sizes, and their first
    bytes (0: it has none)."""
    begins, sizes = texts.places()
    buffer = texts.buffer
    first = np.where(sizes > 0, buffer[begins], 0)
    found = np.zeros(len(begins), np.int64)
    for i in range(1, SIZE):  # what is read behind a short one is not looked at
        found = found << 8 | buffer[begins + i].astype(np.int64)
    found[(first != 0) | (sizes < SIZE)] = -1
    return found, begins + SIZE, sizes - SIZE, first


def unframed(texts: Texts) -> tuple[Texts, list[Refused]]:
    """Messages of text with blanks in place of what stands before their records, and those that have no record: in their places is
    nothing."""
    begins, sizes = texts.places()
    first = np.where(sizes > 0, texts.buffer[begins], 0)
    wrong = (first != 0) | (sizes <= SIZE)
    buffer, good = texts.buffer.copy(), begins[~wrong]
    for i in range(SIZE):
        buffer[good + i] = _BLANK
    if not wrong.any():
        return Texts(buffer, texts.sizes), []
    left = buffer[: texts.size][np.repeat(~wrong, np.where(sizes > 0, sizes + 1, 0))]
    kept = texts.sizes.copy()
    kept[texts.given[wrong]] = NONE
    refused = [
        Refused(int(texts.given[i]), MAGIC if first[i] else EMPTY if sizes[i] == SIZE else SHORT)
        for i in np.flatnonzero(wrong).tolist()
    ]
    return Texts(np.concatenate([left, np.empty(PADDING, np.uint8)]), kept), refused


def framed(texts: Texts, prefix: bytes) -> Texts:
    """Messages behind these bytes; those that are NULL stay so."""
    there = texts.sizes >= 0
    records = texts.sizes[there]
    ends = np.cumsum(records + len(prefix) + 1)
    begins = ends - (records + len(prefix) + 1)
    size = int(ends[-1]) if len(ends) else 0
    buffer, copied = np.empty(size + PADDING, np.uint8), np.ones(size, np.bool_)
    for i, byte in enumerate(prefix):
        buffer[begins + i] = byte
        copied[begins + i] = False
    empty = ends[records == 0] - 1  # of these there was no line
    copied[empty] = False
    buffer[:size][copied] = texts.buffer[: texts.size]
    buffer[empty] = NEWLINE
    return Texts(buffer, np.where(there, texts.sizes + len(prefix), NONE))


def place(path: tuple[int, ...]) -> bytes:
    """Which message of its schema a record is: by its number, and those of the messages in it."""
    return b"\0" if path == (0,) else b"".join(_varint(n << 1) for n in (len(path), *path))


def places(
    data: np.ndarray, begins: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, ...]], np.ndarray]:
    """Of records behind the numbers of their schemas, which begin in `data` (padded) with it: which of the paths each has that are
    given, too (-1: none), and how many bytes that takes."""
    if not (data[begins] | (sizes <= 0)).any():  # mostly
        return np.zeros(len(begins), np.int64), [(0,)], np.ones(len(begins), np.int64)
    ends = begins + np.maximum(sizes, 0)
    count, at = _numbers_at(data, begins, ends, np.ones(len(begins), np.bool_))
    good = (count >= 0) & (count <= DEEPEST)
    steps = [np.where(count == 0, 0, -1)]
    for i in range(int(count[good].max(initial=0))):
        step, at = _numbers_at(data, at, ends, good & (i < count))
        good &= (step >= 0) | (i >= count)
        steps.append(step)
    paths, of = np.unique(np.stack(steps, axis=1), axis=0, return_inverse=True)
    return np.where(good, of.reshape(-1), -1), [tuple(n for n in p if n >= 0) for p in paths.tolist()], at - begins


def _numbers_at(
    data: np.ndarray, at: np.ndarray, ends: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The varints with zig-zag that begin at these places, -1 where none is, or none wanted; and where what follows begins."""
    value, more, wrong = np.zeros(len(at), np.int64), wanted.copy(), ~wanted
    for shift in range(0, 35, 7):
        wrong |= more & (at >= ends)
        more &= at < ends
        byte = data[np.where(more, at, 0)].astype(np.int64)
        value |= np.where(more, (byte & 127) << shift, 0)
        at = at + more
        more &= byte > 127
        if not more.any():
            break
    return np.where(wrong | more | (value & 1 == 1), -1, value >> 1), at


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])
