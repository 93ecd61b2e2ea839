"""Format 'csv': fields by position; append-only. What a record is says `csv_records.py`.

Blocks are split there. A whole file is read by DuckDB's read_csv where that splits alike: it is faster, and fails on
other files, which are then read in blocks, from the record on where it failed.

Fields are checked as in `conversion.py`. An empty field is the empty string for string columns and NULL for all
others. A record with more or fewer fields than the table has columns is malformed. `csv.header` is sqlstream's own:
the first line of each file holds the column names, which must be the table's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream import duck
from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.errors import DataError, NotSupported, OptionError
from sqlstream.formats.base import Decoder, Encoder, Examined, Format, Malformed, Sample
from sqlstream.formats.conversion import SQL_STANDARD, checked_not_null, convert, is_scalar, literal
from sqlstream.formats.csv_encode import CsvEncoder
from sqlstream.formats.csv_kernels import count_lines
from sqlstream.formats.csv_records import CsvRecords, CsvSyntax
from sqlstream.formats.csv_scan.plan import Wanted
from sqlstream.formats.csv_scan.recipe import CsvRecipe
from sqlstream.formats.inference import loses_digits, type_of_text
from sqlstream.formats.json import with_derived
from sqlstream.formats.json_inference import skips
from sqlstream.formats.readers import FILE, LONGEST_OBJECT, METADATA, Paths, csv_call
from sqlstream.formats.scan.recipe import Recipe
from sqlstream.options import Option
from sqlstream.types import BIGINT, DOUBLE, STRING, Schema, Type

_DELIMITERS = (",", ";", "\t", "|")  # that are told from a file
_OF_A_NAME = r"\s*[+-]?0\d+(\.\d*)?\s*"
_SHOWN = 80  # characters of a record in an error
PIECE = 2**18  # bytes: stays in the processor's cache


@dataclass(frozen=True)
class CsvDialect:
    """How fields are told apart, as options of the table say."""

    delimiter: str = ","
    quote: str = '"'  # '': none
    escape: str = ""  # '': a quote is doubled
    comments: bool = False
    null: str | None = None
    header: bool = False

    def syntax(self, width: int = 0) -> CsvSyntax:
        """What records of so many fields look like."""
        return CsvSyntax(self.delimiter, self.quote, self.escape, self.comments, width)

    def options(self, header: bool) -> str:
        """Options of read_csv but the columns."""
        escape = self.escape or self.quote
        # read_csv wants one; no field is this
        none = next(c for c in "\x02\x03\x04\x05" if c not in (self.delimiter, self.quote, self.escape)) * 9
        null = none if self.null is None else self.null
        return (
            f"header={str(header).lower()}, delim={literal(self.delimiter)}, "
            f"quote={literal(self.quote)}, escape={literal(escape)}, nullstr={literal(null)}"
        )


@dataclass(frozen=True)
class CsvDecoder(Decoder):
    """CSV to rows. `schema`: all columns that a record has, in order."""

    schema: Schema
    request: ScanRequest
    dialect: CsvDialect

    @property
    def statement(self) -> bool:
        """DuckDB's comments also begin within a line, its escapes stand only before quotes inside quotes, and it passes
        over empty lines of one column."""
        d = self.dialect
        ascii_only = (d.delimiter + d.quote).isascii()
        return ascii_only and not d.comments and not d.escape and len(self.schema) > 1

    def plain(self, file: Any) -> bool:
        """DuckDB passes over blanks before an opening quote, and fails where line ends differ, also inside quotes."""
        quote = self.dialect.quote.encode()
        carry, seen = b"", set[str]()
        while piece := file.read(PIECE):
            data = carry + piece
            carry = data[-1:] if data.endswith((b"\r", b" ")) else b""
            a = np.frombuffer(data, np.uint8)
            if quote and np.any((a == ord(" "))[:-1] & (a == quote[0])[1:]):
                return False
            seen |= _line_ends(data[:-1] if carry == b"\r" else data)
            if len(seen) > 1:
                return False
        return len(seen | {"CR"} if carry == b"\r" else seen) < 2

    @cached_property
    def _syntax(self) -> CsvSyntax:
        return self.dialect.syntax(len(self.schema))

    def records(self, paths: Paths, file: bool = False, block: bool = False, longest: int = LONGEST_OBJECT) -> str:
        values = ", ".join(self._values()) or "1 AS one"
        if block:
            return f"SELECT {values} FROM fields"
        also = f", {FILE}" if file else ""
        options = self.dialect.options(self.dialect.header)
        return f"SELECT {values}{also} FROM {csv_call(paths, len(self.schema), options, file)}"

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        columns = [
            f"{constants[c.path[1]]} AS c{i}" if c.path[0] == METADATA else f"c{i}"
            for i, c in enumerate(self.request.columns)
        ]
        return with_derived(f"SELECT {', '.join(columns) or '1 AS one'} FROM {records}", self.request)

    def head(self, block: bytes, complete: bool = True) -> int | None:
        if not self.dialect.header:
            return 0
        first = self._syntax.first(block, complete)
        if first is None:
            return 0 if complete else None
        size, names = first
        pairs = zip_longest(names, self.schema.names)
        # a column without a name, as pandas writes its index, may have any here
        if not all(n is not None and c is not None and n.strip() in ("", c) for n, c in pairs):
            raise DataError(
                f"the header is {', '.join(names)}, but the table's columns are {', '.join(self.schema.names)}",
                hint="name the columns in the order of the file, or set 'csv.header' = 'false'",
            )
        return size

    def cut(self, block: bytes | memoryview) -> int:
        return self._syntax.whole(block)

    def lines(self, block: bytes) -> int:
        return int(count_lines(np.frombuffer(block, np.uint8)))

    def fields(self, block: bytes) -> pa.RecordBatch | None:
        records = self._syntax.records(block)
        if records.bad:
            raise Malformed
        return self._columns(records)

    @cached_property
    def _recipe(self) -> CsvRecipe | None:
        wanted = (Wanted(f"c{i}", at, t) for i, at, t, _ in self._fields())
        return CsvRecipe.of(wanted, self._syntax, self.dialect.null)

    def scanned(self) -> Recipe | None:
        return self._recipe

    @property
    def records_are_rows(self) -> bool:
        return True

    def hint(self, reason: str) -> str | None:
        if not self.dialect.header and re.match(r"field (.+): \1 is not a ", reason):
            return "'csv.header' = 'true' takes the first line for the names of the columns"
        if "TIMESTAMP" in reason and re.search(r"\d{4}-\d\d-\d\dT\d\d:", reason):
            return (
                "csv has times with a blank; declare the column STRING, and CAST(REPLACE(x, 'T', ' ') AS TIMESTAMP(3))"
            )
        return None

    def examine(self, cursor: duckdb.DuckDBPyConnection, block: bytes) -> Examined | None:
        records = self._syntax.records(block)
        values = self._values(tolerant=True) or ["1 AS one"]
        checked = ", ".join([*values, f"{self._why()} AS _why"])
        given = duck.Given(cursor, "examined")
        out = given.run(f"SELECT {checked} FROM examined", self._columns(records))
        why = out.column("_why")
        bad = list(records.bad)
        for i in np.flatnonzero(pc.is_valid(why).to_numpy(zero_copy_only=False)):
            bad.append(records.refused(int(records.good[i]), why[int(i)].as_py()))
        bad.sort(key=lambda b: b.line)
        bad = [replace(b, after=b.after - n) for n, b in enumerate(bad)]  # without the bad ones before it
        return Examined(out.filter(pc.is_null(why)).drop_columns(["_why"]), bad)

    def _columns(self, records: CsvRecords) -> pa.RecordBatch:
        """The text of the columns that are asked for."""
        texts = records.columns(sorted({at for _, at, _, _ in self._fields()}))
        if self.dialect.null is None:
            return texts
        return _without(self.dialect.null, texts)

    def _fields(self) -> Iterator[tuple[int, int, Type, str]]:
        for i, c in enumerate(self.request.columns):
            if c.path[0] != METADATA:
                at = self.schema.names.index(c.path[0])
                text = f"x{at}" if c.type.is_string else f"nullif(x{at}, '')"
                yield i, at, c.type, text

    def _values(self, tolerant: bool = False) -> list[str]:
        out = []
        for i, _, t, text in self._fields():
            value = checked_not_null(t, convert(t, text))
            out.append(f"TRY({value}) AS c{i}" if tolerant else f"{value} AS c{i}")
        return out

    def _why(self) -> str:
        cases = []
        for _, at, t, text in self._fields():
            name = self.schema.names[at]
            if not t.nullable:
                cases.append(f"WHEN {text} IS NULL THEN {literal(f'field {name} is NULL but its column is NOT NULL')}")
            reason = f"concat({literal(f'field {name}: ')}, left(x{at}, 60), {literal(f' is not a {t.text()}')})"
            cases.append(f"WHEN {text} IS NOT NULL AND TRY({convert(t, text)}) IS NULL THEN {reason}")
        return f"CASE {' '.join(cases)} END" if cases else "CAST(NULL AS VARCHAR)"


def _without(null: str, texts: pa.RecordBatch) -> pa.RecordBatch:
    """With NULL for what means it."""
    none = pa.scalar(None, pa.string())
    arrays = [pc.if_else(pc.equal(a, null), none, a) if pa.types.is_string(a.type) else a for a in texts]
    return pa.RecordBatch.from_arrays(arrays, names=texts.schema.names)


def _line_ends(data: bytes) -> set[str]:
    """Which line ends there are; a CR at the end is one."""
    if b"\r" not in data:
        return {"LF"} if b"\n" in data else set()
    a = np.frombuffer(data + b"\0", np.uint8)
    returns = np.flatnonzero(a == 13)
    both = int(np.count_nonzero(a[returns + 1] == 10))
    kinds = {"CRLF": both, "CR": len(returns) - both, "LF": int(np.count_nonzero(a == 10)) - both}
    return {kind for kind, count in kinds.items() if count}


class CsvFormat(Format):
    """`'format' = 'csv'`: append-only, scalar columns only."""

    name = "csv"
    extension = "csv"
    options = (
        Option("csv.field-delimiter", "string", ",", "what stands between fields"),
        Option("csv.quote-character", "string", '"', "what encloses fields that need it"),
        Option("csv.disable-quote-character", "bool", False, "no quoting at all"),
        Option("csv.escape-character", "string", "", "what stands before a quote inside quotes; default: quotes are doubled"),
        Option("csv.allow-comments", "bool", False, "ignore lines that begin with #"),
        Option("csv.ignore-parse-errors", "bool", False, "skip malformed records (and count them) instead of failing",
               compared="nothing"),
        Option("csv.null-literal", "string", None, "the text that means NULL"),
        Option("csv.header", "bool", False, "whether the first line of a file holds the column names (not in Flink)"),
    )  # fmt: skip

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        self._check(table)
        return CsvDecoder(table.schema, request, dialect_of(options))

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        self._check(table)
        d = dialect_of(options)
        return CsvEncoder(table.schema, d.delimiter, d.quote, d.escape, d.null or "", d.header)

    def _check(self, table: TableContext) -> None:
        for c in table.schema:
            if not is_scalar(c.type):
                raise NotSupported(
                    f"table {table.name}: column {c.name} is {c.type}, which a csv file cannot hold",
                    hint="use format 'json' or 'parquet', or declare the column as STRING",
                )

    def whole(self, block: bytes, options: Mapping[str, Any]) -> int:
        return dialect_of(options).syntax().whole(block)

    def guess(
        self, cursor: duckdb.DuckDBPyConnection, sample: Sample, given: Mapping[str, str], options: Mapping[str, Any]
    ) -> dict[str, str]:
        wanted = {"csv.field-delimiter": "Delimiter", "csv.header": "HasHeader"}
        said = "csv.field-delimiter" in given
        delimiter = dialect_of(options).delimiter if said else _most_lines_have(sample.data(), options)
        also = f", delim={literal(delimiter)}" if delimiter is not None else ""
        try:
            (found,) = cursor.sql(
                f"SELECT {', '.join(wanted.values())} FROM sniff_csv({literal(sample.paths[0])}{also})"
            ).fetchall()
        except duckdb.Error:  # it has no idea of the file: the format's defaults say what is wrong with it
            return {} if said or delimiter is None else {"csv.field-delimiter": delimiter.replace("\t", "\\t")}
        texts = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in zip(wanted, found, strict=True)}
        known = {k: v for k, v in texts.items() if k == "csv.field-delimiter" and v in _DELIMITERS and not said}
        if sample.piped and self._of_lines(cursor, sample, {**options, **known}):
            texts["csv.header"] = "false"
        if texts["csv.field-delimiter"] not in _DELIMITERS:
            return {k: v for k, v in texts.items() if k == "csv.header" and k not in given}
        return {k: v.replace("\t", "\\t") for k, v in texts.items() if k not in given}

    def _of_lines(self, cursor: duckdb.DuckDBPyConnection, sample: Sample, options: Mapping[str, Any]) -> bool:
        """Whether it is lines of text, of which the first is one of them: without a delimiter, and no numbers or times below
        that it could be the name of."""
        d = dialect_of(options)
        _, first = d.syntax().first(sample.data(), complete=True) or (0, [])
        if len(first) != 1:
            return False
        tolerant = True  # `infer` says what is wrong
        cursor.register("lines", pa.Table.from_batches([self._texts(sample, 0, first, d, tolerant).slice(1)]))
        return type_of_text(cursor, "SELECT x0 FROM lines", "nullif(x0, '')", SQL_STANDARD) == STRING

    def infer(
        self, cursor: duckdb.DuckDBPyConnection, sample: Sample, options: Mapping[str, Any]
    ) -> list[tuple[str, Type]]:
        d = dialect_of(options)
        found = d.syntax().first(sample.data(), complete=True)
        if found is None:
            raise DataError(f"{sample.names[0]}: there is no record", hint="write the columns")
        _, first = found
        names = [(n.strip() if d.header else "") or f"f{i}" for i, n in enumerate(first)]
        tables = [self._texts(sample, i, first, d, skips(options, self.name)) for i in range(len(sample.paths))]
        cursor.register("sampled", pa.Table.from_batches(tables))
        texts = [f"nullif(x{i}, '')" for i in range(len(names))]
        data = "SELECT * FROM sampled"
        return [(n, _type(cursor, data, x)) for n, x in zip(names, texts, strict=True)]

    def _texts(self, sample: Sample, file: int, first: list[str], d: CsvDialect, tolerant: bool) -> pa.RecordBatch:
        """All fields of a file's records as text. DataError where a record has not the fields that the first one has."""
        records = d.syntax(len(first)).records(sample.data(file))
        name = sample.names[file]
        if records.bad and not tolerant:
            bad = records.bad[0]
            reason = bad.reason.replace(f"the table {len(first)} columns", f"and the first line of all {len(first)}")
            raise DataError(
                f"{name}, line {bad.line}: {reason}: {bad.text[:_SHOWN]}",
                hint="csv.field-delimiter (field_delimiter => ';') says what stands between fields, "
                "ignore_parse_errors => true passes over such lines",
            )
        texts = records.columns(range(len(first)))
        if d.header and texts.num_rows:
            head = [str(c[0].as_py()).strip() for c in texts]
            if head != [n.strip() for n in first]:
                raise DataError(
                    f"{name}: the header is {', '.join(head)}, but {sample.names[0]} has {', '.join(first)}",
                    hint="read files of other columns by themselves, or set csv.header to 'false'",
                )
            texts = texts.slice(1)
        if d.null is not None:
            texts = _without(d.null, texts)
        return texts


