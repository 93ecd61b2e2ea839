"""Format 'csv': one record a line, fields by position; append-only.

Fields are checked as in `conversion.py`. An empty field is the empty string for string columns and NULL for all
others. A record with more or fewer fields than the table has columns is malformed. `csv.header` is sqlstream's own:
the first line of each file holds the column names, which must be the table's.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.base import ScanRequest, TableContext
from sqlstream.errors import DataError, NotSupported
from sqlstream.formats.base import Bad, Decoder, Encoder, Examined, Format
from sqlstream.formats.conversion import SQL_STANDARD, checked_not_null, convert, is_scalar, literal, quoted
from sqlstream.formats.csv_encode import CsvEncoder
from sqlstream.formats.inference import column_type, settled
from sqlstream.formats.json import METADATA, with_derived
from sqlstream.options import Option
from sqlstream.types import Schema, Type

NO_NULL = "\x01no null literal\x01"  # read_csv wants one; no field is this


@dataclass(frozen=True)
class CsvDialect:
    delimiter: str = ","
    quote: str = '"'  # '': none
    escape: str = ""  # '': a quote is doubled
    comments: bool = False
    null: str | None = None
    header: bool = False

    def options(self, header: bool) -> str:
        """Options of read_csv but the columns."""
        escape = self.escape or self.quote
        null = NO_NULL if self.null is None else self.null
        return (
            f"auto_detect=false, header={str(header).lower()}, delim={literal(self.delimiter)}, "
            f"quote={literal(self.quote)}, escape={literal(escape)}, nullstr={literal(null)}, "
            "max_line_size=67108864"
        )

    def reader(self, text: str) -> Any:
        """Python's reader of the same dialect, to find what is malformed."""
        return csv.reader(
            io.StringIO(text, newline=""),
            delimiter=self.delimiter,
            quotechar=self.quote or None,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar=self.escape or None,
            doublequote=not self.escape,
            strict=True,
        )


@dataclass(frozen=True)
class CsvDecoder(Decoder):
    schema: Schema
    request: ScanRequest
    dialect: CsvDialect

    @property
    def statement(self) -> bool:
        return not self.dialect.comments  # DuckDB's comments also begin within a line; ours only at its start

    def records(self, source: str, file: bool = False, block: bool = False) -> str:
        columns = ", ".join(f"'x{i}': 'VARCHAR'" for i in range(len(self.schema)))
        options = self.dialect.options(self.dialect.header and not block) + (", filename='_file'" if file else "")
        also = ", _file" if file else ""
        return f"SELECT {', '.join(self._values()) or '1 AS one'}{also} FROM read_csv({source}, columns={{{columns}}}, {options})"

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        columns = [
            f"{constants[c.path[1]]} AS c{i}" if c.path[0] == METADATA else f"c{i}"
            for i, c in enumerate(self.request.columns)
        ]
        return with_derived(f"SELECT {', '.join(columns) or '1 AS one'} FROM {records}", self.request)

    def head(self, block: bytes) -> int:
        if not self.dialect.header or not block:
            return 0
        end = block.find(b"\n")
        line = block if end < 0 else block[: end + 1]
        names: list[str] = next(self.dialect.reader(line.decode("utf-8", "replace").strip("\r\n")), [])
        if [n.strip() for n in names] != list(self.schema.names):
            raise DataError(
                f"the header is {', '.join(names)}, but the table's columns are {', '.join(self.schema.names)}",
                hint="name the columns in the order of the file, or set 'csv.header' = 'false'",
            )
        return len(line)

    def cut(self, block: bytes) -> int:
        """After the last newline that is not inside quotes: an even number of quotes stands before it."""
        if not self.dialect.quote:
            return block.rfind(b"\n") + 1
        quote = self.dialect.quote.encode()
        text = block.replace((self.dialect.escape.encode() + quote), b"xx") if self.dialect.escape else block
        if text.count(quote) == 0:
            return text.rfind(b"\n") + 1
        data = np.frombuffer(text, np.uint8)
        newlines = np.flatnonzero(data == 10)
        even = np.searchsorted(np.flatnonzero(data == quote[0]), newlines) % 2 == 0
        return int(newlines[even][-1]) + 1 if even.any() else 0

    def clean(self, block: bytes) -> bytes:
        if not self.dialect.comments or b"#" not in block:
            return block
        return b"".join(line for line in block.splitlines(keepends=True) if not line.startswith(b"#"))

    def examine(self, cursor: duckdb.DuckDBPyConnection, block: bytes) -> Examined | None:
        text = block.decode("utf-8", "replace")
        lines = text.split("\n")
        fields: list[list[str | None]] = [[] for _ in self.schema]
        numbers: list[tuple[int, int]] = []
        bad: list[Bad] = []
        for first, last, values in self._records(text):
            shown = "\n".join(lines[first - 1 : last])
            if isinstance(values, str):
                bad.append(Bad(first, values, shown))
            elif "�" in shown:
                bad.append(Bad(first, "it is not UTF-8", shown))
            elif len(values) != len(self.schema):
                bad.append(Bad(first, f"it has {len(values)} fields, the table {len(self.schema)} columns", shown))
            else:
                numbers.append((first, last))
                for column, value in zip(fields, values, strict=True):
                    column.append(None if value == self.dialect.null else value)
        table = pa.table({f"x{i}": pa.array(v, pa.string()) for i, v in enumerate(fields)})
        cursor.register("examined", table)
        checked = ", ".join([*self._values(tolerant=True), f"{self._why()} AS _why"])
        out = cursor.sql(f"SELECT {checked} FROM examined").to_arrow_table()
        cursor.unregister("examined")
        why = out.column("_why").to_pylist()
        for (first, last), reason in zip(numbers, why, strict=True):
            if reason is not None:
                bad.append(Bad(first, reason, "\n".join(lines[first - 1 : last])))
        bad.sort(key=lambda b: b.line)
        good = pc.is_null(out.column("_why"))
        return Examined(out.filter(good).drop_columns(["_why"]), bad)

    def _records(self, text: str) -> Iterator[tuple[int, int, list[str] | str]]:
        """(first line, last line, fields or what is wrong) of each record."""
        if self.dialect.comments:
            text = "\n".join("" if line.startswith("#") else line for line in text.split("\n"))
        reader = self.dialect.reader(text)
        last = 0
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as e:
                yield last + 1, reader.line_num, str(e)
            else:
                if values:
                    yield last + 1, reader.line_num, values
            last = reader.line_num

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


