"""Format 'json': JSON lines, one object a record; append-only.

Fields are found by name; missing ones and NULLs are NULL. What is strict is in `conversion.py`. The encoder writes
as Flink does: fields in order, NULLs written, timestamps as 'yyyy-MM-dd HH:mm:ss.fraction', decimals with their
scale.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.formats.base import Decoder, Encoder, Examined, Format, Sample
from sqlstream.formats.conversion import ISO_STANDARD, SQL_STANDARD
from sqlstream.formats.json_encode import JsonEncoder
from sqlstream.formats.json_inference import infer_columns, skips, times_in
from sqlstream.formats.json_records import JsonRecords, Leaf, whole_lines
from sqlstream.formats.json_scan.recipe import JsonRecipe
from sqlstream.formats.messages import Refused, Texts
from sqlstream.formats.readers import LONGEST_OBJECT, METADATA, Paths
from sqlstream.formats.scan.recipe import Recipe
from sqlstream.formats.text_columns import TextColumns, is_fast
from sqlstream.options import Option
from sqlstream.types import Schema, Type

_STANDARD = "json.timestamp-format.standard"
_ISO_TIME = re.compile(rb'"\d{4}-\d\d-\d\dT\d\d:')


class ObjectDecoder(Decoder):
    """Of lines that are objects of JSON. `leaves`: what is wanted of them."""

    leaves: JsonRecords
    byte_order_mark = False

    def records(self, paths: Paths, file: bool = False, block: bool = False, longest: int = LONGEST_OBJECT) -> str:
        return self.leaves.sql(paths, file, longest)

    def cut(self, block: bytes | memoryview) -> int:
        return whole_lines(block)

    def bare(self, texts: Texts) -> tuple[Texts, list[Refused]]:
        return texts.unmarked(), []  # Jackson passes over a mark where a message begins

    def single_line(self, message: bytes) -> bytes:
        return message.replace(b"\n", b"\t")  # both are blanks between tokens, and neither may stand in a string

    def plain(self, file: Any) -> bool:
        return self.leaves.numbers.plain(file)

    def exact(self, block: bytes) -> bytes:
        return self.leaves.numbers.quoted(block)

    def examine(self, cursor: duckdb.DuckDBPyConnection, block: bytes) -> Examined | None:
        return self.leaves.examine(cursor, block)


@dataclass(frozen=True)
class JsonDecoder(ObjectDecoder):
    """Objects to rows. `leaves`: c0, c1, … as the request has them, but its METADATA columns."""

    leaves: JsonRecords
    request: ScanRequest
    name: str = "json"  # the format's

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        columns = [
            f"{constants[c.path[1]]} AS c{i}" if c.path[0] == METADATA else f"c{i}"
            for i, c in enumerate(self.request.columns)
        ]
        inner = f"SELECT {', '.join(columns) or '1 AS one'} FROM {records}"
        return with_derived(inner, self.request)

    def texts(self) -> TextColumns | None:
        fast = {leaf.name: leaf for leaf in self.leaves.leaves if is_fast(leaf.type)}
        if self.leaves.by_document or not fast:
            return None
        # only a column of its own is checked for NULL: a field may be missing with what it is in
        types = {n: x.type if len(x.path) == 1 else replace(x.type, nullable=True) for n, x in fast.items()}
        return TextColumns(tuple(types.get(f"c{i}") for i in range(len(self.request.columns))), self.leaves.standard)

    def resumed_texts(self, path: str, constants: Mapping[str, str], row: int) -> str:
        as_text = frozenset(leaf.name for leaf in self.leaves.leaves if is_fast(leaf.type))
        plain = JsonDecoder(replace(self.leaves, as_text=as_text), replace(self.request, derived=()))
        return plain.resumed(path, constants, row)

    def scanned(self) -> Recipe | None:
        return JsonRecipe.of(self.leaves)

    @property
    def records_are_rows(self) -> bool:
        return True

    def hint(self, reason: str) -> str | None:
        return timestamp_hint(self.name, self.leaves.standard, reason)


def timestamp_hint(format: str, standard: str, reason: str) -> str | None:
    """What to do about a record that is malformed for `reason`, when that is a time in another form than `standard`."""
    number = re.search(r": -?\d+ is not a (TIMESTAMP|DATE)", reason)
    if number is not None and number[1] == "DATE":
        return "of days since 1970: declare the column INT, and TIMESTAMPADD(DAY, x, DATE '1970-01-01') is the date"
    if number is not None:
        return "of milliseconds since 1970: declare the column BIGINT, and TO_TIMESTAMP_LTZ(x, 3) is the time"
    found = re.search(r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d\S*", reason)
    if found is None or "TIMESTAMP" not in reason:
        return None
    other = ISO_STANDARD if found[1] == "T" else SQL_STANDARD
    zoned = re.search(r"(Z|[+-]\d\d:?\d\d)$", found[0]) is not None
    hints = [f"'{format}.timestamp-format.standard' = '{other}' reads such times"] if other != standard else []
    if zoned and "TIMESTAMP_LTZ" not in reason:
        hints.append("a time with a zone is a TIMESTAMP_LTZ(3)")
    elif not zoned and "TIMESTAMP_LTZ" in reason:
        hints.append("a time without a zone is a TIMESTAMP(3)")
    return "; ".join(hints) or None


def with_derived(inner: str, request: ScanRequest, op: bool = False) -> str:
    """The rows layer's last step: c0, c1, …, the derived columns, then `_op`."""
    out = [f"c{i}" for i in range(len(request.columns))]
    out += [f"{expression} AS {alias}" for alias, expression in request.derived]
    out += ["_op"] if op else []
    return f"SELECT {', '.join(out) or 'one'} FROM ({inner})"


