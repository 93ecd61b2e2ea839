"""Python table functions that tests call by SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlstream import udf, udtf


@udtf(result_types=["STRING", "INT"])
def split(text: str | None) -> Iterator[tuple[str, int]]:
    """The function of Flink's documentation: words with their lengths; of NULL none."""
    for word in (text or "").split():
        yield word, len(word)


@udtf(result_types="INT")
def up_to(n: int | None) -> range | None:
    """One column, of values that are not tuples; None is no row."""
    return None if n is None else range(n)


@udtf(result_types=["BIGINT", "STRING"])
def one_row(n: int) -> tuple[int, str]:
    """As in PyFlink a tuple that is returned is a row."""
    return n, str(n)


@udtf(result_types="ROW<word STRING, n INT>")
def named(text: str) -> list[dict[str, Any]]:
    """Columns with names."""
    return [{"word": w, "n": i} for i, w in enumerate(text.split())]


@udtf(result_types=["INT"])
def three() -> Iterator[int]:
    """Without an argument."""
    yield from (1, 2, 3)


@udtf(
    input_types=[
        "ROW<a INT, b STRING>",
        "ARRAY<INT>",
        "MAP<STRING, INT>",
        "DECIMAL(10, 2)",
        "TIMESTAMP(3)",
        "INTERVAL DAY",
    ],
    result_types=["ROW<b STRING, a INT>", "ARRAY<INT>", "MAP<STRING, INT>", "DECIMAL(10, 2)", "TIMESTAMP(3)", "STRING"],
)
def all_types(r: Any, a: Any, m: Any, d: Any, t: Any, i: Any) -> Iterator[tuple[Any, ...]]:
    """Values as they come, a little changed."""
    yield {"b": r["b"] + "!", "a": r["a"]}, a[::-1], m, d + 1, t + i, type(i).__name__


@udtf(result_types=["INT"], deterministic=False)
def uncertain(n: int) -> Iterator[int]:
    """Says that it may give other rows the next time."""
    yield n


@udtf(result_types=["STRING", "INT"])
def fails(n: int) -> Iterator[tuple[str, int]]:
    """Raises for one row."""
    yield "fine", n
    if n == 2:
        raise ValueError("no twos today")


@udtf(result_types=["STRING", "INT"])
def too_wide(n: int) -> Iterator[tuple[str, int, int]]:
    """A value too many in a row."""
    yield ("a", n, n) if n == 2 else ("a", n)


@udtf(result_types=["INT"])
def no_number(n: int) -> Iterator[Any]:
    """A value that is no INT."""
    yield "two" if n == 2 else n


@udf
def scalar(n: int) -> int:
    """No table function."""
    return n


@udf
def breaks(n: int) -> int:
    """A scalar function that raises for one row."""
    if n == 2:
        raise ValueError("no twos today")
    return n


@udtf(result_types=[])
def no_columns(n: int) -> None:
    """A mistake of declaration."""


@udtf(result_types=["INTT"])
def no_type(n: int) -> None:
    """Another."""