class CsvFormat(Format):
    name = "csv"
    extension = "csv"
    options = (
        Option("csv.field-delimiter", "string", ",", "what stands between fields"),
        Option("csv.quote-character", "string", '"', "what encloses fields that need it"),
        Option("csv.disable-quote-character", "bool", False, "no quoting at all"),
        Option("csv.escape-character", "string", "", "what stands before a quote inside quotes; default: quotes are doubled"),
        Option("csv.allow-comments", "bool", False, "ignore lines that begin with #"),
        Option("csv.ignore-parse-errors", "bool", False, "skip malformed records (and count them) instead of failing"),
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

    def infer(
        self, cursor: duckdb.DuckDBPyConnection, source: str, options: Mapping[str, Any]
    ) -> list[tuple[str, Any]]:
        d = dialect_of(options)
        escape = d.escape or d.quote
        dialect = f"delim={literal(d.delimiter)}, quote={literal(d.quote)}, escape={literal(escape)}"
        null = "" if d.null is None else f", nullstr={literal(d.null)}"
        comment = ", comment='#'" if d.comments else ""
        csv_options = f"header={str(d.header).lower()}, {dialect}{null}{comment}"
        relation = cursor.sql(f"SELECT * FROM read_csv({source}, {csv_options})")
        names = relation.columns
        out = []
        for i, (name, t) in enumerate(zip(names, map(column_type, relation.types), strict=True)):
            data = f"SELECT nullif({quoted(name)}, '') AS x FROM read_csv({source}, all_varchar=true, {csv_options})"
            out.append((name if d.header else f"f{i}", settled(cursor, data, "x", t, SQL_STANDARD)))
        return out


def dialect_of(options: Mapping[str, Any]) -> CsvDialect:
    delimiter = options["csv.field-delimiter"].encode().decode("unicode_escape")
    return CsvDialect(
        delimiter,
        "" if options["csv.disable-quote-character"] else options["csv.quote-character"],
        options["csv.escape-character"],
        options["csv.allow-comments"],
        options["csv.null-literal"],
        options["csv.header"],
    )
