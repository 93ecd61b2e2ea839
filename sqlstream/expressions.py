"""Typed scalar expressions: what the binder makes of SQL expressions. Frozen, comparable, picklable.

A `Column` refers to its input by position. The function of a `Call` is one that `functions/scalar.py` registers;
operators are functions too ("=", "+", "AND", "CASE", …). Both modes compile these with `rendering/expressions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlstream.literals import literal_text
from sqlstream.types import BOOLEAN, SYMBOL, Schema, Type


@dataclass(frozen=True)
class Expr:
    """A typed scalar expression; printed it reads as SQL. Evaluated for each row of its input."""

    type: Type

    def children(self) -> tuple[Expr, ...]:
        """The expressions that it is made of, in the order that `rebuild` takes."""
        return ()

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        """The same expression over other children, as many and of the same types."""
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
        return self if all(new is k for new, k in zip(changed, kids, strict=True)) else self.rebuild(changed)

    def walk(self) -> Iterator[Expr]:
        """It and all below it, outermost first."""
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
        return literal_text(self.value, self.type)


@dataclass(frozen=True)
class Symbol(Expr):
    """A word that a function takes as an argument: the unit of EXTRACT, the side of TRIM."""

    word: str

    def __str__(self) -> str:
        return self.word


def symbol(word: str) -> Symbol:
    """The symbol of a word."""
    return Symbol(SYMBOL, word)


@dataclass(frozen=True)
class Call(Expr):
    """A function or operator of `functions/scalar.py`, by its name. CASE has arguments when, then, …, else."""

    function: str
    args: tuple[Expr, ...]

    def children(self) -> tuple[Expr, ...]:
        return self.args

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, args=children)

    def __str__(self) -> str:
        form = _FORMS.get(self.function)
        if form is not None:
            return form([str(a) for a in self.args], [self._operand(i) for i in range(len(self.args))])
        if self._binding < _CALLED:
            return f" {self.function} ".join(self._operand(i) for i in range(len(self.args)))
        return f"{self.function}({', '.join(str(a) for a in self.args)})"

    @property
    def _binding(self) -> int:
        """How tightly it holds its arguments, if it is an operator."""
        infix = len(self.args) == 2 and not self.function.replace("_", "").isalnum()
        return _BINDING.get(self.function, _BINDING["="] if infix else _CALLED)

    def _operand(self, i: int) -> str:
        """Argument `i` of this operator: in brackets unless it holds tighter, or as tight and is read first anyway."""
        e = self.args[i]
        if not isinstance(e, Call) or e._binding > self._binding:
            return str(e)
        same = self.function in ("AND", "OR") and e.function == self.function
        first = i == 0 and e._binding == self._binding in (_BINDING["+"], _BINDING["*"])
        return str(e) if same or first else f"({e})"


_BINDING = {
    "OR": 1, "AND": 2, "NOT": 3, "=": 4, "IN": 4, "LIKE": 4, "IS NULL": 4, "IS NOT NULL": 4, "IS TRUE": 4, "IS FALSE": 4,
    "+": 5, "-": 5, "||": 5, "*": 6, "/": 6, "%": 6, "NEGATE": 7, "ITEM": 8,
}  # fmt: skip
_CALLED = 9

# What is not written as f(x, y): of the arguments, and of the same as operands.
_Form = Callable[[list[str], list[str]], str]


def _case(args: list[str], operands: list[str]) -> str:
    whens = "".join(f" WHEN {c} THEN {v}" for c, v in zip(args[:-1:2], args[1::2], strict=True))
    return f"CASE{whens}{'' if args[-1] == 'NULL' else f' ELSE {args[-1]}'} END"


_FORMS: dict[str, _Form] = {
    "CASE": _case,
    "IN": lambda args, x: f"{x[0]} IN ({', '.join(args[1:])})",
    "NOT": lambda args, x: f"NOT {x[0]}",
    "NEGATE": lambda args, x: f"-{x[0]}",
    "IS NULL": lambda args, x: f"{x[0]} IS NULL",
    "IS NOT NULL": lambda args, x: f"{x[0]} IS NOT NULL",
    "IS TRUE": lambda args, x: f"{x[0]} IS TRUE",
    "IS FALSE": lambda args, x: f"{x[0]} IS FALSE",
    "LIKE": lambda args, x: f"{x[0]} LIKE {' ESCAPE '.join(x[1:])}",
    "ITEM": lambda args, x: f"{x[0]}[{args[1]}]",
    "ARRAY": lambda args, x: f"ARRAY[{', '.join(args)}]",
    "MAP": lambda args, x: f"MAP[{', '.join(args)}]",
    "EXTRACT": lambda args, x: f"EXTRACT({args[0]} FROM {args[1]})",
    "CEIL": lambda args, x: f"CEIL({' TO '.join(args)})",
    "FLOOR": lambda args, x: f"FLOOR({' TO '.join(args)})",
    "CURRENT_DATE": lambda args, x: "CURRENT_DATE",
    "CURRENT_TIMESTAMP": lambda args, x: "CURRENT_TIMESTAMP",
    "LOCALTIMESTAMP": lambda args, x: "LOCALTIMESTAMP",
}


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
    name: str = field(default="", compare=False)

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
    if len(parts) < 2:
        return parts[0] if parts else None
    return Call(BOOLEAN, "AND", tuple(parts))


def named(e: Expr, *inputs: Schema) -> str:
    """Text of `e` with the names that its columns have in the input (a join has two)."""
    columns = [c for schema in inputs for c in schema]
    return str(e.transform(lambda x: replace(x, name=columns[x.index].name) if isinstance(x, Column) else None))


def selected(exprs: Sequence[Expr], output: Schema, input_: Schema) -> str:
    """Text of a SELECT list."""
    texts = [(named(e, input_), c.name) for e, c in zip(exprs, output, strict=True)]
    return ", ".join(name if text == name else f"{text} AS {name}" for text, name in texts)


def labelled(e: Expr, name: str) -> str:
    """What a message calls the expression of a column. One that the planner named has no name to users."""
    return shortened(e) if name.startswith("$") else f"column '{name}' = {shortened(e)}"


def shortened(e: object) -> str:
    """Text of an expression for a message."""
    text = str(e)
    return text if len(text) <= 200 else text[:199] + "…"
