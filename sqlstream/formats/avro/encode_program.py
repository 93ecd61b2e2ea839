"""How a table's rows are written as records of a schema: instructions for `encode_kernels.py`, and what their vectors are made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlstream.formats.avro import encode_layout as y
from sqlstream.formats.avro.schema import Node
from sqlstream.formats.binary.parts import HIGH, ITEMS, LENGTHS, LOW, REAL, ROWS, SINGLE, SYMBOLS, TEXTS, WORDS, Part
from sqlstream.types import Schema, Type

_INTEGERS = ("TINYINT", "SMALLINT", "INT", "BIGINT")
# Of a union's branches that a column fits, which it is written as: the first of these.
_FITTING = {
    "STRING": ("string", "enum"), "FLOAT": ("float", "double"), "BINARY": ("bytes", "fixed"), "VARBINARY": ("bytes", "fixed"),
    **dict.fromkeys(("TINYINT", "SMALLINT", "INT"), ("int", "long")),
}  # fmt: skip


class Unfit(ValueError):
    """A column does not fit a schema; says why."""


@dataclass
class EncodeProgram:
    """`literals`: bytes that stand in each record."""

    code: list[list[int]] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    literals: bytes = b""

    def emit(self, op: int, vector: int = -1, a: int = 0, b: int = 0) -> int:
        """An instruction; its place."""
        self.code.append([op, vector, a, b, 0])
        return len(self.code) - 1

    def literal(self, data: bytes) -> None:
        """Bytes as they are."""
        if data:
            self.emit(y.LITERAL, -1, len(self.literals), len(data))
            self.literals += data

    def vector(self, part: Part) -> int:
        """A new one."""
        self.parts.append(part)
        return len(self.parts) - 1

    def root(self, node: Node, columns: Schema) -> None:
        """The columns as a record, or as the record of a union. Unfit where they are not those of it."""
        if node.kind != "union":
            self.record(node, columns)
            return
        records = [(i, b) for i, b in enumerate(node.branches) if b.kind == "record"]
        if len(records) != 1:
            raise Unfit(f"it is {node.text}, and has to have one record")
        ((i, record),) = records
        self.literal(_zigzag(i))
        self.record(record, columns)

    def record(self, node: Node, columns: Schema, first: int = 0) -> None:
        """Columns, from column `first` on, as a record's fields. Unfit where they are not those of it."""
        if node.kind != "record":
            raise Unfit(f"it is {node.text}, not a record")
        names = list(columns.names)
        _same(node, names, "the table's columns")
        for f in node.fields:
            i = names.index(f.name)
            self.value(f.type, columns[i].type, first + i, (), f.name)

    def value(self, node: Node, t: Type, column: int, path: tuple[int, ...], shown: str) -> None:
        """A value, or NULL where the schema has null for it."""
        if node.kind != "union":
            self.emit(y.REQUIRE, len(self.parts))
            self._value(node, t, column, path, shown)
            return
        null = next((i for i, b in enumerate(node.branches) if b.kind == "null"), None)
        branch = self._branch(node, t, column, path, shown)
        main = len(self.parts)
        if null is None:
            self.emit(y.REQUIRE, main)
            self.literal(_zigzag(branch))
            self._value(node.branches[branch], t, column, path, shown)
            return
        check = self.emit(y.NULLABLE, main, null, branch)
        self._value(node.branches[branch], t, column, path, shown)
        over = self.emit(y.JUMP)
        self.code[check][4] = len(self.code)
        for v, p in enumerate(self.parts[main:], main):
            if ITEMS not in p.path[len(path) :] and p.form != HIGH:
                self.emit(y.ADVANCE, v)
        self.code[over][2] = len(self.code)

    @staticmethod
    def _branch(node: Node, t: Type, column: int, path: tuple[int, ...], shown: str) -> int:
        """That values of the type fit best, as Avro's own writer finds that of a value's class."""
        rest = [i for i, b in enumerate(node.branches) if b.kind != "null"]
        if (
            len(rest) == 1
        ):  # it says by itself what does not fit; trying each level out would take twice as long as the one within
            return rest[0]
        found: Unfit | None = None
        first = _FITTING.get("STRING" if t.is_string else t.kind, ())
        if t.kind == "TIME":
            first = ("int", "long") if (t.precision or 0) <= 3 else ("long", "int")
        by_fit = sorted(rest, key=lambda i: first.index(k) if (k := node.branches[i].kind) in first else len(first))
        for i in by_fit:
            try:
                EncodeProgram()._value(node.branches[i], t, column, path, shown)
                return i
            except Unfit as e:
                found = found or e
        raise found or Unfit(f"field {shown} is {node.text}, and the column is {t.text()}")

    def _value(self, node: Node, t: Type, column: int, path: tuple[int, ...], shown: str) -> None:
        """Its first vector says whether it is there."""
        if t.kind == "ROW" and node.kind == "record":
            _same(node, [f.name for f in t.fields], f"the fields of {shown}")
            self.emit(y.ADVANCE, self.vector(Part(column, path, ROWS, shown)))
            names = [f.name for f in t.fields]
            for f in node.fields:
                i = names.index(f.name)
                self.value(f.type, t.fields[i].type, column, (*path, i), f"{shown}.{f.name}")
        elif t.kind in ("ARRAY", "MAP", "MULTISET") and node.kind == ("array" if t.kind == "ARRAY" else "map"):
            self._list(node, t, column, path, shown)
        elif t.kind == "DECIMAL" and node.kind in ("bytes", "fixed") and node.logical == "decimal":
            if node.scale != t.scale or node.precision < (t.precision or 0):
                raise Unfit(f"field {shown} is decimal({node.precision}, {node.scale}), and the column is {t.text()}")
            if node.kind == "fixed" and node.size <= 16 and 10 ** (t.precision or 0) > 2 ** (8 * node.size - 1):
                raise Unfit(f"field {shown} is fixed of {node.size} bytes, which do not hold {t.text()}")
            low = self.vector(Part(column, path, LOW, shown))
            high = self.vector(Part(column, path, HIGH, shown))
            self.emit(y.DECIMAL, low, node.size if node.kind == "fixed" else -1, high)
        else:
            self._scalar(node, t, Part(column, path, WORDS, shown))

    def _list(self, node: Node, t: Type, column: int, path: tuple[int, ...], shown: str) -> None:
        assert node.item is not None
        begin = self.emit(y.LIST, self.vector(Part(column, path, LENGTHS, shown)))
        inner = (*path, ITEMS)
        if t.kind == "ARRAY":
            self.value(node.item, t.element, column, inner, f"{shown}[]")
        else:
            if not t.fields[0].type.is_string:
                raise Unfit(f"field {shown}: the keys of Avro's maps are strings, and the column is {t.text()}")
            self.emit(y.TEXT, self.vector(Part(column, (*inner, 0), TEXTS, shown)))
            value = t.fields[1].type if t.kind == "MAP" else Type("INT", nullable=False)
            self.value(node.item, value, column, (*inner, 1), f"{shown}[]")
        self.emit(y.NEXT)
        self.code[begin][2] = len(self.code)

    def _scalar(self, node: Node, t: Type, p: Part) -> None:
        found = _written(node, t)
        if found is None:
            raise Unfit(f"field {p.shown} is {node.text}, and the column is {t.text()}")
        op, form, divisor = found
        symbols, size = (node.symbols, 0) if form == SYMBOLS else ((), node.size if op == y.FIXED else 0)
        self.emit(op, self.vector(Part(p.column, p.path, form, p.shown, symbols, size)), divisor)


