"""The bytes before a record: a zero, and the number of its schema in four bytes."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.messages import Texts

SIZE = 5
SHORT, MAGIC = (
    "it is shorter than the number of a schema",
    "it does not begin as a message whose schema a registry has: its first byte is not 0",
)


def prefix(number: int) -> bytes:
    """Before a record of this schema."""
    return b"\0" + number.to_bytes(4, "big")


def numbers(texts: Texts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the messages that are there: the numbers of their schemas (-1: none), where their records begin, their sizes, and their first
    bytes."""
    sizes = texts.sizes[texts.there].astype(np.int64)
    begins = (texts.ends - sizes).astype(np.int64)
    buffer = texts.buffer
    first = buffer[begins] if len(begins) else np.empty(0, np.uint8)
    found = np.zeros(len(begins), np.int64)
    for i in range(1, SIZE):  # what is read behind a short one is not looked at
        found = found << 8 | buffer[begins + i].astype(np.int64)
    found[(first != 0) | (sizes < SIZE)] = -1
    return found, begins + SIZE, sizes - SIZE, first
