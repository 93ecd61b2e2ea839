"""Connector 'filesystem': files of a format as a table, and a table's rows as files.

A file is one split, read in one order. Without `source.monitor-interval` the source is bounded: the files there are
when it starts. With it the source is unbounded: new files are picked up, and bytes appended to known ones.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import duckdb

from sqlstream.connectors.block_decoder import ToolPool
from sqlstream.connectors.file_reader import FileReader, FileScan, by_statement
from sqlstream.connectors.file_sink import FileSink
from sqlstream.connectors.fingerprint import piece, sample
from sqlstream.connectors.growing import UPTO, GrowingReader
from sqlstream.connectors.partition_commit import OPTIONS as PARTITION_OPTIONS
from sqlstream.connectors.partition_commit import partition_commit
from sqlstream.connectors.partitions import escaped, partitions_of
from sqlstream.connectors.paths import FileEntry, Root, absolute, compression_of, find_files, opens_by_name
from sqlstream.connectors.sampling import OPTIONS as SAMPLE_OPTIONS
from sqlstream.connectors.sampling import Told, guessed_format, no_data, told
from sqlstream.connectors.streams import is_stream, spooled
from sqlstream.connectors.tree import fixed_part
from sqlstream.connectors.watch import Watch
from sqlstream.contracts import (
    FAIL,
    SKIP,
    UNKNOWN,
    Connector,
    LookupCache,
    Pending,
    ScanRequest,
    Sink,
    Source,
    Split,
    SplitReader,
    TableContext,
)
from sqlstream.errors import CheckpointError, DataError, InternalError, NotSupported, OptionError
from sqlstream.formats.base import Format
from sqlstream.formats.conversion import literal
from sqlstream.formats.readers import FILE
from sqlstream.formats.registry import format_named, format_of
from sqlstream.formats.stretches import is_wanted, skips_files
from sqlstream.options import Option, read
from sqlstream.types import BIGINT, STRING, Type, timestamp_ltz

METADATA: dict[str, Type] = {
    "file.path": STRING.null(False),
    "file.name": STRING.null(False),
    "file.size": BIGINT.null(False),
    "file.modification-time": timestamp_ltz(3).null(False),
}


class FilesystemConnector(Connector):
    """`'connector' = 'filesystem'`: for reading and writing. A format's options are options of the table."""

    name = "filesystem"
    options = (
        Option("path", required=True, doc="a file, a directory or a glob; relative to the working directory, or a URL"),
        Option("format", required=True, doc="json, csv, parquet, avro, debezium-json, canal-json, maxwell-json or ogg-json"),
        Option("source.monitor-interval", "duration", None,
               "look for new files and appended bytes so often; makes the source unbounded", minimum=1,
               compared="presence"),
        Option("lookup.cache", "enum", "NONE",
               "what a lookup join that reads the table knows of it: NONE: files that change are read again before the "
               "next rows are joined; FULL: the files as they were when the job started, or were last reloaded",
               choices=("NONE", "FULL"), compared="nothing"),
        Option("lookup.full-cache.periodic-reload.interval", "duration", None,
               "with 'lookup.cache' = 'FULL': reload so often", minimum=1, compared="nothing"),
        Option("source.bad-records", "string", FAIL,
               "what becomes of malformed records: fail: the job does; skip: they are left out, and counted; else the name of "
               "the table that gets them, from jobs that write (INSERT): its columns are some of bad_table, bad_file, bad_line, "
               "bad_reason, bad_record (STRING), bad_bytes (BYTES), bad_time", compared="nothing"),
        Option("source.idle-when-superseded", "bool", True,
               "whether a growing file that was read to its end holds the watermark back no longer when a later one was "
               "begun since it was last written to", compared="nothing"),
        Option("sink.rolling-policy.file-size", "memory", 128 * 2**20, "size at which a part file is closed", minimum=1,
               compared="nothing"),
        Option("sink.rolling-policy.rollover-interval", "duration", 30 * 60 * 1_000_000,
               "a part file is closed when it is open for so long (and with each checkpoint)", minimum=1,
               compared="nothing"),
        Option("sink.rolling-policy.inactivity-interval", "duration", 30 * 60 * 1_000_000,
               "a part file is closed when nothing came for it for so long", minimum=1, compared="nothing"),
        Option("sink.rolling-policy.check-interval", "duration", 60 * 1_000_000,
               "how often the ages of part files are looked at", minimum=1, compared="nothing"),
        Option("auto-compaction", "bool", False,
               "refused when true: a checkpoint's files are published by rename, and merging them would be a step between "
               "that may half happen; longer checkpoint intervals give larger files", compared="nothing"),
        Option("compaction.file-size", "memory", None, "of 'auto-compaction': refused", minimum=1, compared="nothing"),
        Option("compaction.parallelism", "int", None, "no effect: of 'auto-compaction'", minimum=1, compared="nothing"),
        Option("sink.shuffle-by-partition.enable", "bool", False,
               "no effect: each task has a file of its own for a partition that it has rows of", compared="nothing"),
        Option("source.report-statistics", "enum", "all", "no effect: plans use no statistics", choices=("all", "none"),
               compared="nothing"),
        *PARTITION_OPTIONS,
        *SAMPLE_OPTIONS,
    )  # fmt: skip

    def known_options(self, given: Mapping[str, str]) -> tuple[Option, ...]:
        name = given.get("format")
        return self.options + (format_named(name).options if name is not None else ())

    def metadata(self, table: TableContext) -> Mapping[str, Type]:
        return METADATA

    def source(self, table: TableContext) -> Source:
        return FileSource(table, self._read(table))

    def sink(self, table: TableContext) -> Sink:
        options = self._read(table)
        if options["auto-compaction"] or options["compaction.file-size"] is not None:
            raise NotSupported(
                f"table {table.name}: 'auto-compaction': files are published by rename, whole or not at all, and merging "
                "them would be a step between",
                hint="a longer 'execution.checkpointing.interval' makes larger files; INSERT OVERWRITE in batch rewrites "
                "a partition as one",
            )
        path = absolute(options["path"], table.working_directory)
        partitions, data = partitions_of(table, options)
        return FileSink(table, data, options, path, format_of(table), partitions, partition_commit(partitions, options))

    def ddl_columns(self, table: TableContext) -> str | None:
        found = self.told(table, guesses=False)
        return ", ".join(f"`{name.replace('`', '``')}` {t}" for name, t in found.columns)

    def told(
        self,
        table: TableContext,
        guesses: bool,
        canceled: Callable[[], bool] = lambda: False,
        columns: bool = True,
    ) -> Told:
        """What the table's files say of themselves: its columns (unless they are known), and with `guesses` the options that it does not have,
        its format among them, and its partitions. `canceled` ends the wait for a pipe. DataError where they say nothing.
        """
        given = dict(table.options)
        if not guesses:
            format_of(table)
        path = absolute(given.get("path", ""), table.working_directory)
        there = find_files(path, table.stores) if given.get("path", "").strip() else []
        files = [f for f in there if f.size or is_stream(f.path)]
        guessed: dict[str, str] = {}
        if files and guesses and "format" not in given:
            said = f"read_json({literal(given['path'])}) says it, or read_csv, read_parquet, read_avro"
            guessed = guessed_format(files, table.stores, canceled, said)
        # an empty file has no format, yet its options are looked at
        table = replace(table, options={"format": "json", **given} if not files else {**guessed, **given})
        options = self._read(table)
        if not files:
            if not guesses:
                raise no_data(given["path"])
            raise no_data(given["path"], f"read_json({literal(given['path'])}, columns => 'a INT, b STRING') says them")
        found = told(table, files, format_of(table), options, guesses, canceled, fixed_part(path), columns)
        return replace(found, options={k: v for k, v in {**guessed, **found.options}.items() if k not in given})

    def _read(self, table: TableContext) -> dict[str, Any]:
        form = format_of(table)
        options = read(table.options, self.known_options(table.options), f"table {table.name}")
        if not options["path"].strip():
            raise OptionError(f"table {table.name}: option 'path' is empty")
        if options["lookup.full-cache.periodic-reload.interval"] is not None and options["lookup.cache"] != "FULL":
            raise OptionError(
                f"table {table.name}: option 'lookup.full-cache.periodic-reload.interval' is for 'lookup.cache' = 'FULL'",
                hint="without a cache files that change are read again at once",
            )
        self._check_bad_records(table, form, options)
        return options

    def _check_bad_records(self, table: TableContext, form: Format, options: dict[str, Any]) -> None:
        """Flink's option, for which `skip` is another word here, and ours say one thing."""
        key = f"{form.name}.ignore-parse-errors"
        given = options["source.bad-records"]
        if key not in options:
            if given != FAIL:
                raise OptionError(
                    f"table {table.name}: option 'source.bad-records' = '{given}': no record of a {form.name} file is "
                    "malformed by itself",
                    hint="leave it out",
                )
            return
        if not given.strip():
            raise OptionError(
                f"table {table.name}: option 'source.bad-records' is empty", hint="fail, skip, or a table's name"
            )
        if options[f"{form.name}.ignore-parse-errors"]:
            if "source.bad-records" in table.options and given != SKIP:
                raise OptionError(
                    f"table {table.name}: '{key}' = 'true' skips malformed records, and 'source.bad-records' is '{given}'",
                    hint=f"leave '{key}' out",
                )
            options["source.bad-records"] = SKIP


