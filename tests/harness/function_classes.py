"""Functions that are classes, as in PyFlink's documentation, which tests call by SQL."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from sqlstream import FunctionContext, ScalarFunction, TableFunction, udf, udtf


class HashCode(ScalarFunction):
    """PyFlink's example; its factor is that of `open`."""

    def __init__(self) -> None:
        self.factor = 0

    def open(self, function_context: FunctionContext) -> None:
        """A parameter that no job has."""
        self.factor = int(function_context.get_job_parameter("hashcode_factor", "12"))

    def eval(self, s: str | None) -> int | None:
        """Of a text."""
        return None if s is None else sum(map(ord, s)) * self.factor


hash_code = udf(HashCode(), result_type="BIGINT")


class Split(TableFunction):
    """PyFlink's example."""

    def eval(self, line: str | None) -> Iterator[tuple[str, int]]:
        """Words with their lengths."""
        for word in (line or "").split():
            yield word, len(word)


split = udtf(Split(), result_types=["STRING", "INT"])


class Letters:
    """Derives from nothing."""

    result_types = "ROW<letter STRING, n INT>"

    def eval(self, s: str) -> list[dict[str, Any]]:
        """Rows with names."""
        return [{"letter": c, "n": s.count(c)} for c in sorted(set(s))]


@udf(input_types="INT", result_type="INT", func_type="arrow")
class Doubled:
    """Over arrays."""

    def eval(self, x: Any) -> Any:
        """Twice as much."""
        return [None if v is None else 2 * v for v in x.to_pylist()]


class Dice(TableFunction):
    """Says that it is not deterministic."""

    result_types = ("INT",)

    def is_deterministic(self) -> bool:
        """Never."""
        return False

    def eval(self, n: int) -> Iterator[int]:
        """A number that nobody knows."""
        yield random.randrange(n)


class Fails(ScalarFunction):
    """Raises for one row."""

    def eval(self, n: int) -> int:
        """Not of two."""
        if n == 2:
            raise ValueError("no twos today")
        return n


class NeverOpens(Fails):
    """Raises before the first."""

    def open(self, function_context: FunctionContext) -> None:
        """Never."""
        raise OSError("no model found")


class Opened:
    """An aggregate function that is opened."""

    accumulator_type = "ARRAY<BIGINT>"

    def open(self, function_context: FunctionContext) -> None:
        """Before its first accumulator."""
        self.start = 100

    def create_accumulator(self) -> list[int]:
        """Of what `open` made."""
        return [self.start]

    def accumulate(self, acc: list[int], x: int) -> None:
        """One more."""
        acc[0] += x

    def get_value(self, acc: list[int]) -> int:
        """The sum."""
        return acc[0]


class Lacks(TableFunction):
    """Its columns are not said."""

    def eval(self, n: int) -> Iterator[int]:
        """Nothing."""
        yield n


class NeedsMore(ScalarFunction):
    """Cannot be made without an argument."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def eval(self, n: int) -> int:
        """Nothing."""
        return n * self.factor


three_times = NeedsMore(3)
