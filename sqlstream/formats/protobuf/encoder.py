"""Rows as messages of Protocol Buffers."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from sqlstream.formats.binary.parts import (
    HIGH,
    ITEMS,
    LENGTHS,
    REAL,
    ROWS,
    SINGLE,
    SYMBOLS,
    TEXTS,
    WORDS,
    Part,
)
from sqlstream.formats.binary.writer import Writer
from sqlstream.formats.messages import Texts
from sqlstream.formats.protobuf import encode_kernels
from sqlstream.formats.protobuf import encode_layout as y
from sqlstream.formats.protobuf.descriptors import PbField
from sqlstream.formats.protobuf.shape import Shape
from sqlstream.types import Type

_WIRE = {
    "double": 1,
    "fixed64": 1,
    "sfixed64": 1,
    "float": 5,
    "fixed32": 5,
    "sfixed32": 5,
    "string": 2,
    "bytes": 2,
    "message": 2,
}
_WRITES = {
    "double": (y.FIXED8, REAL), "float": (y.FIXED4, SINGLE), "int64": (y.VARINT, WORDS), "uint64": (y.VARINT, WORDS), "int32": (y.VARINT, WORDS),
    "fixed64": (y.FIXED8, WORDS), "fixed32": (y.FIXED4, WORDS), "bool": (y.VARINT, WORDS), "string": (y.TEXT, TEXTS), "bytes": (y.TEXT, TEXTS),
    "uint32": (y.UNSIGNED, WORDS), "enum": (y.VARINT, WORDS), "sfixed32": (y.FIXED4, WORDS), "sfixed64": (y.FIXED8, WORDS),
    "sint32": (y.ZIGZAG, WORDS), "sint64": (y.ZIGZAG, WORDS),
}  # fmt: skip


class _Program:
    """`null`: what a text in a list or map is that is NULL."""

    def __init__(self, shape: Shape, null: str, prefix: bytes) -> None:
        self.code: list[list[int]] = []
        self.parts: list[Part] = []
        self.literals, self._null = prefix, null
        if prefix:
            self._emit(y.LITERAL, -1, 0, len(prefix))
        for i, f, t, inner in _by_number(shape):
            self._field(f, t, inner, i, (), f.name)
        self._emit(y.DONE)

    def _emit(self, op: int, vector: int = -1, a: int = 0, b: int = 0) -> int:
        self.code.append([op, vector, a, b, 0])
        return len(self.code) - 1

    def _vector(self, *part: Any, **more: Any) -> int:
        self.parts.append(Part(*part, **more))
        return len(self.parts) - 1

    def _tag(self, f: PbField, wire: int) -> None:
        value, data = f.number << 3 | wire, bytearray()
        while value > 127:
            data.append(value & 127 | 128)
            value >>= 7
        data.append(value)
        self._emit(y.LITERAL, -1, len(self.literals), len(data))
        self.literals += bytes(data)

    def _field(self, f: PbField, t: Type, inner: Shape | None, column: int, path: tuple[int, ...], shown: str) -> None:
        if f.repeated:
            self._list(f, t, inner, column, path, shown)
            return
        main = len(self.parts)
        if f.required:
            self._emit(y.REQUIRE, main)
        checks = [self._emit(y.IF_THERE, main)]
        if inner is None and not f.has_presence:  # the default says the same as nothing
            checks.append(self._emit(y.IF_OTHER, main, b=int(f.kind in ("string", "bytes"))))
        self._tag(f, _WIRE.get(f.kind, 0))
        if inner is None:
            self._value(f, t, column, path, shown)
        else:
            self._message(inner, column, path, shown)
        over = self._emit(y.JUMP)
        for c in checks:
            self.code[c][2] = len(self.code)
        for v, p in enumerate(self.parts[main:], main):
            if ITEMS not in p.path[len(path) :] and p.form != HIGH:
                self._emit(y.ADVANCE, v)
        self.code[over][2] = len(self.code)

    def _message(self, inner: Shape, column: int, path: tuple[int, ...], shown: str) -> None:
        self._emit(y.ADVANCE, self._vector(column, path, ROWS, shown))
        self._emit(y.BEGIN)
        for i, f, t, within in _by_number(inner):
            self._field(f, t, within, column, (*path, i), f"{shown}.{f.name}")
        self._emit(y.CLOSE)

    def _value(self, f: PbField, t: Type, column: int, path: tuple[int, ...], shown: str, item: bool = False) -> None:
        op, form = _WRITES[f.kind]
        more: dict[str, Any] = {}
        if f.enum is not None:
            more = {"numbers": f.enum.numbers, "symbols": f.enum.names if t.is_string else ()}
            form = SYMBOLS
        elif item and f.kind == "string":
            more = {"fill": self._null}
        elif item and f.kind == "bytes":
            more = {"fill": b""}
        self._emit(op, self._vector(column, path, form, shown, **more))

    def _list(self, f: PbField, t: Type, inner: Shape | None, column: int, path: tuple[int, ...], shown: str) -> None:
        v, items = self._vector(column, path, LENGTHS, shown), (*path, ITEMS)
        packed = f.packed and inner is None
        empty = self._emit(y.IF_ITEMS, v)
        if packed:
            self._tag(f, 2)
            self._emit(y.BEGIN)
        begin = self._emit(y.LIST, v)
        if inner is None:
            if not packed:
                self._tag(f, _WIRE.get(f.kind, 0))
            self._value(f, t.element, column, items, f"{shown}[]", item=True)
        elif t.kind == "MAP":
            self._tag(f, 2)
            self._emit(y.BEGIN)
            for i, (part, kind, within) in enumerate(inner.fields):
                self._tag(part, _WIRE.get(part.kind, 0))
                if within is not None:
                    self._message(within, column, (*items, i), f"{shown}[]")
                else:
                    self._value(part, kind, column, (*items, i), f"{shown}[]", item=True)
            self._emit(y.CLOSE)
        else:
            self._tag(f, 2)
            self._message(inner, column, items, f"{shown}[]")
        self._emit(y.NEXT)
        self.code[begin][2] = len(self.code)
        if packed:
            self._emit(y.CLOSE)
        self.code[empty][2] = len(self.code)


def _by_number(shape: Shape) -> list[tuple[int, PbField, Type, Shape | None]]:
    """Fields with their places, as others write them."""
    return sorted(((i, *f) for i, f in enumerate(shape.fields)), key=lambda x: x[1].number)


class MessageWriter:
    """Writes rows as messages of a shape. `table`: whose they are; `null`: what a text in a list or map is that is NULL; `prefix`: what
    stands before each."""

    def __init__(self, shape: Shape, null: str, table: str, prefix: bytes = b"") -> None:
        made = _Program(shape, null, prefix)
        required = "the message's field is required"
        self._writer = Writer(encode_kernels.encode, made.code, made.parts, made.literals, table, required)

    def texts(self, columns: list[pa.Array], rows: int) -> Texts:
        """Each row by itself."""
        return Texts(*self._writer.run(columns, rows))
