"""Runs the kernel over the blocks of files, one after the other, and keeps what it has learned of their keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.formats.json_scan import layout
from sqlstream.formats.json_scan.columns import Buffers
from sqlstream.formats.json_scan.doubles import POWERS, TENS
from sqlstream.formats.json_scan.keys import FACTOR, FACTOR_2
from sqlstream.formats.json_scan.layout import END, NODE, ROOT
from sqlstream.formats.json_scan.lines import scan_lines
from sqlstream.formats.json_scan.plan import Node, ScanPlan

Array = np.ndarray[Any, Any]
Raw = Callable[[list[pa.Array]], list[pa.Array]]  # JSON text of the plan's raw columns to their values
MOST_LEARNED = 1000  # keys
KEY_BYTES = 1 << 15
_WORD = 2**64 - 1


@dataclass(frozen=True)
class Scanned:
    """The rows of a block, of which those of unusual lines have nothing yet: `unusual` says (row, begin, end, line from 0) of
    each, in order. `lines`: how many lines ended in the block."""

    batch: pa.RecordBatch
    unusual: Array
    lines: int


class LineScanner:
    """For one thread at a time. `raw`: what makes the values of raw columns, which are their texts without it."""

    def __init__(self, plan: ScanPlan, raw: Raw | None = None) -> None:
        self.plan, self._raw = plan, raw
        room = len(plan.nodes) + MOST_LEARNED
        names = [n.path[-1].encode() for n in plan.nodes]
        self._nodes = np.zeros((room + 3, NODE), np.int64)
        self._keys = np.zeros(KEY_BYTES + sum(2 * len(n) + 8 for n in names) + layout.PADDING, np.uint8)
        self._table = np.full(1 << (2 * room).bit_length(), -1, np.int64)
        self._state = np.zeros(layout.STATE, np.int64)
        self._bytes_a_line = 0.0
        self._begin(room)
        for node, name in zip(plan.nodes, names, strict=True):
            self._add(node, name)

    def _begin(self, room: int) -> None:
        nodes, state, unknown = self._nodes, self._state, (room + 2) * NODE
        for at in (END, ROOT, unknown):
            node = nodes[at // NODE]
            node[[layout.NEXT, layout.FIRST, layout.PARENT]] = END
            node[[layout.SEEN, layout.SLOT]] = -1
        nodes[END // NODE, layout.SIZE] = layout.LONGEST_TOKEN  # of which the kernel never compares more than 32 bytes
        nodes[ROOT // NODE, layout.ACTION] = layout.OBJECT
        state[[layout.SLOTS, layout.STRINGS, layout.REQUIRED]] = self.plan.slots, self.plan.strings, self.plan.required
        state[[layout.NODE_ROOM, layout.UNKNOWN]] = room + 2, unknown
        state[layout.KEY_ROOM] = len(self._keys) - layout.PADDING
        state[layout.MASK] = len(self._table) - 1
        state[layout.NODES] = ROOT // NODE + 1
        self._places: dict[tuple[str, ...], int] = {(): ROOT}

    def _add(self, node: Node, name: bytes) -> None:
        """A node that is wanted; its token is what the first line that has it will show."""
        state = self._state
        number, at = int(state[layout.NODES]), int(state[layout.FILLED])
        key = b'"' + name + b'"'
        self._keys[at : at + len(key)] = np.frombuffer(key, np.uint8)
        parent = self._places[node.path[:-1]]
        place = self._places[node.path] = number * NODE
        words = self._nodes[number]
        words[[layout.TOKEN, layout.KEY_SIZE, layout.ACTION, layout.PARENT]] = at, len(key), node.action, parent
        words[[layout.NEXT, layout.FIRST]] = END
        words[[layout.SEEN, layout.SLOT, layout.STRING]] = -1, node.slot, node.string
        words[layout.MEMO_2] = -1  # 16 bytes of 0 are no minute
        words[[layout.WEIGHT, layout.NULL_WEIGHT]] = node.weight, node.null_weight
        words[layout.ARGUMENT : layout.ARGUMENT + 3] = node.arguments
        state[layout.NODES] += 1
        state[layout.FILLED] += len(key)
        mask = len(self._table) - 1
        h = hash_of(key, parent) & mask
        while self._table[h] >= 0:
            h = (h + 1) & mask
        self._table[h] = place

    def scan(self, data: Array, start: int, end: int) -> Scanned | None:
        """The lines of data[start:end], of which the last one ends with a newline; PADDING bytes behind it may be read. None where
        so many lines are unusual that it is better left to others. MemoryError: each text has room for the whole block."""
        state, size = self._state, end - start
        if not self._bytes_a_line:
            self._bytes_a_line = size / (1 + np.count_nonzero(data[start:end] == 10))
        rows = int(size / self._bytes_a_line * 1.1) + 64
        buffers, first_line = Buffers(self.plan, rows, size), int(state[layout.LINES])
        state[[layout.ROW, layout.UNUSUAL]] = 0
        unusual = np.empty(rows * layout.PLACES, np.int64)
        while True:
            state[layout.ROOM] = buffers.rows
            start = scan_lines(
                data, start, end, self._nodes.reshape(-1), self._keys, self._table, buffers.words.reshape(-1),
                buffers.valid.reshape(-1), buffers.rows, buffers.offsets.reshape(-1), buffers.texts, buffers.region,
                buffers.filled, state, unusual, POWERS, TENS,
            )  # fmt: skip
            if start >= end:
                break
            if state[layout.ROW] < buffers.rows:
                return None
            buffers.grow(2 * buffers.rows)
            unusual = np.concatenate([unusual, np.empty(len(unusual), np.int64)])
        rows, odd = int(state[layout.ROW]), int(state[layout.UNUSUAL])
        if rows:
            self._bytes_a_line = size / rows
        names = [c.name for c in self.plan.columns]
        texts = [buffers.text(c, rows) for c in self.plan.raw]
        made = self._raw(texts) if self._raw is not None and texts else texts
        raw = {c.string: a for c, a in zip(self.plan.raw, made, strict=True)}
        batch = pa.RecordBatch.from_arrays(buffers.arrays(rows, raw), names=names) if names else _of_nothing(rows)
        places = unusual[: odd * layout.PLACES].reshape(-1, layout.PLACES)
        places[:, 3] -= first_line
        return Scanned(batch, places, int(state[layout.LINES]) - first_line)


def _of_nothing(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(np.ones(rows, np.int32))], names=["r0"])


def hash_of(key: bytes, parent: int) -> int:
    """As `keys.key_hash`."""
    a = int.from_bytes(key[:8], "little")
    b = 0 if len(key) < 8 else int.from_bytes(key[-8:], "little")
    h = (a ^ (len(key) << 56) ^ (parent << 40)) & _WORD
    h = h * FACTOR & _WORD
    h = (h ^ (h >> 29) ^ b) * FACTOR_2 & _WORD
    return h >> 40
