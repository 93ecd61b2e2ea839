"""A statement's rows in the columns of a table that is there."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from sqlstream.errors import OptionError, did_you_mean
from sqlstream.types import Schema

_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())


@dataclass(frozen=True)
class Shape:
    """`schema`: the columns that are written, as the table has them, in its order."""

    schema: pa.Schema

    def of(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows under the statement's names."""
        arrays = [rows.column(f.name) for f in self.schema]
        arrays = [a if a.type == f.type else a.cast(f.type) for a, f in zip(arrays, self.schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def fitted(declared: Schema, there: pa.Schema, where: str, what: str, key: tuple[str, ...] = ()) -> Shape:
    """How rows of `declared`, with this PRIMARY KEY, are written to a table of these columns. OptionError where they do not fit."""
    for c in declared:
        i = there.get_field_index(c.name)
        if i < 0:
            raise OptionError(
                f"{where}: {what} has no column '{c.name}'", hint=did_you_mean(c.name, there.names, "columns")
            )
        f = there.field(i)
        if not holds(c.type.arrow_outside(), f.type):
            raise OptionError(
                f"{where}: column '{c.name}' is {c.type}, and {f.type} in {what}",
                hint="declare it as it is there, and CAST in the query",
            )
        if c.type.nullable and not f.nullable and c.name not in key:
            raise OptionError(
                f"{where}: column '{c.name}' may be NULL, and may not in {what}",
                hint=f"declare it {c.type.text()} NOT NULL",
            )
    for f in there:
        if not f.nullable and f.name not in declared.names:
            raise OptionError(
                f"{where}: column '{f.name}' of {what} is NOT NULL, and is not declared",
                hint="declare it, and write it",
            )
    return Shape(pa.schema([f for f in there if f.name in declared.names], there.metadata))


def holds(given: pa.DataType, there: pa.DataType) -> bool:
    """Whether each value of one type is one of the other, too."""
    if given == there:
        return True
    if pa.types.is_dictionary(there):
        return holds(given, there.value_type)
    if given in _INTEGERS and there in _INTEGERS:
        return bool(there.bit_width >= given.bit_width)
    if pa.types.is_floating(given) and pa.types.is_floating(there):
        return bool(there.bit_width >= given.bit_width)
    if pa.types.is_decimal(given) and pa.types.is_decimal(there):
        whole = there.precision - there.scale >= given.precision - given.scale
        return bool(whole and there.scale >= given.scale)
    if pa.types.is_timestamp(given) and pa.types.is_timestamp(there):
        return (given.tz is None) == (there.tz is None) and there.unit in ("us", "ns")
    for same in (_is_text, _is_bytes, pa.types.is_time, pa.types.is_date):
        if same(given) and same(there):
            return True
    if _is_list(given) and _is_list(there):
        return holds(given.value_type, there.value_type)
    if pa.types.is_map(given) and pa.types.is_map(there):
        return holds(given.key_type, there.key_type) and holds(given.item_type, there.item_type)
    if pa.types.is_struct(given) and pa.types.is_struct(there):
        names = [f.name for f in given]
        return names == [f.name for f in there] and all(holds(given.field(n).type, there.field(n).type) for n in names)
    return False


def _is_text(t: pa.DataType) -> bool:
    return bool(pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t))


def _is_bytes(t: pa.DataType) -> bool:
    return bool(pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_binary_view(t))


def _is_list(t: pa.DataType) -> bool:
    return bool(pa.types.is_list(t) or pa.types.is_large_list(t))
