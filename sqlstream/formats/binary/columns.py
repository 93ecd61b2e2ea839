"""Which columns vectors that were filled are."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlstream.types import Type

# How the words of a vector are values.
WORDS, BITS, SINGLE, REAL, STRING, BYTES, NUMERAL, SYMBOL, LISTS, PAIRS, ROWS, NOTHING, EITHER = (
    "words", "bits", "single", "real", "string", "bytes", "numeral", "symbol", "lists", "pairs", "rows", "nothing", "either",
)  # fmt: skip


@dataclass
class ColumnPlan:
    """A column that is made: by `form` of vector `vector`. `high`: the vector of a decimal's high words, `scale`: the writer's; `symbols`:
    of an enum, by their places, or by `numbers`, where `other` is the name of other numbers; `children`: of what is nested, with their names where it is a row; EITHER: a value
    of one of them, and where that is the others are NULL."""

    type: Type
    form: str
    vector: int = -1
    high: int = -1
    scale: int = 0
    symbols: tuple[str, ...] = ()
    children: dict[str, ColumnPlan] = field(default_factory=dict)
    numbers: tuple[int, ...] = ()
    other: str | None = None

    @property
    def level(self) -> int:
        """A vector that has a value for each of this column's."""
        if self.vector >= 0:
            return self.vector
        return next((at for c in self.children.values() if (at := c.level) >= 0), -1)
