"""Connector 'filesystem': files of a format as a table, and a table's rows as files.

A file is one split, read in one order. Without `source.monitor-interval` the source is bounded: the files there are
when it starts. With it the source is unbounded: new files are picked up, and bytes appended to known ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import duckdb

from sqlstream.connectors.base import Connector, ScanRequest, Sink, Source, Split, SplitReader, TableContext
from sqlstream.connectors.file_reader import FileReader, FileScan, by_statement
from sqlstream.connectors.file_sink import FileSink
from sqlstream.connectors.growing import GrowingReader
from sqlstream.connectors.paths import FileEntry, absolute, find_files, is_local
from sqlstream.connectors.relation import register_splits
from sqlstream.errors import DataError, NotSupported, OptionError
from sqlstream.formats.conversion import literal
from sqlstream.formats.cursor import own_cursor
from sqlstream.formats.registry import format_named, format_of
from sqlstream.options import Option, read
from sqlstream.types import BIGINT, STRING, Type, timestamp_ltz

METADATA: dict[str, Type] = {
    "file.path": STRING.null(False),
    "file.name": STRING.null(False),
    "file.size": BIGINT.null(False),
    "file.modification-time": timestamp_ltz(3).null(False),
}


class FilesystemConnector(Connector):
    name = "filesystem"
    options = (
        Option("path", required=True, doc="a file, a directory or a glob; relative to the working directory, or a URL"),
        Option("format", required=True, doc="json, csv, parquet or debezium-json"),
        Option("source.monitor-interval", "duration", None,
               "look for new files and appended bytes so often; makes the source unbounded", minimum=1),
        Option("sink.rolling-policy.file-size", "memory", 128 * 2**20, "size at which a part file is closed", minimum=1),
    )  # fmt: skip

    def known_options(self, given: Mapping[str, str]) -> tuple[Option, ...]:
        name = given.get("format")
        return self.options + (format_named(name).options if name is not None else ())

    def metadata(self, table: TableContext) -> Mapping[str, Type]:
        return METADATA

    def source(self, table: TableContext) -> Source:
        if table.partitioned_by:
            raise NotSupported(
                f"table {table.name}: PARTITIONED BY cannot be read",
                hint="leave it out; the directory's name is in the METADATA column 'file.path'",
            )
        return FileSource(table, self._read(table))

    def sink(self, table: TableContext) -> Sink:
        options = self._read(table)
        if table.partitioned_by:
            raise NotSupported(
                f"table {table.name}: PARTITIONED BY cannot be written",
                hint="write one table a partition, each with its own path",
            )
        path = absolute(options["path"], table.working_directory)
        return FileSink(table, options, path, format_of(table))

    def ddl_columns(self, table: TableContext) -> str | None:
        options = self._read(table)
        path = absolute(options["path"], table.working_directory)
        files = [f for f in find_files(path, table.stores) if f.size]
        if not files:
            raise DataError(f"table {table.name}: no data in '{path}' to tell columns from", hint="write the columns")
        if not all(is_local(f.path) for f in files):
            raise NotSupported(f"table {table.name}: columns of remote files", hint="write the columns")
        source = "[" + ", ".join(literal(f.path) for f in files[:20]) + "]"
        try:
            columns = format_of(table).infer(own_cursor(), source, options)
        except duckdb.Error as e:
            raise DataError(f"'{path}': cannot tell the columns: {str(e).splitlines()[0]}") from e
        return ", ".join(f"`{name.replace('`', '``')}` {t}" for name, t in columns)

    def _read(self, table: TableContext) -> dict[str, Any]:
        form = format_of(table)
        options = read(table.options, self.known_options(table.options), f"table {table.name}")
        if not options["path"].strip():
            raise OptionError(f"table {table.name}: option 'path' is empty")
        options["ignore"] = bool(options.get(f"{form.name}.ignore-parse-errors"))
        return options


class FileSource(Source):
    """`clock` (seconds) paces the monitoring; tests set it."""

    def __init__(self, table: TableContext, options: Mapping[str, Any]) -> None:
        self._table = table
        self._options = options
        self._format = format_of(table)
        self._path = absolute(options["path"], table.working_directory)
        self._interval: int | None = options["source.monitor-interval"]
        self.bounded = self._interval is None
        self.append_only = not self._format.changelog
        self.clock: Callable[[], float] = time.monotonic
        self._listed: float | None = None
        self.failure: Exception | None = None

    def splits(self, known: tuple[Split, ...] = ()) -> list[Split]:
        if self._interval is not None:
            now = self.clock()
            if known and self._listed is not None and now - self._listed < self._interval / 1_000_000:
                return list(known)
            self._listed = now
        out = list(known)
        ids = {s.id for s in known}
        number = max((s.number for s in known), default=-1) + 1
        try:
            found = find_files(self._path, self._table.stores)
        except DataError:
            if known:  # all deleted after they were taken in
                return out
            raise
        for f in found:
            if f.path not in ids:
                out.append(Split(f.path, {"size": f.size, "modified": f.modified}, number))
                number += 1
        return out

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        constants = file_constants(FileEntry(split.id, int(split.info["size"]), int(split.info["modified"])))
        scan = FileScan(
            split.id,
            self._format.decoder(self._table, request, self._options),
            request,
            constants,
            self._format.name,
            self._options["ignore"],
            self._table.stores,
        )
        if self._interval is None:
            return FileReader(scan, position, first_row)
        return GrowingReader(scan, position, first_row, self._interval / 1_000_000, self.clock)

    def relation(self, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str:
        files = find_files(self._path, self._table.stores)
        decoder = self._format.decoder(self._table, request, self._options)
        fast = all(is_local(f.path) and by_statement(f.path, decoder) for f in files)
        if not files or self._options["ignore"] or not fast:
            return register_splits(self, connection, request)
        used = {c.path[1] for c in request.columns if c.path[0] == "$metadata"}
        source = "[" + ", ".join(literal(f.path) for f in files) + "]"
        constants = {}
        if used and len(files) == 1:
            constants = file_constants(files[0])
        elif used:
            by_file = {f.path: file_constants(f) for f in files}
            for key in used:
                pairs = ", ".join(f"{literal(path)}: {c[key]}" for path, c in by_file.items())
                constants[key] = f"(MAP {{{pairs}}})[_file]"
        records = decoder.records(source, file=bool(used) and len(files) > 1)
        return f"({decoder.rows(f'({records})', constants)})"


def file_constants(f: FileEntry) -> dict[str, str]:
    """SQL of the metadata columns of a file."""
    name = f.path.rstrip("/").rpartition("/")[2]
    return {
        "file.path": literal(f.path),
        "file.name": literal(name),
        "file.size": f"CAST({f.size} AS BIGINT)",
        "file.modification-time": f"to_timestamp({f.modified // 1000 * 1000} / 1000000.0)",
    }
