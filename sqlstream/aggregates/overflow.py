"""What is said where a result does not fit its type: the same in batch and streaming."""

from __future__ import annotations

from sqlstream.errors import DataError
from sqlstream.types import Type


def overflow(call: str, t: Type) -> DataError:
    """The error of a call whose result of type `t` has too many digits."""
    wider = "DOUBLE" if t.kind == "DECIMAL" else "DECIMAL(38, 0) or DOUBLE"
    return DataError(f"{call} overflows {t.null().text()}", hint=f"CAST the argument to {wider}")