def _type(cursor: duckdb.DuckDBPyConnection, data: str, x: str) -> Type:
    """The type of a column whose text is `x`. Digits that a number would not keep make it a STRING: 00123 is the name of
    something, and a DOUBLE has not all of 99999999999999999999."""
    found = type_of_text(cursor, data, x, SQL_STANDARD)
    if found not in (BIGINT, DOUBLE):
        return found
    named = f"regexp_full_match({x}, {literal(_OF_A_NAME)})"
    if cursor.sql(f"SELECT 1 FROM ({data}) WHERE {named} LIMIT 1").fetchall():
        return STRING
    return STRING if found == DOUBLE and loses_digits(cursor, data, x) else found


def _most_lines_have(data: bytes, options: Mapping[str, Any]) -> str | None:
    """The delimiter that cuts the first line in as many fields as most others, but not all of them: the others are
    mistakes, which DuckDB would hide in a single column. None where one cuts all lines alike, or none does."""
    mostly = None
    for delimiter in _DELIMITERS:
        if delimiter in (options["csv.quote-character"], options["csv.escape-character"]):
            continue
        d = dialect_of({**options, "csv.field-delimiter": delimiter})
        _, first = d.syntax().first(data, complete=True) or (0, [])
        if len(first) < 2:
            continue
        records = d.syntax(len(first)).records(data)
        if not records.bad:
            return None
        if mostly is None and 2 * len(records.bad) < len(records):
            mostly = delimiter
    return mostly


