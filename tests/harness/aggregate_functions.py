"""Python aggregate functions that tests call by SQL."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream import udaf


class WeightedAverage:
    """The function of Flink's documentation: values and weights, 0 when there are none, and whole. It can do all."""

    result_type = "BIGINT"
    input_types = ("BIGINT", "INT")
    accumulator_type = "ROW<total BIGINT, weights BIGINT>"

    def create_accumulator(self) -> Any:
        return [0, 0]

    def accumulate(self, acc: Any, value: Any, weight: Any) -> None:
        if value is not None and weight is not None:
            acc[0] += value * weight
            acc[1] += weight

    def retract(self, acc: Any, value: Any, weight: Any) -> None:
        if value is not None and weight is not None:
            acc[0] -= value * weight
            acc[1] -= weight

    def merge(self, acc: Any, accumulators: Any) -> None:
        for other in accumulators:
            acc[0] += other[0]
            acc[1] += other[1]

    def get_value(self, acc: Any) -> Any:
        return acc[0] // acc[1] if acc[1] else None


class Largest:
    """Typed by its hints. Neither taken back nor merged."""

    def create_accumulator(self) -> list[int]:
        return []

    def accumulate(self, acc: list[int], x: int | None) -> None:
        if x is not None:
            acc[:] = sorted([*acc, x], reverse=True)[:2]

    def get_value(self, acc: list[int]) -> list[int]:
        return acc


class Words:
    """By PyFlink's methods, with a MAP as accumulator; merged, but not taken back. Counts words, shows them in order."""

    def get_result_type(self) -> str:
        return "STRING NOT NULL"

    def get_accumulator_type(self) -> str:
        return "MAP<STRING, BIGINT>"

    def create_accumulator(self) -> Any:
        return {}

    def accumulate(self, acc: Any, line: str | None) -> None:
        for word in (line or "").split():
            acc[word] = acc.get(word, 0) + 1

    def merge(self, acc: Any, accumulators: Any) -> None:
        for other in accumulators:
            for word, n in other.items():
                acc[word] = acc.get(word, 0) + n

    def get_value(self, acc: Any) -> str:
        return ",".join(f"{w}{n}" for w, n in sorted(acc.items()))


class Joined:
    """Without a type of its accumulators; goes by the order of rows, and counts NULLs."""

    def create_accumulator(self):  # type: ignore[no-untyped-def]
        return []

    def accumulate(self, acc: list[str], x: str | None) -> None:
        acc.append("-" if x is None else x)

    def get_value(self, acc: list[str]) -> str:
        return "".join(acc)


class Sums:
    """A class as accumulator, and retraction without merging."""

    class Both:
        def __init__(self, total: int, rows: int) -> None:
            self.total, self.rows = total, rows

    def create_accumulator(self) -> Any:
        return self.Both(0, 0)

    def accumulate(self, acc: Any, x: int | None) -> None:
        acc.total, acc.rows = acc.total + (x or 0), acc.rows + 1

    def retract(self, acc: Any, x: int | None) -> None:
        acc.total, acc.rows = acc.total - (x or 0), acc.rows - 1

    def get_value(self, acc: Any) -> str:
        return f"{acc.total}/{acc.rows}"


sums = udaf(Sums(), accumulator_type="ROW<total BIGINT, `rows` BIGINT>", result_type="STRING")


@udaf(input_types=["BIGINT"], result_type="BIGINT", func_type="arrow")
def spread(x: pa.Array) -> pa.Scalar:
    """Over all rows at once."""
    return pc.subtract(pc.max(x), pc.min(x))


@udaf(input_types=["ROW<a BIGINT, b STRING>", "STRING"], result_type="ROW<a BIGINT, b STRING>", func_type="arrow")
def last_of(x: pa.Array, y: pa.Array) -> Any:
    """ROWs with their names: the one that stands beside the greatest text."""
    if not len(x):
        return None
    row = x[pc.index(y, pc.max(y)).as_py()].as_py()
    return {"a": row["a"], "b": row["b"]}


class Fails:
    """Raises for one row."""

    def create_accumulator(self) -> list[int]:
        return []

    def accumulate(self, acc: list[int], x: int) -> None:
        if x == 2:
            raise ValueError("no twos today")

    def get_value(self, acc: list[int]) -> int:
        return len(acc)


class NoNumber(Fails):
    """A value that is no BIGINT."""

    def accumulate(self, acc: list[int], x: int) -> None:
        """Fine."""

    def get_value(self, acc: list[int]) -> Any:
        return "two"

    result_type = "BIGINT"


class WrongAccumulator(Fails):
    """An accumulator that is not of its type, from a row on."""

    def accumulate(self, acc: Any, x: int) -> None:
        acc.append("text")


@udaf(input_types=["BIGINT"], result_type="BIGINT", func_type="arrow")
def breaks(x: pa.Array) -> Any:
    """Raises for a group."""
    raise ValueError(f"{len(x)} rows are too many")
