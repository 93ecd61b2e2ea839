"""Keys as constants in a statement, many at once, made of Arrow's columns outside Python."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


def joined(texts: pa.Array, between: str = ", ") -> str:
    """All texts, one behind the other."""
    whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    return str(pc.binary_join(whole, between)[0].as_py())


def texts_of(values: pa.Array) -> pa.Array:
    """Values as SQL writes them, without quotes: times with all digits."""
    if pa.types.is_timestamp(values.type):
        return pc.strftime(values, "%Y-%m-%d %H:%M:%S")
    return values.cast(pa.string())


def in_quotes(texts: pa.Array, before: str = "'", escaped: Sequence[tuple[str, str]] = (("'", "''"),)) -> pa.Array:
    """Texts as string constants."""
    for found, instead in escaped:
        texts = pc.replace_substring(texts, found, instead)
    return pc.binary_join_element_wise(pa.scalar(before), texts, pa.scalar("'"), "")


def rows_of(columns: Sequence[pa.Array]) -> pa.Array:
    """`(a, b)` of each row of constants."""
    inner = columns[0] if len(columns) == 1 else pc.binary_join_element_wise(*columns, ", ")
    return pc.binary_join_element_wise(pa.scalar("("), inner, pa.scalar(")"), "")