def dialect_of(options: Mapping[str, Any]) -> CsvDialect:
    """The dialect that options describe; OptionError where characters are none, or have two meanings."""
    delimiter = _character("csv.field-delimiter", options)
    quote = "" if options["csv.disable-quote-character"] else _character("csv.quote-character", options)
    escape = _character("csv.escape-character", options) if options["csv.escape-character"] else ""
    null = options["csv.null-literal"]
    if delimiter in (quote, escape):
        other = "quote" if delimiter == quote else "escape"
        raise OptionError(f"csv.field-delimiter and csv.{other}-character are both {delimiter!r}")
    for what, c in (("field-delimiter", delimiter), ("quote-character", quote), ("escape-character", escape)):
        if null and c and c in null:
            raise OptionError(f"csv.null-literal {null!r} holds the csv.{what} {c!r}: no field could be it")
    if null and ("\n" in null or "\r" in null or "\0" in null):
        raise OptionError(f"csv.null-literal {null!r} holds a line end or NUL")
    return CsvDialect(delimiter, quote, escape, options["csv.allow-comments"], null, options["csv.header"])


def _character(key: str, options: Mapping[str, Any]) -> str:
    """The one character that option `key` is; escapes as in Java: \\t, \\u0001."""
    text = str(options[key])
    c = re.sub(r"\\(u+[0-9a-fA-F]{4}|[btnfr\\\"'])", _unescaped, text) if len(text) > 1 else text
    hint = "as in Flink: ',' or ';' or '|' or '\\t' or '\\u0001'"
    if len(c) != 1:
        more = "; csv.disable-quote-character = 'true' reads and writes without quotes" if "quote" in key else ""
        raise OptionError(f"{key} is one character, not {text!r}", hint=hint + more)
    if c in "\r\n\0" or c.isalnum():
        raise OptionError(f"{key} cannot be {c!r}: it is a letter, a digit, a line end or NUL", hint=hint)
    return c


def _unescaped(found: re.Match[str]) -> str:
    text = found[1]
    if text.startswith("u"):
        return chr(int(text.lstrip("u"), 16))
    return {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}.get(text, text)
