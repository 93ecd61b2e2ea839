"""What becomes of a value of each type, and which columns a scan makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlstream.formats.conversion import ISO_STANDARD
from sqlstream.formats.scan import layout
from sqlstream.types import Type

_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_ACTIONS = {
    **dict.fromkeys(_BITS, layout.INTEGER),
    **dict.fromkeys(("CHAR", "VARCHAR"), layout.TEXT),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_LTZ"), layout.TIMESTAMP),
    "DOUBLE": layout.DOUBLE,
    "FLOAT": layout.FLOAT,
    "DECIMAL": layout.DECIMAL,
    "BOOLEAN": layout.BOOLEAN,
    "DATE": layout.DATE,
    "TIME": layout.TIME,
    "ROW": layout.OBJECT,
}


def action_of(t: Type) -> int:
    """What becomes of a value of the type."""
    return _ACTIONS.get(t.kind, layout.RAW)


def arguments_of(t: Type, standard: str) -> tuple[int, int, int]:
    """What the kernel has to know of a value of the type. `standard`: of times."""
    if t.kind in _BITS:
        return 2 ** (_BITS[t.kind] - 1) - 1, 0, 0
    if t.kind == "DECIMAL":
        assert t.precision is not None and t.scale is not None
        return t.scale, t.precision, int(t.precision > layout.MOST_DIGITS)
    if t.is_timestamp:
        separator = "T" if standard == ISO_STANDARD else " "
        digits = 6 if t.precision is None else t.precision
        return 10 ** max(6 - digits, 0), ord(separator), int(t.kind == "TIMESTAMP_LTZ")
    if t.kind == "TIME":
        return 10 ** max(6 - (t.precision or 0), 0), 0, 0
    return 0, 0, 0


@dataclass(frozen=True)
class ScannedColumn:
    """An array of `type` made of a slot, and of text `string`; of `fields` where it is a ROW. `whole`: it is whether something
    is there. `raw`: somebody else makes the values of its text. A slot of -1 has something everywhere."""

    name: str
    type: Type
    slot: int
    string: int = -1
    fields: tuple[ScannedColumn, ...] = ()
    presence: bool = False
    raw: bool = False

    def parts(self) -> Iterator[ScannedColumn]:
        """It, its fields and theirs."""
        yield self
        for f in self.fields:
            yield from f.parts()


@dataclass(frozen=True)
class ColumnPlan:
    """The columns of a scan. `slots`: words of a row; `strings`: texts of one."""

    columns: tuple[ScannedColumn, ...]
    slots: int
    strings: int

    @property
    def raw(self) -> tuple[ScannedColumn, ...]:
        """The columns, and fields of such, whose values others make."""
        raw = (part for c in self.columns for part in c.parts() if part.raw)
        return tuple({part.string: part for part in raw}.values())
