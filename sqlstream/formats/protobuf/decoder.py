"""Messages of Protocol Buffers as rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.formats.binary import read_layout as common
from sqlstream.formats.binary.columns import (
    BITS,
    BYTES,
    LISTS,
    PAIRS,
    REAL,
    ROWS,
    SINGLE,
    STRING,
    SYMBOL,
    WORDS,
    ColumnPlan,
)
from sqlstream.formats.binary.vectors import Vectors
from sqlstream.formats.protobuf import decode_kernels
from sqlstream.formats.protobuf import layout as y
from sqlstream.formats.protobuf.descriptors import PbField
from sqlstream.formats.protobuf.shape import Shape
from sqlstream.types import Type

Array = np.ndarray[Any, Any]
_ACTIONS = {
    "double": y.FIXED8, "float": y.FIXED4, "int64": y.VARINT, "uint64": y.VARINT, "int32": y.VARINT32, "fixed64": y.FIXED8,
    "fixed32": y.FIXED4, "bool": y.BOOLEAN, "string": y.BYTES, "message": y.MESSAGE, "bytes": y.BYTES, "uint32": y.VARINT32,
    "enum": y.VARINT32, "sfixed32": y.FIXED4, "sfixed64": y.FIXED8, "sint32": y.ZIGZAG, "sint64": y.ZIGZAG,
}  # fmt: skip


def _action(f: PbField) -> int:
    return y.TEXT if f.kind == "string" and f.verified else _ACTIONS[f.kind]


UNRECOGNIZED = "UNRECOGNIZED"  # the name that Java's enums have for numbers without one
_TEXTS = ("string", "bytes")


class Plan:
    """What the kernel is given for a shape. `defaults`: what was not written is read as the default; without it, it is NULL, but for what
    is no message and not repeated in proto3."""

    def __init__(self, shape: Shape, defaults: bool) -> None:
        self._defaults = defaults
        self.nodes: list[list[list[int]]] = []
        self.levels: list[list[list[int]]] = []
        self.literals = b""
        self.vectors, self.texts = 0, set[int]()
        self.columns = self._level(shape)[1]

    def _vector(self, text: bool = False) -> int:
        self.vectors += 1
        if text:
            self.texts.add(self.vectors - 1)
        return self.vectors - 1

    def _level(self, shape: Shape, entry: bool = False) -> tuple[int, dict[str, ColumnPlan], int]:
        """Of a row, or of an item: its node, its columns, and its number. `entry`: of a map, which has what was not written."""
        level = len(self.levels)
        self.levels.append([])
        node, columns = self._node(shape, level, entry)
        return node, columns, level

    def _node(self, shape: Shape, level: int, entry: bool) -> tuple[int, dict[str, ColumnPlan]]:
        node = len(self.nodes)
        self.nodes.append([])
        columns: dict[str, ColumnPlan] = {}
        for f, t, inner in shape.fields:
            columns[f.name] = (
                self._repeated(f, t, inner, node, level)
                if f.repeated
                else self._single(f, t, inner, node, level, entry)
            )
        self.nodes[node].sort(key=lambda row: row[y.NUMBER])
        return node, columns

    def _single(self, f: PbField, t: Type, inner: Shape | None, node: int, level: int, entry: bool) -> ColumnPlan:
        if inner is not None:
            v = self._vector()
            self.levels[level].append([v, y.MESSAGES, int(self._defaults or entry), 0, 0, -1])
            within, children = self._node(inner, level, False)
            self.nodes[node].append([f.number, y.MESSAGE, v, within, -1, 0])
            return ColumnPlan(t, ROWS, v, children=children)
        v = self._vector(f.kind in _TEXTS)
        there = int(self._defaults or f.proto3 or entry)
        value, size = self._default(f)
        kind = y.TEXTS if f.kind in _TEXTS else y.NUMBERS
        self.levels[level].append([v, kind, there, value, size, -1])
        self.nodes[node].append([f.number, _action(f), v, 0, -1, 0])
        return self._column(f, t, v)

    def _repeated(self, f: PbField, t: Type, inner: Shape | None, node: int, level: int) -> ColumnPlan:
        v = self._vector()
        if inner is None:
            item = self._vector(f.kind in _TEXTS)
            self.levels[level].append([v, y.LISTS, int(self._defaults), 0, 0, item])
            self.nodes[node].append([f.number, _action(f), item, 0, -1, 1])
            return ColumnPlan(t, LISTS, v, children={"element": self._column(f, t.element, item)})
        item = self._vector()
        within, children, items = self._level(inner, entry=t.kind == "MAP")
        self.levels[items].append([item, y.MESSAGES, 1, 0, 0, -1])
        self.levels[level].append([v, y.LISTS, int(self._defaults), 0, 0, item])
        self.nodes[node].append([f.number, y.MESSAGE, -1, within, items, 1])
        if t.kind == "MAP":
            return ColumnPlan(t, PAIRS, v, children={n: children[n] for n in ("key", "value")})
        return ColumnPlan(t, LISTS, v, children={"element": ColumnPlan(t.element, ROWS, item, children=children)})

    @staticmethod
    def _column(f: PbField, t: Type, v: int) -> ColumnPlan:
        if f.enum is not None and t.is_string:
            other = UNRECOGNIZED if f.enum.is_open else None
            return ColumnPlan(t, SYMBOL, v, symbols=f.enum.names, numbers=f.enum.numbers, other=other)
        form = {"string": STRING, "bytes": BYTES, "bool": BITS, "float": SINGLE, "double": REAL}.get(f.kind, WORDS)
        return ColumnPlan(t, form, v)

    def _default(self, f: PbField) -> tuple[int, int]:
        """The word, or the place and size of the text."""
        text = f.default
        if f.kind in _TEXTS:
            from google.protobuf import text_encoding

            data = text_encoding.CUnescape(text) if f.kind == "bytes" else text.encode()
            at, self.literals = len(self.literals), self.literals + data
            return at, len(data)
        if f.enum is not None:
            names = dict(zip(f.enum.names, f.enum.numbers, strict=True))
            return names[text] if text else f.enum.numbers[0], 0
        if f.kind in ("float", "double"):
            kind: Any = (np.float32, np.int32) if f.kind == "float" else (np.float64, np.int64)
            return int(np.array([float(text or 0)], kind[0]).view(kind[1])[0]), 0
        value = int(text == "true") if f.kind == "bool" else int(text or 0)
        return value - 2**64 if value >= 2**63 else value, 0


class MessageReader:
    """Reads messages of one shape."""

    def __init__(self, shape: Shape, defaults: bool) -> None:
        self._plan = Plan(shape, defaults)
        self._nodes, self._fields = _flat(self._plan.nodes, y.FIELD)
        self._levels, self._finishes = _flat(self._plan.levels, y.FINISH)
        self._literals = np.frombuffer(self._plan.literals + bytes(8), np.uint8)

    def read(self, data: Array, begins: Array, sizes: Array) -> tuple[list[pa.Array], Array, dict[int, str]]:
        """The columns of messages that lie in `data` (uint8, padded), which of them are rows, and why others are malformed."""
        p, count = self._plan, len(begins)
        vectors = Vectors(p.vectors, p.texts, count, int(sizes.sum()))
        errors, stack, state = (
            np.zeros(count, np.int64),
            np.empty((y.DEPTH + 1) * y.FRAME, np.int64),
            np.zeros(common.STATE, np.int64),
        )
        done = 0
        while done < count:
            done = decode_kernels.decode(
                data, begins, sizes, done, count, self._nodes, self._fields, self._levels, self._finishes, self._literals, p.vectors,
                vectors.words, vectors.valid, vectors.text, vectors.about, errors, stack, state,
            )  # fmt: skip
            if done < count:
                vectors.grow(int(state[common.FULL]))
        wrong = np.flatnonzero(errors)
        rows = np.delete(np.arange(count), wrong)
        arrays = [vectors.array(c, len(rows)) for c in p.columns.values()]
        return arrays, rows, {int(i): y.REASONS[int(errors[i])] for i in wrong}


def _flat(groups: list[list[list[int]]], width: int) -> tuple[Array, Array]:
    """Where each group begins, and one more for the end; and all of them."""
    begins = np.cumsum([0, *map(len, groups)]).astype(np.int64)
    rows = [row for group in groups for row in group]
    return begins, np.array(rows or [[0] * width], np.int64).reshape(-1)