def _written(node: Node, t: Type) -> tuple[int, str, int] | None:
    """How a value that has nothing inside is written: the instruction, the words, and what they are divided by; None: it cannot be."""
    k, kind = node.kind, t.kind
    if kind == "BOOLEAN" and k == "boolean":
        return y.BOOLEAN, WORDS, 1
    if kind in _INTEGERS and (k == "long" or k == "int" and kind != "BIGINT"):
        return y.LONG, WORDS, 1
    if kind in ("FLOAT", "DOUBLE") and k == "double":
        return y.FIXED8, REAL, 1
    if kind == "FLOAT" and k == "float":
        return y.FIXED4, SINGLE, 1
    if t.is_string and k in ("string", "enum"):
        return (y.TEXT, TEXTS, 1) if k == "string" else (y.LONG, SYMBOLS, 1)
    if kind in ("BINARY", "VARBINARY") and k in ("bytes", "fixed"):
        return (y.TEXT if k == "bytes" else y.FIXED), TEXTS, 1
    if kind == "DATE" and k == "int":
        return y.LONG, WORDS, 1
    if kind == "TIME" and (k == "int" or k == "long" and node.logical == "time-micros"):
        return y.LONG, WORDS, 1000 if k == "int" else 1
    if t.is_timestamp and k == "long":
        unit = node.logical.rpartition("-")[2] or ("millis" if (t.precision or 0) <= 3 else "micros")
        return (y.LONG, WORDS, 1000 if unit == "millis" else 1) if unit != "nanos" else None
    return None


def _same(node: Node, names: list[str], what: str) -> None:
    there = [f.name for f in node.fields]
    if sorted(there) != sorted(names):
        raise Unfit(f"it has the fields {', '.join(there) or 'none'}, and {what} are {', '.join(names) or 'none'}")


def _zigzag(n: int) -> bytes:
    """Of a small number that is not negative."""
    return bytes([2 * n]) if n < 64 else bytes([(2 * n & 127) | 128, 2 * n >> 7])
