"""Which fields of a record are wanted: as the words that the kernel has of them, and the columns that come of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlstream.formats.conversion import SQL_STANDARD
from sqlstream.formats.csv_records import CsvSyntax
from sqlstream.formats.scan import layout
from sqlstream.formats.scan.plan import ColumnPlan, ScannedColumn, action_of, arguments_of
from sqlstream.types import Type


@dataclass(frozen=True)
class Wanted:
    """Column `name` of the records layer: field `number` of a record."""

    name: str
    number: int
    type: Type


@dataclass(frozen=True)
class Field:
    """A field that is wanted. `string`: -1 where it is no text."""

    number: int
    action: int
    slot: int
    string: int
    not_null: bool
    arguments: tuple[int, int, int]


@dataclass(frozen=True)
class RecordPlan(ColumnPlan):
    """`fields`: in the order of the record. `null`: the text that means NULL."""

    fields: tuple[Field, ...]
    syntax: CsvSyntax
    null: bytes | None


def plan_of(wanted: Iterable[Wanted], syntax: CsvSyntax, null: str | None) -> RecordPlan | None:
    """How to scan for fields; None where what structures records is not of single bytes."""
    characters = (syntax.delimiter, syntax.quote, syntax.escape)
    if not syntax.delimiter or not all(c.isascii() for c in characters):
        return None
    fields: dict[int, Field] = {}
    columns: list[ScannedColumn] = []
    slots = strings = 0
    for w in wanted:
        action = action_of(w.type)
        field = fields.get(w.number)
        if field is None:
            is_text = action in (layout.TEXT, layout.RAW)
            arguments = arguments_of(w.type, SQL_STANDARD)
            field = Field(w.number, action, slots, strings if is_text else -1, not w.type.nullable, arguments)
            fields[w.number] = field
            slots += 2 if action == layout.DECIMAL and arguments[2] else 1
            strings += is_text
        columns.append(ScannedColumn(w.name, w.type, field.slot, field.string, raw=action == layout.RAW))
    in_order = tuple(fields[n] for n in sorted(fields))
    return RecordPlan(tuple(columns), slots, strings, in_order, syntax, None if null is None else null.encode())