def options_of(name: str) -> tuple[Option, ...]:
    """The options of a format of this name whose records are objects of JSON."""
    return (
        Option(f"{name}.fail-on-missing-field", "bool", False, "whether a record without a field of the table is malformed"),
        Option(f"{name}.ignore-parse-errors", "bool", False, "skip malformed records (and count them) instead of failing",
               compared="nothing"),
        Option(f"{name}.timestamp-format.standard", "enum", SQL_STANDARD,
               "SQL: '2020-12-30 12:13:14.123'; ISO-8601: '2020-12-30T12:13:14.123'", (SQL_STANDARD, ISO_STANDARD)),
        Option(f"{name}.map-null-key.mode", "enum", "FAIL", "no effect: a MAP has no key that is NULL", ("FAIL", "DROP", "LITERAL")),
        Option(f"{name}.map-null-key.literal", "string", "null", "no effect: a MAP has no key that is NULL"),
        Option(f"{name}.decode.json-parser.enabled", "bool", True, "no effect: no other parser is faster here"),
        Option(f"{name}.encode.decimal-as-plain-number", "bool", False,
               "no effect: decimals are always written as plain numbers"),
        Option(f"{name}.encode.ignore-null-fields", "bool", False, "leave NULL fields out of what is written"),
    )  # fmt: skip


def records_of(name: str, request: ScanRequest, options: Mapping[str, Any]) -> JsonRecords:
    """What a request wants of records, by the options of a format of this name."""
    leaves = tuple(Leaf(f"c{i}", c.path, c.type) for i, c in enumerate(request.columns) if c.path[0] != METADATA)
    return JsonRecords(leaves, options[f"{name}.timestamp-format.standard"], options[f"{name}.fail-on-missing-field"])


def encoder_of(name: str, table: TableContext, options: Mapping[str, Any]) -> JsonEncoder:
    """By the options of a format of this name."""
    standard, ignore_null = options[f"{name}.timestamp-format.standard"], options[f"{name}.encode.ignore-null-fields"]
    return JsonEncoder(Schema(table.schema.columns), standard, ignore_null)


class JsonFormat(Format):
    """`'format' = 'json'`: append-only, for reading and writing."""

    name = "json"
    extension = "json"
    options = options_of("json")

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        return JsonDecoder(records_of(self.name, request, options), request)

    def guess(
        self, cursor: duckdb.DuckDBPyConnection, sample: Sample, given: Mapping[str, str], options: Mapping[str, Any]
    ) -> dict[str, str]:
        if _STANDARD in given or not _ISO_TIME.search(sample.data()):
            return {}
        tolerant = True  # `infer` says what is wrong
        found = {s: infer_columns(cursor, sample, s, tolerant) for s in (SQL_STANDARD, ISO_STANDARD)}
        most = max(
            found, key=lambda s: sum(map(times_in, (t for _, t in found[s])))
        )  # the first of equals: Flink's default
        return {} if most == SQL_STANDARD else {_STANDARD: most}

    def infer(
        self, cursor: duckdb.DuckDBPyConnection, sample: Sample, options: Mapping[str, Any]
    ) -> list[tuple[str, Type]]:
        return infer_columns(cursor, sample, options[_STANDARD], skips(options, self.name))

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        return encoder_of(self.name, table, options)
