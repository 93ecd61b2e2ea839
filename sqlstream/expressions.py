"""Typed scalar expressions: what the binder makes of SQL expressions. Frozen, comparable, picklable.

A `Column` refers to its input by position. Function names are those of `functions/scalar.py`; operators are
functions too ("=", "+", "AND", "CASE", …). Both modes compile these with `functions/render.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from sqlstream.types import BOOLEAN, Type


@dataclass(frozen=True)
class Expr:
    type: Type

    def children(self) -> tuple[Expr, ...]:
        return ()

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return self

    def transform(self, fn: Callable[[Expr], Expr | None]) -> Expr:
        """Top-down: where `fn` gives an expression it replaces the node, else its children are visited."""
        new = fn(self)
        if new is not None:
            return new
        kids = self.children()
        if not kids:
            return self
        changed = tuple(k.transform(fn) for k in kids)
        return self if changed == kids else self.rebuild(changed)

    def walk(self) -> Iterator[Expr]:
        yield self
        for k in self.children():
            yield from k.walk()

    def columns(self) -> set[int]:
        """Positions of the input columns that it reads."""
        return {e.index for e in self.walk() if isinstance(e, Column)}


@dataclass(frozen=True)
class Column(Expr):
    """Input column `index`. `name` is for printing only."""

    index: int
    name: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.name or f"${self.index}"


@dataclass(frozen=True)
class Literal(Expr):
    """A constant: Python value of the type (int µs for times and day intervals, Decimal for DECIMAL), or None."""

    value: Any

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return "'" + self.value.replace("'", "''") + "'"
        if self.value is None:
            return "NULL"
        if isinstance(self.value, bool):
            return str(self.value).upper()
        return f"{self.value}" if self.type.is_numeric else f"{self.value}:{self.type.text()}"


@dataclass(frozen=True)
class Call(Expr):
    """A function or operator of `functions/scalar.py`. CASE has arguments when, then, when, then, …, else."""

    function: str
    args: tuple[Expr, ...]

    def children(self) -> tuple[Expr, ...]:
        return self.args

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, args=children)

    def __str__(self) -> str:
        if len(self.args) == 2 and not self.function.replace("_", "").isalnum() or self.function in ("AND", "OR"):
            return "(" + f" {self.function} ".join(str(a) for a in self.args) + ")"
        return f"{self.function}({', '.join(str(a) for a in self.args)})"


@dataclass(frozen=True)
class Cast(Expr):
    """CAST, or TRY_CAST when `lenient` (NULL instead of an error)."""

    arg: Expr
    lenient: bool = False

    def children(self) -> tuple[Expr, ...]:
        return (self.arg,)

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, arg=children[0])

    def __str__(self) -> str:
        return f"{'TRY_' if self.lenient else ''}CAST({self.arg} AS {self.type.text()})"


@dataclass(frozen=True)
class FieldOf(Expr):
    """Field number `index` of a ROW; NULL of a NULL row."""

    arg: Expr
    index: int
    name: str = field(default="", compare=False)

    def children(self) -> tuple[Expr, ...]:
        return (self.arg,)

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, arg=children[0])

    def __str__(self) -> str:
        return f"{self.arg}.{self.name}"


@dataclass(frozen=True)
class UserCall(Expr):
    """A Python scalar function, `path` = 'module.attribute'. Volatile unless it says `deterministic = True`."""

    path: str
    args: tuple[Expr, ...]
    name: str = ""

    def children(self) -> tuple[Expr, ...]:
        return self.args

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, args=children)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(str(a) for a in self.args)})"


def shift(e: Expr, mapping: Callable[[int], int]) -> Expr:
    """`e` with every column position replaced."""
    return e.transform(lambda x: replace(x, index=mapping(x.index)) if isinstance(x, Column) else None)


def substitute(e: Expr, by: tuple[Expr, ...]) -> Expr:
    """`e` with column i replaced by `by[i]`: an expression over a projection as one over the projection's input."""
    return e.transform(lambda x: by[x.index] if isinstance(x, Column) else None)


def conjuncts(e: Expr | None) -> list[Expr]:
    """The parts of an AND."""
    if e is None:
        return []
    if isinstance(e, Call) and e.function == "AND":
        return [c for a in e.args for c in conjuncts(a)]
    return [e]


def conjunction(parts: list[Expr]) -> Expr | None:
    """The AND of `parts`; None when there are none."""
    if not parts:
        return None
    out = parts[0]
    for p in parts[1:]:
        out = Call(BOOLEAN, "AND", (out, p))
    return out


def shortened(e: object) -> str:
    """Text of an expression for a message."""
    text = str(e)
    return text if len(text) <= 200 else text[:199] + "…"
