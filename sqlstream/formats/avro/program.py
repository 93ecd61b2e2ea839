"""What to do with the bytes of a writer's records, for the columns that are wanted: instructions for `decode_kernels.py`.

A table's types stand for the reader's schema, and Avro's resolution of schemas says what becomes of a writer's: fields are found by
name, those that are not wanted are skipped, numbers widen. Beyond that: the unit of a time is what the writer's logical type says, a
number of the writer that is wider than its column has to fit, an enum is text, and fixed bytes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlstream.formats.avro import layout as y
from sqlstream.formats.avro.schema import Node
from sqlstream.formats.binary.columns import (
    BITS,
    BYTES,
    EITHER,
    LISTS,
    NOTHING,
    NUMERAL,
    PAIRS,
    REAL,
    ROWS,
    SINGLE,
    STRING,
    SYMBOL,
    WORDS,
    ColumnPlan,
)
from sqlstream.types import Field, Type

Wanted = Mapping[str, Any]  # fields of a record: name to a Type, or to what is wanted of a record
_LEAST, _GREATEST = -(2**63), 2**63 - 1
_FIRST = -9_223_372_022_400_000_000  # µs of the first moment that DuckDB has
_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_DAY = 86_400_000_000
_INLINE = 20  # types within one another, behind which a record that is passed over is called


@dataclass
class Program:
    """`texts`: which vectors have texts; `reasons`: why a message is malformed, by number."""

    code: list[list[int]]
    vectors: int
    texts: set[int]
    columns: dict[str, ColumnPlan]
    reasons: dict[int, str]


class NoForm(Exception):
    """A writer's type is none that the column's can be read from."""


def program_of(writer: Node, wanted: Wanted, envelope: str = "") -> Program:
    """For records of `writer`, a record or a union of it and null. `envelope`: why one that is null is malformed."""
    made = _Maker()
    columns: dict[str, ColumnPlan] = {}
    if writer.kind == "union":
        first = next((b for b in writer.branches if b.kind == "record"), None)

        def branch(b: Node) -> None:
            if b is first:
                made.record(b, columns, wanted, "")
            else:
                made.fail(envelope if b.kind == "null" and envelope else f"it is {b.text}, not a record")

        made.union(writer, branch)
    elif writer.kind == "record":
        made.record(writer, columns, wanted, "")
    else:
        made.fail(f"it is {writer.text}, not a record")
    for name, t in wanted.items():
        if name not in columns:  # no message is a row
            columns[name] = made.missing(t if isinstance(t, Type) else _row(t))
    return made.done(columns)


def _row(wanted: Wanted) -> Type:
    return Type("ROW", fields=tuple(Field(n, t if isinstance(t, Type) else _row(t)) for n, t in wanted.items()))


class _Maker:
    def __init__(self) -> None:
        self.code: list[list[int]] = []
        self.vectors, self.texts = 0, set[int]()
        self.reasons: dict[int, str] = dict(y.REASONS)
        self._calls: list[tuple[int, Node]] = []
        self._passed = set[int]()  # records whose instructions are there, to pass over them

    def done(self, columns: dict[str, ColumnPlan]) -> Program:
        """With the parts that are called behind it."""
        self.emit(y.DONE)
        at: dict[int, int] = {}
        while self._calls:
            call, node = self._calls.pop()
            if id(node) not in at:
                at[id(node)] = len(self.code)
                for f in node.fields:
                    self.skip(f.type)
                self.emit(y.RETURN)
            self.code[call][y.FIRST] = at[id(node)]
        return Program(self.code, max(self.vectors, 1), self.texts, columns, self.reasons)

    def emit(
        self,
        op: int,
        vector: int = -1,
        first: int = 0,
        second: int = 0,
        least: int = 0,
        greatest: int = 0,
        reason: str = "",
    ) -> int:
        """An instruction; its place."""
        self.code.append([op, vector, first, second, least, greatest, self.reason(reason) if reason else 0, 0])
        return len(self.code) - 1

    def reason(self, text: str) -> int:
        """Its number."""
        found = next((n for n, r in self.reasons.items() if r == text), None)
        if found is None:
            found = max(y.OWN, *self.reasons) + 1
            self.reasons[found] = text
        return found

    def fail(self, reason: str) -> None:
        """The message is malformed."""
        self.emit(y.FAIL, reason=reason)

    def vector(self, text: bool = False) -> int:
        """A new one."""
        self.vectors += 1
        if text:
            self.texts.add(self.vectors - 1)
        return self.vectors - 1

    # ---- records and unions

    def union(self, node: Node, branch: Any) -> None:
        """Each branch by `branch`."""
        self.emit(y.UNION, first=len(node.branches))
        jumps = [self.emit(y.JUMP) for _ in node.branches]
        ends = []
        for at, b in zip(jumps, node.branches, strict=True):
            self.code[at][y.FIRST] = len(self.code)
            branch(b)
            ends.append(self.emit(y.JUMP))
        for at in ends:
            self.code[at][y.FIRST] = len(self.code)

    def record(self, node: Node, columns: dict[str, ColumnPlan], wanted: Wanted, path: str) -> None:
        """The fields of a record into columns, which are added."""
        for f in node.fields:
            if f.name not in wanted:
                self.skip(f.type)
                continue
            shown, t = f"{path}{f.name}", wanted[f.name]
            if isinstance(t, Type):
                columns[f.name] = self.column(f.type, t, shown)
                self.read(f.type, columns[f.name], shown)
            else:
                made = columns[f.name] = ColumnPlan(_row(t), NOTHING)
                self._inside(f.type, made, t, shown)
                made.children = {n: made.children[n] for n in t}
        for name, t in wanted.items():
            if name not in columns:
                whole = t if isinstance(t, Type) else _row(t)
                if isinstance(t, Type) and not t.nullable:
                    self.fail(
                        f"the schema that it was written by has no field {path}{name}, and its column is NOT NULL"
                    )
                columns[name] = self.missing(whole)

    def _inside(self, node: Node, column: ColumnPlan, wanted: Wanted, shown: str) -> None:
        """Fields of a record that is not wanted itself: NULL where it is."""
        inner = node.inner
        if inner.kind != "record":
            column.children = {n: self.missing(t if isinstance(t, Type) else _row(t)) for n, t in wanted.items()}
            if node.kind == "union":
                self.union(
                    node, lambda b: None if b.kind == "null" else self.fail(f"field {shown} is {b.text}, not a record")
                )
            elif node.kind != "null":
                self.fail(f"field {shown} is {node.text}, not a record")
            return
        if node.kind != "union":
            self.record(inner, column.children, wanted, f"{shown}.")
            return

        def branch(b: Node) -> None:
            if b.kind == "null":
                nulls.append(self.emit(y.JUMP))  # the vectors are not known yet
            else:
                self.record(b, column.children, wanted, f"{shown}.")

        nulls: list[int] = []
        self.union(node, branch)
        over = self.emit(y.JUMP)
        for at in nulls:
            self.code[at][y.FIRST] = len(self.code)
            for c in column.children.values():
                self.null(c)
        self.code[over][y.FIRST] = len(self.code)

    def missing(self, t: Type) -> ColumnPlan:
        """A column of NULLs."""
        return ColumnPlan(t, NOTHING)

    # ---- columns

    def column(self, node: Node, t: Type, shown: str) -> ColumnPlan:
        """What a column of type t is made of, where the writer has this type."""
        found: list[ColumnPlan] = []  # of branches that are read into vectors of their own
        for b in node.branches if node.kind == "union" else [node]:
            if b.kind != "null" and not any(self._reads(b, c) for c in found):
                try:
                    found.append(self._column(b, t, shown))
                except NoForm:
                    continue
        if len(found) < 2:
            return found[0] if found else self.missing(t)
        return ColumnPlan(t, EITHER, children={str(i): c for i, c in enumerate(found)})

    def _column(self, node: Node, t: Type, shown: str) -> ColumnPlan:
        k, kind = node.kind, t.kind
        if kind == "ROW" and k == "record":
            made = ColumnPlan(t, ROWS, self.vector())
            for f in t.fields:
                there = node.field(f.name)
                made.children[f.name] = (
                    self.missing(f.type) if there is None else self.column(there.type, f.type, f"{shown}.{f.name}")
                )
            return made
        if kind == "ARRAY" and k == "array":
            assert node.item is not None
            made = ColumnPlan(t, LISTS, self.vector())
            made.children["element"] = self._leveled(self.column(node.item, t.element, f"{shown}[]"))
            return made
        if kind in ("MAP", "MULTISET") and k == "map" and t.fields[0].type.is_string:
            assert node.item is not None
            value = t.fields[1].type if kind == "MAP" else Type("INT")
            made = ColumnPlan(t, PAIRS, self.vector())
            made.children["key"] = ColumnPlan(t.fields[0].type, STRING, self.vector(text=True))
            made.children["value"] = self.column(node.item, value, f"{shown}[]")
            return made
        if kind == "DECIMAL" and k in ("bytes", "fixed"):
            scale = node.scale if node.logical == "decimal" else (t.scale or 0)
            return ColumnPlan(t, NUMERAL, self.vector(), self.vector(), scale)
        form = self._form(node, t)
        if form is None:
            raise NoForm
        symbols = node.symbols if form == SYMBOL else ()
        return ColumnPlan(t, form, self.vector(form in (STRING, BYTES)), symbols=symbols)

    def _leveled(self, column: ColumnPlan) -> ColumnPlan:
        """Of the items of a list: with a vector that counts them, also where there is nothing to read of them."""
        if column.level < 0:
            column.vector = self.vector()
        return column

    @staticmethod
    def _form(node: Node, t: Type) -> str | None:
        k, kind = node.kind, t.kind
        if kind == "BOOLEAN":
            return BITS if k == "boolean" else None
        if kind in _BITS:
            return WORDS if k in ("int", "long") else None
        if kind in ("FLOAT", "DOUBLE"):
            return {"int": WORDS, "long": WORDS, "float": SINGLE, "double": REAL if kind == "DOUBLE" else None}.get(k)
        if t.is_string:
            return {"string": STRING, "bytes": STRING, "enum": SYMBOL}.get(k)
        if kind in ("BINARY", "VARBINARY"):
            return BYTES if k in ("bytes", "string", "fixed") else None
        if kind == "DATE":
            return WORDS if k == "int" else None
        if kind == "TIME":
            return WORDS if k == "int" or k == "long" and node.logical in ("", "time-micros") else None
        if t.is_timestamp:
            return WORDS if k == "long" else None
        return None

    # ---- values

    def read(self, node: Node, column: ColumnPlan, shown: str) -> None:
        """Reads a value of the writer's type into a column."""
        if node.kind == "union":
            self.union(node, lambda b: self.read(b, column, shown))
        elif node.kind == "null":
            if column.type.nullable:
                self.null(column)
            else:
                self.fail(f"field {shown} is NULL but its column is NOT NULL")
        elif column.form == EITHER and any(self._reads(node, c) for c in column.children.values()):
            there = next(c for c in column.children.values() if self._reads(node, c))
            self._value(node, there, shown)
            for c in column.children.values():
                if c is not there:
                    self.null(c)
        elif not self._reads(node, column):
            other = column.form != NOTHING and self._could(node, column.type)
            more = ", as in another record of its union" if other else ""
            self.fail(f"field {shown} is {node.text}, which is no {column.type.text()}{more}")
        else:
            self._value(node, column, shown)

    def _reads(self, node: Node, column: ColumnPlan) -> bool:
        """Whether the column is made of such values."""
        if column.form in (ROWS, LISTS, PAIRS, NUMERAL):
            kinds = {ROWS: ("record",), LISTS: ("array",), PAIRS: ("map",), NUMERAL: ("bytes", "fixed")}[column.form]
            same = column.form != NUMERAL or column.scale == (
                node.scale if node.logical == "decimal" else column.type.scale
            )
            return node.kind in kinds and same
        return (
            column.form != NOTHING and self._form(node, column.type) == column.form and node.symbols == column.symbols
        )

    def _could(self, node: Node, t: Type) -> bool:
        """Whether a column of the type could be made of such values alone."""
        return node.kind in ("bytes", "fixed") if t.kind == "DECIMAL" else self._form(node, t) is not None

    def _value(self, node: Node, column: ColumnPlan, shown: str) -> None:
        v, form = column.vector, column.form
        if form == ROWS:
            self.emit(y.THERE, v)
            self._fields(node, column, shown)
        elif form in (LISTS, PAIRS):
            assert node.item is not None
            first = next(iter(column.children.values()))
            begin = self.emit(y.LIST, v, first.level)
            if form == PAIRS:
                self.emit(y.TEXT, first.vector)
                self.read(node.item, column.children["value"], f"{shown}[]")
            else:
                self.read(node.item, first, f"{shown}[]")
            self.emit(y.NEXT)
            self.code[begin][y.SECOND] = len(self.code)
        elif form == NUMERAL:
            high, low = _limit(column.type, column.scale)
            reason = f"field {shown}: the number does not fit {column.type.text()}"
            self.emit(y.DECIMAL, v, node.size if node.kind == "fixed" else -1, column.high, high, low, reason)
        elif form in (STRING, BYTES):
            self.emit(*(y.FIXED, v, node.size) if node.kind == "fixed" else (y.TEXT, v))
        elif form == BITS:
            self.emit(y.BOOLEAN, v)
        elif form in (SINGLE, REAL):
            self.emit(y.FIXED4 if form == SINGLE else y.FIXED8, v)
        else:
            self._long(node, column, shown)

    def _fields(self, node: Node, column: ColumnPlan, shown: str) -> None:
        wanted = {f.name: f.type for f in column.type.fields}
        for f in node.fields:
            if f.name in wanted:
                self.read(f.type, column.children[f.name], f"{shown}.{f.name}")
            else:
                self.skip(f.type)
        for name, t in wanted.items():
            if node.field(name) is None:
                if t.nullable:  # another record of the union may have it
                    self.null(column.children[name])
                else:
                    self.fail(f"the schema that it was written by has no field {shown}.{name}, which is NOT NULL")

    def _long(self, node: Node, column: ColumnPlan, shown: str) -> None:
        """A number, as the word that the column has of it: `value // second * first`."""
        t, first, second, least, greatest = column.type, 1, 1, _LEAST, _GREATEST
        if t.kind in _BITS:
            least, greatest = -(2 ** (_BITS[t.kind] - 1)), 2 ** (_BITS[t.kind] - 1) - 1
        elif column.form == SYMBOL:
            least, greatest = 0, len(column.symbols) - 1
        elif t.kind == "DATE":
            least, greatest = -(2**31) + 2, 2**31 - 2  # the last ones mean infinity to DuckDB
        elif t.kind == "TIME":
            first = 1 if node.logical == "time-micros" or node.kind == "long" and not node.logical else 1000
            least, greatest = 0, _DAY // first - 1
            first, second = _floored(first, 1, t.precision or 0)
        elif t.is_timestamp:
            unit = node.logical.rpartition("-")[2] or ("millis" if (t.precision or 0) <= 3 else "micros")
            first, second = {"millis": (1000, 1), "micros": (1, 1), "nanos": (1, 1000)}[unit]
            least, greatest = _FIRST // first + 1, (2**63 - 2) // first
            first, second = _floored(first, second, 6 if t.precision is None else t.precision)
        self.emit(
            y.LONG, column.vector, first, second, least, greatest, f"field {shown}: the number does not fit {t.text()}"
        )

    def null(self, column: ColumnPlan) -> None:
        """NULL, also in the columns that a row has inside."""
        if column.form in (LISTS, PAIRS):
            self.emit(y.NULL_LIST, column.vector, next(iter(column.children.values())).level)
        elif column.vector >= 0:
            self.emit(y.NULL, column.vector)
        if column.high >= 0:
            self.emit(y.NULL, column.high)
        if column.form in (ROWS, NOTHING, EITHER):
            for c in column.children.values():
                self.null(c)

    # ---- what is not wanted

    def skip(self, node: Node, depth: int = 0) -> None:
        """Passes over a value. A record that comes again is called: it may be in itself, or often in another."""
        if node.kind == "union":
            self.union(node, lambda b: self.skip(b, depth + 1))
        elif node.kind == "record":
            if id(node) in self._passed or depth > _INLINE:
                self._calls.append((self.emit(y.CALL), node))
            else:
                self._passed.add(id(node))
                for f in node.fields:
                    self.skip(f.type, depth + 1)
        elif node.kind in ("array", "map"):
            assert node.item is not None
            begin = self.emit(y.LIST)
            if node.kind == "map":
                self.emit(y.SKIP_TEXT)
            self.skip(node.item, depth + 1)
            self.emit(y.NEXT)
            self.code[begin][y.SECOND] = len(self.code)
        elif node.kind in ("boolean", "float", "double", "fixed"):
            self.emit(y.SKIP, first={"boolean": 1, "float": 4, "double": 8}.get(node.kind, node.size))
        elif node.kind in ("int", "long", "enum"):
            self.emit(y.SKIP_LONG)
        elif node.kind in ("bytes", "string"):
            self.emit(y.SKIP_TEXT)


def _floored(first: int, second: int, precision: int) -> tuple[int, int]:
    """`value // second * first`, in microseconds, with so many digits of a second alone."""
    step = 10 ** (6 - min(precision, 6))
    return (step, step // first * second) if step > first else (first, second)


def _limit(t: Type, scale: int) -> tuple[int, int]:
    """The high and low words of the greatest number of a scale that fits a DECIMAL, where it is rounded half up."""
    most, more = 10 ** (t.precision or 0) - 1, scale - (t.scale or 0)
    if more > 0:
        most = most * 10**more + 5 * 10 ** (more - 1) - 1
    elif more < 0:
        most //= 10**-more
    most = min(most, 2**127 - 1)
    low = most & (2**64 - 1)
    return most >> 64, low - 2**64 if low >= 2**63 else low
