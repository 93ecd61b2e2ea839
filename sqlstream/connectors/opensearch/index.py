"""Which index a row goes to: a name, or one with columns in it: `logs-{day|yyyy-MM-dd}`, `{tenant}-events`, `logs-{now()|yyyy.MM}`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.errors import DataError, OptionError, did_you_mean
from sqlstream.types import Schema, Type

NOW = "now()"
_PLACE = re.compile(r"\{([^{}|]*)(?:\|([^{}]*))?\}")
_LETTERS = re.compile(r"'([^']*)'|([A-Za-z])\2*|[^A-Za-z']+")
# Java's letters, and strftime's.
_FIELDS = {
    "yyyy": "%Y", "uuuu": "%Y", "yy": "%y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S", "DDD": "%j",
}  # fmt: skip
_DEFAULTS = {"DATE": "%Y_%m_%d", "TIME": "%H_%M_%S"}  # Flink's, of places without a form; of times with a date too


def _strftime(form: str, where: str) -> str:
    out = ""
    for m in _LETTERS.finditer(form):
        if m[2] is None:
            out += (m[0] if m[1] is None else m[1] or "'").replace("%", "%%")
        elif m[0] not in _FIELDS:
            raise OptionError(
                f"{where}: '{form}' has the letters {m[0]}", hint=f"there are {', '.join(_FIELDS)}", subject="index"
            )
        else:
            out += _FIELDS[m[0]]
    return out


@dataclass(frozen=True)
class Place:
    """`column`: its value, a time in `form` (strftime's); NOW: the time when it is written."""

    column: str
    form: str | None


@dataclass(frozen=True)
class Index:
    """`parts`: text, and places. `zone`: of times."""

    parts: tuple[str | Place, ...]
    zone: str

    @staticmethod
    def of(text: str, schema: Schema, zone: str, where: str) -> Index:
        """OptionError for a column that is not there, or has no such form."""
        parts: list[str | Place] = []
        done = 0
        for m in _PLACE.finditer(text):
            parts.append(text[done : m.start()])
            done = m.end()
            parts.append(_place(m[1].strip(), m[2], schema, where))
        parts.append(text[done:])
        found = tuple(p for p in parts if p)
        if not found or any(c in p for p in found if isinstance(p, str) for c in "{}"):
            raise OptionError(
                f"{where}: '{text}' is no name of an index",
                hint="logs-{day|yyyy-MM-dd}: a column stands in braces",
                subject="index",
            )
        return Index(found, zone)

    @property
    def columns(self) -> tuple[str, ...]:
        """That stand in it."""
        return tuple(dict.fromkeys(p.column for p in self.parts if isinstance(p, Place)))

    def names(self, rows: pa.RecordBatch, table: str) -> pa.Array:
        """Of the rows. DataError where a column is NULL."""
        parts = [pa.scalar(p) if isinstance(p, str) else self._texts(p, rows, table) for p in self.parts]
        if not any(isinstance(p, pa.Array) for p in parts):
            return pa.repeat("".join(p.as_py() for p in parts), rows.num_rows)
        return pc.binary_join_element_wise(*parts, "")

    def _texts(self, place: Place, rows: pa.RecordBatch, table: str) -> pa.Array | pa.Scalar:
        if place.column == NOW:
            assert place.form is not None
            return pa.scalar(datetime.now(ZoneInfo(self.zone)).strftime(place.form))
        values = rows.column(place.column)
        if values.null_count:
            raise DataError(f"table {table}: column {place.column} is NULL, and the index is named by it")
        if place.form is None:
            return values.cast(pa.string())
        zoned = pa.types.is_timestamp(values.type) and values.type.tz is not None
        if not pa.types.is_timestamp(values.type):
            values = (
                values.cast(pa.int64()).cast(pa.timestamp("us"))
                if pa.types.is_time(values.type)
                else values.cast(pa.timestamp("s"))
            )
        # whole seconds, so that their form has no fraction
        return pc.strftime(
            pc.floor_temporal(values, unit="second").cast(pa.timestamp("s", self.zone if zoned else None)), place.form
        )


def _place(column: str, form: str | None, schema: Schema, where: str) -> Place:
    if column == NOW:
        return Place(NOW, _strftime(form or "yyyy_MM_dd", where))
    if column not in schema.names:
        raise OptionError(
            f"{where}: there is no column '{column}'",
            hint=did_you_mean(column, schema.names, "columns"),
            subject="index",
        )
    t: Type = schema[schema.names.index(column)].type
    timed = t.is_timestamp or t.kind in _DEFAULTS
    if form is not None and not timed:
        raise OptionError(
            f"{where}: column '{column}' is {t.text()}, which is not written as '{form}'",
            hint=f"{{{column}}}",
            subject="index",
        )
    if timed:
        default = _DEFAULTS.get(t.kind, "%Y_%m_%d_%H_%M_%S")
        return Place(column, default if form is None else _strftime(form, where))
    if not (t.is_string or t.is_integer):
        raise OptionError(
            f"{where}: column '{column}' ({t.text()}) cannot stand in a name",
            hint="a text, a whole number or a time can",
            subject="index",
        )
    return Place(column, None)