class FileSource(Source):
    """`clock` (seconds) paces the monitoring; tests set it."""

    def __init__(self, table: TableContext, options: Mapping[str, Any]) -> None:
        self._partitions, self._table = partitions_of(table, options)
        self._options = options
        self._format = format_of(table)
        self._path = absolute(options["path"], table.working_directory)
        self._root = Root(self._path, table.working_directory)
        self._interval: int | None = options["source.monitor-interval"]
        self.bounded = self._interval is None
        self.live = self.bounded and is_stream(self._path)
        self.append_only = not self._format.changelog
        self.bad_records = options["source.bad-records"]
        self.lookup = LookupCache(
            options["lookup.cache"] == "FULL", options["lookup.full-cache.periodic-reload.interval"]
        )
        self.clock = table.seconds
        self._watch: Watch | None = None
        self._pool = ToolPool()
        self._spools: dict[str, Any] = {}  # files with what came from streams, for batch queries
        self._canceled: threading.Event | None = None

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        t = self._table
        if self._interval is None:
            return self._unchanged(known) if known else self._found()
        if is_stream(self._path):
            raise DataError(
                f"table {t.name}: {self._path} is a pipe or a device, which is no file that grows",
                hint="leave 'source.monitor-interval' out: it is read for as long as it is written to",
            )
        if not known:
            find_files(self._path, t.stores)  # says what is wrong with the path
        self._watch = self._watching(self._interval)
        self._watch.begin(known, positions, finished)
        return [*known, *self._watch.new()]

    def _watching(self, interval: int) -> Watch:
        t = self._table
        appendable = self._format.decoder(t, ScanRequest(()), self._options).blocks
        supersedes = self._options["source.idle-when-superseded"]
        return Watch(self._root, t.stores, interval / 1e6, self.clock, appendable, supersedes)

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        t = self._table
        there = {f.path for f in find_files(self._path, t.stores)}
        if is_stream(self._path):
            return f"{self._path} is a pipe or a device: what was read of it is gone"
        if self._interval is None:
            try:
                self._unchanged(known)
            except CheckpointError as e:
                return e.message
            lost = [s for s in known if self._root.placed(s) not in there]
        else:
            watch = self._watching(self._interval)
            watch.begin(known, positions, finished)
            lost = [s for s in known if watch.files[s.id].path is None]
        gone = [str(s.info.get("path", s.id)) for s in lost]
        more = f" and {len(gone) - 1:,} more" if len(gone) > 1 else ""
        return f"table {t.name}: {gone[0]}{more} is gone, or no longer what was read" if gone else None

    def ended(self, known: tuple[Split, ...]) -> list[Split]:
        t = self._table
        if self._interval is None:
            return self.splits(known)
        now = {self._root.placed(s): s for s in self.splits()}
        out = []
        for split in known:
            path, size = self._root.placed(split), int(split.info["size"])
            there = now.get(path)
            if there is None or there.info["size"] < size or sample(path, size, t.stores) != split.info["sample"]:
                raise CheckpointError(
                    f"table {t.name}: {path} is gone, or is not the file that was read in batch mode",
                    hint="put it back, or start anew with --fresh",
                )
            if self._watch is not None and not self._watch.grows(path):
                out.append(there)
                continue
            if size and piece(path, size - 1, size, t.stores) not in (b"\n", b"\r"):
                raise CheckpointError(
                    f"table {t.name}: the last record that was read of {path} in batch mode has no end",
                    hint="records of files that grow end with a line break; start anew with --fresh",
                )
            out.append(Split(there.id, {**there.info, UPTO: size}, there.number))
        return out

    def look(self) -> None:
        if self._watch is not None:
            self._watch.look()

    def forgotten(self) -> list[str]:
        return [] if self._watch is None else self._watch.forgotten()

    def new_splits(self) -> list[Split]:
        if self._watch is None:
            return []
        self._watch.look()
        return self._watch.new()

    def pending(self, split: Split, position: Any) -> Pending:
        file = None if self._watch is None else self._watch.files.get(split.id)
        path, size = self._root.placed(split), int(split.info["size"]) if file is None else file.size
        if not size:  # as pipes have it
            return UNKNOWN if is_stream(path) else Pending(bytes=0)
        at = int((position or {}).get("byte", 0)) if compression_of(path) is None else 0
        return Pending(bytes=max(0, size - at))

    def notes(self) -> list[str]:
        return [] if self._watch is None else self._watch.notes()

    def _found(self) -> list[Split]:
        """The files of a bounded source, with what tells whether they are the same when a job goes on."""
        out = []
        for number, f in enumerate(self._files()):
            info = {"size": f.size, "modified": f.modified, "tag": f.tag, "sample": self._sample(f)}
            out.append(Split(self._root.name(f.path), self._root.kept(f.path) | info, number))
        return out

    def _files(self) -> list[FileEntry]:
        """The table's files; a success file is none."""
        success = self._options["sink.partition-commit.success-file.name"] if self._partitions else None
        found = find_files(self._path, self._table.stores)
        return [f for f in found if f.path.rpartition("/")[2] != success]

    def partitions(self) -> list[str]:
        if not self._partitions:
            return []
        found = (self._partitions.texts(f.path.rpartition("/")[0]) for f in self._files())
        return sorted({"/".join(f"{escaped(c)}={escaped(t)}" for c, t in p.items()) for p in found if p is not None})

    def _sample(self, f: FileEntry) -> str:
        return "" if is_stream(f.path) else sample(f.path, f.size, self._table.stores)

    def _unchanged(self, known: tuple[Split, ...]) -> list[Split]:
        """`known`, if no file was replaced since. One that is gone is an error only where it is still to be read."""
        t = self._table
        there = {f.path: f for f in self._files()}
        for split in known:
            f, info = there.get(self._root.placed(split)), split.info
            if f is None or (is_stream(f.path)) or (f.size, f.modified) == (info["size"], info["modified"]):
                continue
            same = f.size == info["size"] and f.tag == info.get("tag", "") and self._sample(f) == info.get("sample")
            if not same:
                raise CheckpointError(
                    f"table {t.name}: {f.path} is not the file that the checkpoint has read: it was replaced or changed "
                    f"({info['size']:,} bytes then, {f.size:,} now)",
                    hint="put the old file back, or start anew with --fresh; for files that grow set "
                    "'source.monitor-interval'",
                )
        return list(known)

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        path = self._root.placed(split)
        constants = self._constants(FileEntry(path, int(split.info["size"]), int(split.info["modified"])))
        request = self._partitions.request(request)
        scan = FileScan(
            self._spools[path].name if path in self._spools else path,
            self._format.decoder(self._table, request, self._options),
            request,
            constants,
            self._format.name,
            self.bad_records != FAIL,
            self._table.stores,
            self._pool,
            self.bad_table is not None,
            self._table.undeclared,
            path,
            int(split.info["size"]),
        )
        if self._interval is None:
            return FileReader(scan, position, first_row)
        if self._watch is None:
            raise InternalError("a reader of a growing source without its splits")
        file = self._watch.files.get(split.id)
        return GrowingReader(scan, position, first_row, self._watch, file, split.info.get(UPTO))

    def _constants(self, f: FileEntry) -> dict[str, str]:
        return {**file_constants(f), **self._partitions.constants(f.path)}

    def _spool(self, streams: list[str]) -> None:
        self._canceled = threading.Event()
        for path in streams:
            if path not in self._spools:
                self._spools[path] = spooled(path, self._canceled)

    def cancel(self) -> None:
        if self._canceled is not None:
            self._canceled.set()

    def relation(self, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str | None:
        request = self._partitions.request(request)
        files = self._files()
        if skips_files(request):
            files = [f for f in files if is_wanted(request, self._constants(f))]
        self._spool([f.path for f in files if is_stream(f.path)])
        decoder = self._format.decoder(self._table, request, self._options)
        fast = all(opens_by_name(f.path) and by_statement(f.path, decoder) for f in files)
        if not files or self.bad_records != FAIL or not fast:
            return None
        used = {c.path[1] for c in request.columns if c.path[0] == "$metadata"}
        constants = {}
        if used and len(files) == 1:
            constants = self._constants(files[0])
        elif used:
            by_file = {f.path: self._constants(f) for f in files}
            for key in used:
                pairs = ", ".join(f"{literal(path)}: {c[key]}" for path, c in by_file.items())
                constants[key] = f"(MAP {{{pairs}}})[{FILE}]"
        records = decoder.records(tuple(f.path for f in files), file=bool(used) and len(files) > 1)
        return f"({decoder.rows(f'({records})', constants)})"


def file_constants(f: FileEntry) -> dict[str, str]:
    """SQL of the metadata columns of a file."""
    path = os.fsencode(f.path).decode("utf-8", "replace")
    name = path.rstrip("/").rpartition("/")[2]
    return {
        "file.path": literal(path),
        "file.name": literal(name),
        "file.size": f"CAST({f.size} AS BIGINT)",
        "file.modification-time": f"to_timestamp({f.modified // 1000 * 1000} / 1000000.0)",
    }
