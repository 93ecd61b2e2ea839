"""Runs the kernel over the blocks of files, one after the other, and keeps what it has learned of their keys."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.json_scan import layout
from sqlstream.formats.json_scan.keys import FACTOR, FACTOR_2
from sqlstream.formats.json_scan.layout import END, ROOT
from sqlstream.formats.json_scan.lines import scan_lines
from sqlstream.formats.json_scan.plan import Node, ScanPlan
from sqlstream.formats.scan.block import BlockScanner, Raw
from sqlstream.formats.scan.columns import Array, Buffers
from sqlstream.formats.scan.doubles import POWERS, TENS
from sqlstream.formats.scan.layout import (
    ACTION,
    ARGUMENT,
    MEMO_2,
    NODE,
    OBJECT,
    PADDING,
    SLOT,
    STRING,
)  # fmt: skip

MOST_LEARNED = 1000  # keys
KEY_BYTES = 1 << 15
_WORD = 2**64 - 1


class LineScanner(BlockScanner):
    """Lines of JSON."""

    def __init__(self, plan: ScanPlan, raw: Raw | None = None) -> None:
        super().__init__(plan, raw)
        room = len(plan.nodes) + MOST_LEARNED
        names = [n.path[-1].encode() for n in plan.nodes]
        self._nodes = np.zeros((room + 3, NODE), np.int64)
        self._keys = np.zeros(KEY_BYTES + sum(2 * len(n) + 8 for n in names) + PADDING, np.uint8)
        self._table = np.full(1 << (2 * room).bit_length(), -1, np.int64)
        self._begin(room)
        self.state[layout.REQUIRED] = plan.required
        for node, name in zip(plan.nodes, names, strict=True):
            self._add(node, name)

    def _begin(self, room: int) -> None:
        nodes, state, unknown = self._nodes, self.state, (room + 2) * NODE
        for at in (END, ROOT, unknown):
            node = nodes[at // NODE]
            node[[layout.NEXT, layout.FIRST, layout.PARENT]] = END
            node[[layout.SEEN, SLOT]] = -1
        nodes[END // NODE, layout.SIZE] = layout.LONGEST_TOKEN  # of which the kernel never compares more than 32 bytes
        nodes[ROOT // NODE, ACTION] = OBJECT
        state[[layout.NODE_ROOM, layout.UNKNOWN]] = room + 2, unknown
        state[layout.KEY_ROOM] = len(self._keys) - PADDING
        state[layout.MASK] = len(self._table) - 1
        state[layout.NODES] = ROOT // NODE + 1
        self._places: dict[tuple[str, ...], int] = {(): ROOT}

    def _add(self, node: Node, name: bytes) -> None:
        """A node that is wanted; its token is what the first line that has it will show."""
        state = self.state
        number, at = int(state[layout.NODES]), int(state[layout.FILLED])
        key = b'"' + name + b'"'
        self._keys[at : at + len(key)] = np.frombuffer(key, np.uint8)
        parent = self._places[node.path[:-1]]
        place = self._places[node.path] = number * NODE
        words = self._nodes[number]
        words[[layout.TOKEN, layout.KEY_SIZE, ACTION, layout.PARENT]] = at, len(key), node.action, parent
        words[[layout.NEXT, layout.FIRST]] = END
        words[[layout.SEEN, SLOT, STRING]] = -1, node.slot, node.string
        words[MEMO_2] = -1  # 16 bytes of 0 are no minute
        words[[layout.WEIGHT, layout.NULL_WEIGHT]] = node.weight, node.null_weight
        words[ARGUMENT : ARGUMENT + 3] = node.arguments
        state[layout.NODES] += 1
        state[layout.FILLED] += len(key)
        mask = len(self._table) - 1
        h = hash_of(key, parent) & mask
        while self._table[h] >= 0:
            h = (h + 1) & mask
        self._table[h] = place

    def run(self, data: Array, start: int, end: int, buffers: Buffers, unusual: Array) -> int:
        """As the kernel."""
        place: int = scan_lines(
            data, start, end, self._nodes.reshape(-1), self._keys, self._table, buffers.words.reshape(-1),
            buffers.valid.reshape(-1), buffers.rows, buffers.offsets.reshape(-1), buffers.texts, buffers.region,
            buffers.filled, self.state, unusual, POWERS, TENS,
        )  # fmt: skip
        return place


def hash_of(key: bytes, parent: int) -> int:
    """As `keys.key_hash`."""
    a = int.from_bytes(key[:8], "little")
    b = 0 if len(key) < 8 else int.from_bytes(key[-8:], "little")
    h = (a ^ (len(key) << 56) ^ (parent << 40)) & _WORD
    h = h * FACTOR & _WORD
    h = (h ^ (h >> 29) ^ b) * FACTOR_2 & _WORD
    return h >> 40
