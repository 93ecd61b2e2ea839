"""Connector 'print': one line a change on standard output, `+I[1, abc, null]`, as Flink prints rows.

Lines appear at the end of each epoch. They are for eyes: after a restart rows may be printed again.
"""

from __future__ import annotations

import datetime
import math
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import KIND_TEXT
from sqlstream.contracts import Connector, Sink, SinkTask, SinkWriter, TableContext
from sqlstream.errors import RunError
from sqlstream.formats.number_texts import number_texts
from sqlstream.options import Option, read
from sqlstream.types import Type


def value_text(value: Any, t: Type) -> str:
    """A value as Flink's print connector shows it (Java's toString of the row's external form)."""
    if value is None:
        return "null"
    if t.kind == "ROW":
        return "+I[" + ", ".join(value_text(value[f.name], f.type) for f in t.fields) + "]"
    if t.kind == "ARRAY":
        return "[" + ", ".join(value_text(v, t.element) for v in value) + "]"
    if t.kind == "MAP":
        return "{" + ", ".join(f"{value_text(k, t.fields[0].type)}={value_text(v, t.element)}" for k, v in value) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _java_float(value, t)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        text = value.replace(tzinfo=None).isoformat(timespec="microseconds")
        return _java_time(text, seconds=True) + "Z" if t.kind == "TIMESTAMP_LTZ" else _java_time(text)
    if isinstance(value, datetime.time):
        return _java_time(value.isoformat(timespec="microseconds"))
    if isinstance(value, bytes):
        return "[" + ", ".join(str(b - 256 if b > 127 else b) for b in value) + "]"
    return str(value)


def _java_time(text: str, seconds: bool = False) -> str:
    """The fraction in groups of three digits and, but for instants, no seconds when zero, as java.time prints."""
    whole, fraction = text.split(".")
    if fraction == "000000":
        return whole[:-3] if whole.endswith(":00") and not seconds else whole
    return f"{whole}.{fraction[:3] if fraction.endswith('000') else fraction}"


def _java_float(value: float, t: Type) -> str:
    """As functions/numbers.py has it in SQL."""
    if not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    single = t.kind == "FLOAT"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return np.format_float_positional(np.float32(value), trim="0") if single else repr(value)
    digits = str(np.float32(value)) if single else repr(value)
    if abs(value) < (1e-44 if single else 1e-322):
        digits = f"{value:.1e}"
    mantissa, exponent = f"{Decimal(digits):E}".split("E")
    mantissa = mantissa.rstrip("0") if "." in mantissa else mantissa
    mantissa = mantissa + "0" if mantissa.endswith(".") else mantissa if "." in mantissa else mantissa + ".0"
    return f"{mantissa}E{int(exponent)}"


def column_text(values: pa.Array, t: Type) -> pa.Array:
    """`value_text` of a column: the common types without a look at each value."""
    if t.is_integer or t.is_string or t.kind == "BOOLEAN":
        return values.cast(pa.string()).fill_null("null")
    if t.is_timestamp and (t.precision or 0) <= 3:
        zone = "Z" if t.kind == "TIMESTAMP_LTZ" else ""
        utc = values.cast(pa.timestamp(values.type.unit)).cast(pa.timestamp("ms"), safe=False)
        text = pc.utf8_replace_slice(utc.cast(pa.string()), 10, 11, "T")
        text = pc.replace_substring_regex(text, r"\.000$" if zone else r"(:00)?\.000$", "")
        return pc.binary_join_element_wise(text, zone, "").fill_null("null")
    if t.kind in ("FLOAT", "DOUBLE") and (texts := number_texts(values)) is not None:
        return pc.if_else(values.is_valid(), texts, "null")
    return pa.array([value_text(v, t) for v in values.to_pylist()], pa.string())


class PrintWriter(SinkWriter):
    """`out` is looked up at each flush, so that a redirected standard output is honoured."""

    def __init__(self, sink: PrintSink, subtask: int) -> None:
        self._sink = sink
        self._prefix = f"{sink.identifier}> " if sink.identifier else ""
        self._subtask = subtask
        self._lines: list[str] = []

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        types = [c.type for c in self._sink.table.schema]
        of_row = pa.scalar(KIND_TEXT[0]) if kinds is None else pa.array(KIND_TEXT).take(pa.array(kinds))
        heads = pc.binary_join_element_wise(self._prefix, of_row, "[", "")
        texts = [column_text(batch.column(i), t) for i, t in enumerate(types)]
        rows = pc.binary_join_element_wise(*texts, ", ")
        self._lines += pc.binary_join_element_wise(heads, rows, "]\n", "").to_pylist()

    def flush(self) -> None:
        out: TextIO | None = sys.stderr if self._sink.standard_error else sys.stdout
        if self._lines:
            if out is None:
                name = "standard error" if self._sink.standard_error else "standard output"
                raise RunError(f"table {self._sink.table.name}: {name} is closed", hint="start sqlstream with one")
            out.write("".join(self._lines))
            out.flush()
            self._lines.clear()

    def close(self) -> None:
        self._lines.clear()


@dataclass(frozen=True)
class PrintSink(Sink):
    """Takes any change."""

    table: TableContext
    identifier: str
    standard_error: bool
    changelog = True

    def writer(self, task: SinkTask) -> SinkWriter:
        return PrintWriter(self, task.subtask)


class PrintConnector(Connector):
    """`'connector' = 'print'`: for writing only."""

    name = "print"
    options = (
        Option("print-identifier", "string", "", "text put before each row, followed by '> '"),
        Option("standard-error", "bool", False, "print on standard error instead of standard output"),
    )

    def sink(self, table: TableContext) -> Sink:
        options = read(table.options, self.options, f"table {table.name}")
        return PrintSink(table, options["print-identifier"], options["standard-error"])
