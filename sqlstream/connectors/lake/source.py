"""A table of a lake as a source: each of its files is a split, whose rows are read as those of any Parquet file.

Bounded: the files of a version. Growing: those, or none, and then the files that each later version adds; a mark without rows
stands for the version at which it began, so that a job that is stopped before anything came goes on from there.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import duckdb

from sqlstream import stores as remote
from sqlstream.connectors.block_decoder import ToolPool
from sqlstream.connectors.file_reader import NO_ROWS, FileReader, FileScan
from sqlstream.connectors.lake.columns import Names, physical
from sqlstream.connectors.lake.discovery import Discovery
from sqlstream.connectors.lake.pruning import Known, judge, looked_at
from sqlstream.connectors.partitions import PARTITION
from sqlstream.connectors.paths import is_local, opens_by_name
from sqlstream.contracts import (
    Passed,
    Pending,
    ScanColumn,
    ScanRequest,
    Source,
    SourceBatch,
    Split,
    SplitReader,
    TableContext,
)
from sqlstream.errors import CheckpointError, DataError, InternalError
from sqlstream.formats.conversion import literal
from sqlstream.formats.readers import FILE
from sqlstream.formats.registry import format_named

AT = "at"  # in the info of a split: the version that it came with
TABLE = "table"  # in that of a mark: which table it is


@dataclass(frozen=True)
class LakeFile:
    """A data file of a version. `info`: what its split keeps, JSON-able; `path`: as it is opened; `constants`: SQL of columns that
    have one value in all of its rows and need not stand in it, by name; `names`: of its columns (None: the table's); `plain`:
    whether it is its rows, all of them and nothing else."""

    path: str
    rows: int | None
    constants: Mapping[str, str] = field(default_factory=dict)
    names: Names | None = None
    plain: bool = True


class LakeSource(Source):
    """Override what says which files there are. `interval`: seconds between two looks; None: it is bounded."""

    def __init__(self, table: TableContext, interval: float | None) -> None:
        self.table = table
        self.interval = interval
        self.bounded = interval is None
        self._pool = ToolPool()
        self._discovery: Discovery | None = None
        self._lock = threading.Lock()
        self._next = 0  # number of the next split
        self._last: Any = None  # the version that was looked at last
        self._identity: str | None = None
        self._done: list[tuple[str, Any]] = []  # splits that were read to their ends, and their versions
        self._forgotten: list[str] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_discovery": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self.table.name}"

    # ---- what a connector says

    def whole(self) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        """The version that is read (JSON-able), and its files: the id and the info of a split for each."""
        raise InternalError("LakeSource.whole")

    def beginning(self) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        """Of a growing source: the version behind which it follows, and the files that are read before."""
        return self.whole()

    def later(self, version: Any) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        """The newest version, and the files that came after `version`, in the order in which they came."""
        raise InternalError("LakeSource.later")

    def identity(self) -> str | None:
        """What the table has, and one that is made in its place has not."""
        return None

    def file(self, split: Split, request: ScanRequest) -> LakeFile:
        """The file of a split."""
        raise InternalError("LakeSource.file")

    def special(self, split: Split, file: LakeFile, position: Any, request: ScanRequest, first_row: int) -> SplitReader:
        """A reader of a file that is not plain."""
        raise InternalError("LakeSource.special")

    def known(self, splits: Sequence[Split], columns: Collection[str]) -> Mapping[str, Known]:
        """What the log says of some of the columns of these files."""
        return {}

    # ---- splits

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        self._next = max((s.number + 1 for s in known), default=0)
        if self.interval is None:
            return list(known) if known else self._numbered(*self.whole())
        if known:
            newest = max(known, key=lambda s: s.number)
            self._last, self._identity = newest.info[AT], self.identity()
            if newest.info.get(TABLE) not in (None, self._identity):
                raise CheckpointError(
                    f"{self.where}: it is another table than the one that was read: it was made anew meanwhile",
                    hint="start anew with --fresh",
                )
            self._done = [(s.id, s.info[AT]) for s in known if s.id in finished]
            self._begin()
            return [*known, *self._look()]
        version, files = self.beginning()
        self._last, self._identity = version, self.identity()
        self._begin()
        return self._numbered(version, [*files, self._mark(version)])

    def _mark(self, version: Any) -> tuple[str, dict[str, Any]]:
        return f"@{version}", {} if self._identity is None else {TABLE: self._identity}

    def _begin(self) -> None:
        assert self.interval is not None
        self._discovery = Discovery(self._look, self.interval, self.table.seconds, self.table.name)

    def _look(self) -> list[Split]:
        version, files = self.later(self._last)
        if version == self._last:
            return []
        self._last = version
        return self._numbered(version, [*files, self._mark(version)])

    def _numbered(self, version: Any, files: list[tuple[str, dict[str, Any]]]) -> list[Split]:
        """A mark, which is the last one, is never forgotten before a later one is there."""
        out = []
        for name, info in files:
            out.append(Split(name, {AT: version, **info}, self._next))
            self._next += 1
        return out

    def new_splits(self) -> list[Split]:
        return [] if self._discovery is None else self._discovery.new()

    def pending(self, split: Split, position: Any) -> Pending:
        return Share.of(split).behind(position)

    def notes(self) -> list[str]:
        return [] if self._discovery is None else self._discovery.notes()

    def forgotten(self) -> list[str]:
        with self._lock:
            gone = [name for name, version in self._done if version != self._last]
            self._done = [d for d in self._done if d[1] == self._last]
        return gone

    def done(self, split: Split) -> None:
        """It was read to its end."""
        with self._lock:
            self._done.append((split.id, split.info[AT]))

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        for split in known:
            if is_mark(split):
                continue
            path = self.file(split, ScanRequest(())).path
            if not _exists(path, self.table.stores):
                return f"{self.where}: {path}, a file of version {split.info[AT]}, was removed (VACUUM, or expired snapshots)"
        return None

    # ---- reading

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        if is_mark(split):
            return Finished(self, split, None)
        file = self.file(split, request)
        asked = self.asked(request, file)
        if file.plain and request.skip is not None and file.rows is not None:
            (found,) = judge(asked, self.known([split], looked_at(request)), [self.constants(file)])
            if found.skipped:
                assert found.mark is not None
                at = int(position["row"]) if position else first_row
                return Finished(self, split, Passed(max(file.rows - at, 0), found.mark, files=1), at, file.rows)
        if is_local(file.path) and not _exists(file.path, self.table.stores):
            raise self.gone(file.path)
        if not file.plain:
            return Finishing(self.special(split, file, position, request, first_row), self, split, position)
        return Finishing(FileReader(self.scan(file, asked), position, first_row), self, split, position)

    def asked(self, request: ScanRequest, file: LakeFile) -> ScanRequest:
        """The request, with columns that are constants of the file as metadata."""
        columns = tuple(
            ScanColumn(("$metadata", PARTITION + c.path[0]), c.type)
            if len(c.path) == 1 and c.path[0] in file.constants
            else c
            for c in request.columns
        )
        return replace(request, columns=columns)

    def named(self, asked: ScanRequest, file: LakeFile) -> ScanRequest:
        """In the file's own names."""
        return asked if file.names is None else physical(asked, file.names)

    def constants(self, file: LakeFile) -> dict[str, str]:
        """As a scan has them."""
        return {PARTITION + n: sql for n, sql in file.constants.items()}

    def scan(self, file: LakeFile, asked: ScanRequest) -> FileScan:
        """How the file is read."""
        parquet, asked = format_named("parquet"), self.named(asked, file)
        return FileScan(
            file.path,
            parquet.decoder(self.table, asked, {}),
            asked,
            self.constants(file),
            "parquet",
            False,
            self.table.stores,
            self._pool,
        )

    def relation(self, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str | None:
        """One statement over all files, where each is a plain one that DuckDB opens and whose columns have the same names."""
        splits = self.splits()
        files = [self.file(s, request) for s in splits]
        if not files or not all(f.plain and opens_by_name(f.path) for f in files):
            return None
        if any(f.names != files[0].names or f.constants.keys() != files[0].constants.keys() for f in files):
            return None
        asked = self.asked(request, files[0])
        constants = [self.constants(f) for f in files]
        if request.skip is not None:
            wanted = [not j.skipped for j in judge(asked, self.known(splits, looked_at(request)), constants)]
            if not any(wanted):
                return None  # a statement over no file has no columns
            files = [f for f, w in zip(files, wanted, strict=True) if w]
            constants = [c for c, w in zip(constants, wanted, strict=True) if w]
        if missing := next((f.path for f in files if not _exists(f.path, self.table.stores)), None):
            raise self.gone(missing)
        asked = self.named(asked, files[0])
        decoder = format_named("parquet").decoder(self.table, asked, {})
        used = {c.path[1] for c in asked.columns if c.path[0] == "$metadata"}
        sql = dict(constants[0]) if len(files) == 1 else {}
        if len(files) > 1:
            for key in used:
                pairs = ", ".join(f"{literal(f.path)}: {c[key]}" for f, c in zip(files, constants, strict=True))
                sql[key] = f"(MAP {{{pairs}}})[{FILE}]"
        records = decoder.records(tuple(f.path for f in files), file=bool(used) and len(files) > 1)
        return f"({decoder.rows(f'({records})', sql)})"

    def gone(self, path: str) -> DataError:
        """A file that the log names is not there."""
        return DataError(
            f"{self.where}: {path}, which the table's log names, is not there",
            hint="it was removed by hand, or by VACUUM or the expiry of snapshots while it was still wanted",
        )


@dataclass(frozen=True)
class Share:
    """How large a split's file is, as the table's log says it: rows, and bytes, of which a row is taken to have its share."""

    rows: int
    bytes: int

    @staticmethod
    def of(split: Split) -> Share:
        """A mark has nothing."""
        return Share(int(split.info.get("rows") or 0), int(split.info.get("size") or 0))

    def before(self, position: Any) -> int:
        """Bytes before a position."""
        at = min(int((position or {}).get("row", 0)), self.rows)
        return self.bytes * at // self.rows if self.rows else 0

    def behind(self, position: Any) -> Pending:
        """What is behind a position."""
        at = int((position or {}).get("row", 0))
        return Pending(max(0, self.rows - at), self.bytes - self.before(position))


class Finishing(SplitReader):
    """A reader, of which the source is told when it has ended."""

    def __init__(self, rows: SplitReader, source: LakeSource, split: Split, position: Any) -> None:
        self._rows, self._source, self._split = rows, source, split
        self._share = Share.of(split)
        self._begin, self._position = self._share.before(position), position
        self._told = False

    @property
    def bytes_read(self) -> int:
        return (self._share.bytes if self.finished else self._share.before(self._position)) - self._begin

    @property
    def pending(self) -> Pending:
        return Pending(0, 0) if self.finished else self._share.behind(self._position)

    def poll(self, max_rows: int) -> SourceBatch | None:
        got = self._rows.poll(max_rows)
        if got is not None:
            self._position = got.position
        if got is None and self._rows.finished and not self._told:
            self._told = True
            self._source.done(self._split)
        return got

    @property
    def finished(self) -> bool:
        return self._rows.finished

    def close(self) -> None:
        self._rows.close()


class Finished(SplitReader):
    """Of a split that has no rows that are wanted. `passed`: those that are passed over, from row `at` on."""

    def __init__(self, source: LakeSource, split: Split, passed: Passed | None, at: int = 0, rows: int = 0) -> None:
        self._source, self._split, self._passed, self._at, self._rows = source, split, passed, at, rows
        self._finished = False

    @property
    def pending(self) -> Pending:
        return Pending(0, 0)

    def poll(self, max_rows: int) -> SourceBatch | None:
        passed, self._passed = self._passed, None
        if passed is not None:
            return SourceBatch(NO_ROWS, self._at, {"row": self._rows}, passed=passed)
        if not self._finished:
            self._finished = True
            self._source.done(self._split)
        return None

    @property
    def finished(self) -> bool:
        return self._finished


def is_mark(split: Split) -> bool:
    """Whether it stands for a version, and has no file."""
    return split.id.startswith("@")


def _exists(path: str, stores: remote.Stores) -> bool:
    import os

    if is_local(path):
        return os.path.exists(path)
    fs, inner = stores.filesystem(path)
    fs.invalidate_cache()
    with remote.os_errors():
        return bool(fs.exists(inner))
