"""Values of texts, as databases write them: numbers, dates and times of a column at once."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.errors import DataError
from sqlstream.types import Type

_ZONE = r":\d{2}[\d.:]*(Z|[+-]\d{2}(:?\d{2})?)$"


def of_texts(texts: pa.Array, t: Type, where: str) -> pa.Array:
    """The values of texts, NULL of NULL; of times and dates as they are before `Reading.values` has looked at them. Digits behind the
    point that a DECIMAL has not are rounded. A time with a zone is that moment, one without one of UTC. DataError for a text that is
    no `t`, which says `where`."""
    try:
        if t.is_string:
            return texts
        if t.kind in ("BINARY", "VARBINARY"):
            return texts.cast(pa.binary())
        if t.kind == "DECIMAL":
            return _decimals(texts, t)
        if t.kind == "TIME":
            dated = pc.binary_join_element_wise(pa.scalar("1970-01-01"), texts, " ")
            return dated.cast(pa.timestamp("us")).cast(pa.time64("us")).cast(t.arrow())
        if t.kind == "TIMESTAMP":
            return texts.cast(pa.timestamp("us"))
        if t.kind == "TIMESTAMP_LTZ":
            bare = pc.invert(pc.match_substring_regex(texts, _ZONE))
            zoned = pc.if_else(bare, pc.binary_join_element_wise(texts, pa.scalar("Z"), ""), texts)
            return zoned.cast(pa.timestamp("us", "UTC"))
        return texts.cast(pa.date32() if t.kind == "DATE" else t.arrow())
    except pa.ArrowInvalid as e:
        raise DataError(
            f"{where} has a value that is no {t.null()}: {_said(e)}",
            hint="declare the column STRING, which reads anything",
        ) from e


def _said(e: Exception) -> str:
    """Without the day that was put before a time."""
    return str(e).replace("1970-01-01 ", "")


def _decimals(texts: pa.Array, t: Type) -> pa.Array:
    """Rounded half up. Arrow's division of wide decimals by more than a word is wrong for some (2 ** 64 - 1 with 38 digits behind the
    point), so digits that decide nothing are cut from the texts, and what is left is divided by ten."""
    scale = t.scale or 0
    if pc.any(pc.match_substring_regex(texts, "[eE]")).as_py():  # 1.5e+20, as SQLite writes large ones
        texts = pa.array(
            [v if v is None or "e" not in v.lower() else _plain(v) for v in texts.to_pylist()], pa.string()
        )
    cut = pc.replace_substring_regex(texts, rf"(\.\d{{{scale + 1}}})\d+$", r"\1")
    wide = cut.cast(pa.decimal256(76, scale + 1))
    return pc.round(wide, scale, "half_towards_infinity").cast(pa.decimal256(75, scale)).cast(t.arrow())


def _plain(text: str) -> str:
    try:
        return format(Decimal(text), "f")
    except InvalidOperation:
        return text
