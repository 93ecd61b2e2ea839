"""How columns of databases are read: what to select, and what its values are here.

Values that the type here cannot hold are errors, and no other values: 'infinity', a year outside 1 to 9999, NaN for DECIMAL, a number
that is too large.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.errors import DataError
from sqlstream.types import Type

_DAY = 86_400_000_000
FIRST, LAST = -719_162 * _DAY, 2_932_897 * _DAY - 1  # µs of 0001-01-01 and of the end of 9999-12-31


@dataclass(frozen=True)
class Reading:
    """How a column is read: what to select, and what its values are here."""

    sql: str
    type: Type
    where: str  # for messages: the column and its type there
    wire: pa.DataType | None = None  # what the driver is to give, where it does not know by itself

    def values(self, found: pa.Array) -> pa.Array:
        """The engine's values of what the driver gave. DataError for those that the type cannot hold."""
        t = self.type
        if isinstance(found, pa.ExtensionArray):
            found = found.storage
        if t.kind in ("TIMESTAMP", "TIMESTAMP_LTZ", "DATE"):
            self._check_years(found)
        if t.kind == "TIME" and pa.types.is_time64(found.type):
            last = pc.max(found.view(pa.int64())).as_py()
            if last is not None and last * (1000 if found.type.unit == "us" else 1) >= 1000 * _DAY:
                raise DataError(
                    f"{self.where} has 24:00:00, which {t.null()} does not have",
                    hint="declare the column STRING, which reads anything",
                )
        if t.is_timestamp and t.precision is not None and t.precision < 6:
            step = 10 ** (6 - t.precision)
            us = found.view(pa.int64())
            found = pc.multiply(_floor_divided(us, step), step).view(found.type)
        try:
            return found if found.type == t.arrow() else found.cast(t.arrow())
        except pa.ArrowInvalid as e:
            raise DataError(f"{self.where} has a value that is no {t.null()}: {e}") from e

    def _check_years(self, found: pa.Array) -> None:
        days = self.type.kind == "DATE"
        ends = pc.min_max(found.view(pa.int32() if days else pa.int64()))
        low, high = ends["min"].as_py(), ends["max"].as_py()
        first, last = (FIRST // _DAY, LAST // _DAY) if days else (FIRST, LAST)
        if low is not None and (low < first or high > last):
            raise DataError(
                f"{self.where} has 'infinity', or a year that is not in 1 to 9999, which {self.type.null()} does not have",
                hint="declare the column STRING, or read a view without such rows",
            )


def _floor_divided(values: pa.Array, by: int) -> pa.Array:
    """values // by, rounding down."""
    quotient = pc.divide(values, by)
    below = pc.less(pc.multiply(quotient, by), values)
    exact = pc.equal(pc.multiply(quotient, by), values)
    return pc.if_else(pc.or_(below, exact), quotient, pc.subtract(quotient, 1))
