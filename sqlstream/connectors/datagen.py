"""Connector 'datagen': made-up rows by the table's types, with Flink's options.

Row n is a function of (seed, n), whatever the batches, but for times, which are now when the row is made, or up to
max-past before; the position is {"row": n}. Each field is `random` (between
min and max, or of a length) or a `sequence` (from start to end, which bounds the table). Rows appear at
'rows-per-second'; in batch mode at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.derive import Derivation
from sqlstream.connectors.nexmark_strings import mix
from sqlstream.connectors.relation import register_splits
from sqlstream.contracts import Connector, ScanRequest, Source, SourceBatch, Split, SplitReader, TableContext
from sqlstream.errors import NotSupported, OptionError, did_you_mean
from sqlstream.options import Option, read
from sqlstream.types import Schema, Type

BATCH = 65_536
_LIMITS = {"TINYINT": 2**7, "SMALLINT": 2**15, "INT": 2**31, "BIGINT": 2**63}
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_DAY = 86_400_000_000
_FIELD_OPTIONS = {
    o.key: o
    for o in (
        Option("kind", "enum", "random", choices=("random", "sequence")),
        Option("min", "float"), Option("max", "float"),
        Option("max-past", "duration", 0), Option("length", "int", minimum=1), Option("var-len", "bool", False),
        Option("start", "int"), Option("end", "int"), Option("null-rate", "float", 0.0, minimum=0),
    )
}  # fmt: skip


@dataclass(frozen=True)
class FieldSpec:
    """How one field is made. `salt` tells its draws from other fields'."""

    type: Type
    salt: int
    settings: Mapping[str, Any]
    fields: tuple[FieldSpec, ...] = ()

    def values(self, rows: np.ndarray, seed: int, now: int) -> pa.Array:
        """The field in the rows of these numbers. `now`: µs, from which `max-past` counts back."""
        bits = mix(rows, seed * 1009 + self.salt)
        mask = None
        if rate := self.settings["null-rate"]:
            mask = (mix(rows, seed * 1009 + self.salt + 500) >> np.uint64(11)) < np.uint64(int(rate * 2**53))
        array = self._values(bits, rows, seed, now)
        if mask is None:
            return array
        return pc.if_else(pa.array(~mask), array, pa.nulls(len(array), array.type))

    def of_the_moment(self) -> bool:
        """Whether the same row has another value at another time."""
        return (
            self.type.is_timestamp or self.type.kind in ("DATE", "TIME") or any(f.of_the_moment() for f in self.fields)
        )

    def _values(self, bits: np.ndarray, rows: np.ndarray, seed: int, now: int) -> pa.Array:
        t, s = self.type, self.settings
        if t.kind == "ROW":
            arrays = [f.values(rows, seed, now) for f in self.fields]
            return pa.StructArray.from_arrays(arrays, fields=list(t.arrow()))
        if t.kind == "ARRAY":
            length = s["length"] or 3
            inner = (rows[:, None] * length + np.arange(length)).ravel()
            offsets = np.arange(0, len(inner) + 1, length, dtype=np.int32)
            return pa.ListArray.from_arrays(pa.array(offsets), self.fields[0].values(inner, seed, now)).cast(t.arrow())
        if s["kind"] == "sequence":
            number = s["start"] + rows
            return pa.array(number).cast(pa.string() if t.is_string else t.arrow())
        if t.kind == "BOOLEAN":
            return pa.array((bits >> np.uint64(63)).astype(bool))
        if t.is_integer:
            limit = _LIMITS[t.kind]
            low = -limit if s["min"] is None else int(s["min"])
            high = limit - 1 if s["max"] is None else int(s["max"])
            return pa.array((_below(bits, high - low + 1) + np.uint64(low % 2**64)).astype(np.int64)).cast(t.arrow())
        if t.kind in ("FLOAT", "DOUBLE"):
            unit = (bits >> np.uint64(11)).astype(np.float64) / 2**53
            least, most = s["min"] or 0.0, 1.0 if s["max"] is None else s["max"]
            return pa.array(least + unit * (most - least)).cast(t.arrow())
        if t.kind == "DECIMAL":
            scale = 10 ** (t.scale or 0)
            limit = 10 ** min(t.precision or 10, 18) - 1
            low = -limit if s["min"] is None else int(s["min"] * scale)
            high = limit if s["max"] is None else int(s["max"] * scale)
            number = (_below(bits, high - low + 1) + np.uint64(low % 2**64)).astype(np.int64)
            return _as_decimal(number, t)
        if t.is_timestamp:
            past = s["max-past"] // 1000
            step = 1000 if (t.precision or 0) >= 3 else 1_000_000
            us = now - _below(bits, past + 1).astype(np.int64) * 1000
            return pa.array(us // step * step).view(t.arrow())
        if t.kind == "DATE":
            return pa.array((_below(bits, now // _DAY + 1)).astype(np.int32)).view(pa.date32())
        if t.kind == "TIME":
            return pa.array(_below(bits, 86_400).astype(np.int64) * 1_000_000).view(pa.time64("us"))
        return self._text(bits, rows, seed)

    def _text(self, bits: np.ndarray, rows: np.ndarray, seed: int) -> pa.Array:
        limit = self.type.precision if self.type.precision and self.type.precision < 2**31 - 1 else 100
        length = self.settings["length"] or limit
        words = -(-length // 16)
        draws = mix((rows[:, None] * words + np.arange(words)).ravel(), seed * 1009 + self.salt + 250)
        nibbles = (draws[:, None] >> (np.arange(16, dtype=np.uint64) * np.uint64(4))) & np.uint64(15)
        letters = _HEX[nibbles].reshape(len(rows), words * 16)[:, :length]
        lengths = np.full(len(rows), length, np.int64)
        if self.settings["var-len"]:
            lengths = 1 + _below(bits, length).astype(np.int64)
        data = letters[np.arange(length) < lengths[:, None]]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        kind = pa.string() if self.type.is_string else pa.binary()
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
        return pa.Array.from_buffers(kind, len(rows), buffers)


def _below(bits: np.ndarray, n: int) -> np.ndarray:
    """A number in [0, n) of 64 random bits, as uint64; n = 2^64 keeps the bits."""
    if n <= 0:
        return np.zeros(len(bits), np.uint64)
    return bits if n >= 2**64 else bits % np.uint64(n)


def _as_decimal(unscaled: np.ndarray, t: Type) -> pa.Array:
    """Integers read as unscaled decimals: their 128-bit form, no arithmetic."""
    words = np.empty((len(unscaled), 2), np.int64)
    words[:, 0], words[:, 1] = unscaled, unscaled >> 63
    return pa.Array.from_buffers(t.arrow(), len(unscaled), [None, pa.py_buffer(words)])


class DatagenConnector(Connector):
    """`'connector' = 'datagen'`: for reading only."""

    name = "datagen"
    options = (
        Option("rows-per-second", "int", 10_000, "rows that appear in a second", minimum=1),
        Option("number-of-rows", "int", None, "rows in all; default: without end, unless a sequence ends", minimum=0),
        Option("seed", "int", 0, "another seed gives other rows"),
        Option(
            "fields.*", doc="fields.<name>.kind, .min, .max, .length, .var-len, .max-past, .null-rate, .start, .end"
        ),
    )

    def source(self, table: TableContext) -> Source:
        options = read(table.options, self.options, f"table {table.name}")
        settings = _settings(table, {k: v for k, v in options.items() if k.startswith("fields.")})
        specs = {c.name: _spec(c.type, c.name, settings, table, 1 + 4000 * i) for i, c in enumerate(table.schema)}
        return DatagenSource(table.schema, specs, options, table.seconds)


def _settings(table: TableContext, given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Settings of each field path ('a', 'a.b') that options speak of."""
    names = set(_paths(table.schema))
    out: dict[str, dict[str, Any]] = {}
    for key, text in given.items():
        path, _, setting = key.removeprefix("fields.").rpartition(".")
        if path not in names:
            raise OptionError(
                f"table {table.name}: option '{key}': there is no column '{path}'",
                hint=did_you_mean(path, names, "columns"),
            )
        if setting not in _FIELD_OPTIONS:
            raise OptionError(
                f"table {table.name}: unknown option '{key}'", hint=did_you_mean(setting, _FIELD_OPTIONS, "settings")
            )
        out.setdefault(path, {})[setting] = _FIELD_OPTIONS[setting].convert(text, f"table {table.name}: '{key}'")
    return out


def _paths(schema: Schema) -> list[str]:
    out = []

    def walk(name: str, t: Type) -> None:
        out.append(name)
        for f in t.fields:
            walk(f"{name}.{f.name}", f.type)

    for c in schema:
        walk(c.name, c.type)
    return out


def _spec(t: Type, path: str, settings: Mapping[str, Any], table: TableContext, salt: int) -> FieldSpec:
    where = f"table {table.name}: column {path}"
    if t.kind in ("MAP", "MULTISET", "INTERVAL_DAY", "INTERVAL_MONTH"):
        raise NotSupported(f"{where}: datagen makes no {t.kind}", hint="leave the column out and compute it in a query")
    own = {o.key: o.default for o in _FIELD_OPTIONS.values()} | settings.get(path, {})
    if own["kind"] == "sequence":
        if own["start"] is None or own["end"] is None:
            raise OptionError(f"{where}: a sequence needs options 'fields.{path}.start' and '.end'")
        if not (t.is_integer or t.is_string or t.kind in ("FLOAT", "DOUBLE", "DECIMAL")):
            raise OptionError(f"{where}: a sequence gives numbers or strings, not {t}")
    if own["min"] is not None and own["max"] is not None and own["min"] > own["max"]:
        raise OptionError(f"{where}: 'min' is greater than 'max'")
    if t.is_integer:
        limit = _LIMITS[t.kind]
        for key in ("min", "max"):
            if own[key] is not None and not -limit <= own[key] <= limit:
                raise OptionError(f"{where}: {key} is out of the range of {t}")
    if own["null-rate"] > 1:
        raise OptionError(f"{where}: 'null-rate' is a share between 0 and 1")
    children = tuple(
        _spec(f.type, f"{path}.{f.name}", settings, table, salt + 37 * (i + 1)) for i, f in enumerate(t.fields)
    )
    return FieldSpec(t, salt, own, children)


class DatagenSource(Source):
    """`clock`: seconds, paces the rows. `now`: µs, what the timestamps of a row lie before that is made then."""

    def __init__(
        self,
        schema: Schema,
        specs: Mapping[str, FieldSpec],
        options: Mapping[str, Any],
        seconds: Callable[[], float],
    ) -> None:
        self._specs = dict(specs)
        self._seed: int = options["seed"]
        self._rate: int = options["rows-per-second"]
        ends = [s.settings["end"] - s.settings["start"] + 1 for s in specs.values() if s.settings["kind"] == "sequence"]
        if options["number-of-rows"] is not None:
            ends.append(options["number-of-rows"])
        self._rows: int | None = max(min(ends), 0) if ends else None
        self.bounded = self._rows is not None
        self.clock: Callable[[], float] | None = seconds
        self.now: Callable[[], int] = _microseconds
        self.hurried = False

    def hurry(self, hurried: bool) -> None:
        self.hurried = hurried

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        moments = [name for name, spec in self._specs.items() if spec.of_the_moment()]
        return f"{moments[0]} of a datagen table is of the moment when a row is made" if moments else None

    def splits(self, known: tuple[Split, ...] = (), *checkpoint: Any) -> list[Split]:
        return list(known) or [Split("rows")]

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        start = int(position["row"]) if position else first_row
        return DatagenReader(self, start, request)

    def relation(self, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str:
        unpaced = DatagenSource.__new__(DatagenSource)
        now = self.now()  # one time for a query, which may scan the table more than once
        unpaced.__dict__.update(self.__dict__, clock=None, now=lambda: now)
        return register_splits(unpaced, connection, request)

    def batch(self, rows: np.ndarray, request: ScanRequest) -> pa.RecordBatch:
        """The requested columns of the rows of these numbers (int64); without any, column `one`."""
        schema = request.arrow_schema()
        arrays = []
        now = self.now()
        for c, f in zip(request.columns, schema, strict=True):
            array = self._specs[c.path[0]].values(rows, self._seed, now)
            t = self._specs[c.path[0]].type
            for name in c.path[1:]:
                at = [child.name for child in t.fields].index(name)
                array, t = pc.struct_field(array, at), t.fields[at].type
            arrays.append(array.cast(f.type))
        if not arrays:
            schema, arrays = pa.schema([("one", pa.int32())]), [pa.array(np.ones(len(rows), np.int32))]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _microseconds() -> int:
    return time.time_ns() // 1000


class DatagenReader(SplitReader):
    """Row after row from `start`; those that the rate does not let be yet come with a later poll."""

    def __init__(self, source: DatagenSource, start: int, request: ScanRequest) -> None:
        self._source, self._next, self._request = source, start, request
        self._derivation = Derivation(request)
        self._begun = start
        self._clock = None if source.hurried else source.clock
        self._zero = self._clock() if self._clock else 0.0

    def poll(self, max_rows: int) -> SourceBatch | None:
        count = most = min(max_rows, BATCH)
        if self._source._rows is not None:
            count = min(count, self._source._rows - self._next)
        if self._clock is not None:
            due = int((self._clock() - self._zero) * self._source._rate) + 1
            count = min(count, self._begun + due - self._next)
        if count <= 0:
            return None
        first = self._next
        self._next += count
        batch = self._source.batch(np.arange(first, self._next, dtype=np.int64), self._request)
        batch = self._derivation.of(batch)
        return SourceBatch(batch, first, {"row": self._next}, count < most and not self.finished)

    @property
    def finished(self) -> bool:
        return self._source._rows is not None and self._next >= self._source._rows
