"""An Iceberg table as a source: a snapshot of it, or what its snapshots add, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sqlstream.connectors.iceberg.catalog import MAIN, Place
from sqlstream.connectors.iceberg.connector import FROM_EARLIEST, FROM_ID, FROM_LATEST, FROM_TIME, SCAN_FIRST
from sqlstream.connectors.iceberg.reader import ScanReader
from sqlstream.connectors.iceberg.schema import have_one_name, names_in
from sqlstream.connectors.lake.pruning import Known
from sqlstream.connectors.lake.source import AT, LakeFile, LakeSource
from sqlstream.connectors.paths import absolute, is_local, open_binary
from sqlstream.contracts import ScanRequest, Split, SplitReader, TableContext
from sqlstream.errors import CheckpointError, DataError, OptionError, did_you_mean

NONE = 0  # the version of a table without snapshots


@dataclass(frozen=True)
class Begin:
    """What is read: by `snapshot`, `time` (ms) or `tag`, or the newest one of `branch`, of a bounded table; what came after
    `start` up to `end`, if that is said. Of one that is followed: from where, by `strategy`. `skips_…`: snapshots that take rows away are no
    error."""

    branch: str = MAIN
    snapshot: int | None = None
    time: int | None = None
    tag: str | None = None
    strategy: str = FROM_LATEST
    start: int | None = None
    start_time: int | None = None
    end: int | None = None
    skips_overwrites: bool = False
    skips_deletes: bool = False


class IcebergSource(LakeSource):
    """The table at `place`."""

    def __init__(self, table: TableContext, place: Place, begin: Begin, interval: float | None) -> None:
        super().__init__(table, interval)
        self.place, self.begin = place, begin
        self._opened: Any = None
        self._simple = False  # whether files have the names that the table has
        self._tasks: dict[str, Any] = {}  # of files that are read, by their paths

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_opened": None, "_tasks": {}}

    def _table(self, anew: bool = False) -> Any:
        """The table. OptionError where it has not the columns that are declared."""
        if self._opened is None:
            opened = self.place.open()
            self._check_columns(opened)
            self._opened, self._simple = opened, have_one_name(opened.metadata)
        elif anew:
            before, made = self._opened.metadata.current_schema_id, self._opened.metadata.table_uuid
            opened = self.place.find(self._opened.catalog)
            if opened is None or opened.metadata.table_uuid != made and not self.bounded:
                raise DataError(
                    f"{self.where}: the Iceberg table {self.place.name} is {'gone' if opened is None else 'another one now'}",
                    hint="it was dropped while it was read: start anew with --fresh",
                )
            if opened.metadata.current_schema_id != before:  # a column that has another name now would be read as NULL
                self._check_columns(opened)
            self._opened, self._simple = opened, have_one_name(opened.metadata)
        return self._opened

    def _check_columns(self, opened: Any) -> None:
        names = [f.name for f in opened.schema().fields]
        for c in self.table.schema:
            if c.name not in names:
                raise OptionError(
                    f"{self.where}: the Iceberg table {self.place.name} has no column '{c.name}'",
                    hint=did_you_mean(c.name, names, "columns"),
                )

    def identity(self) -> str | None:
        return str(self._table().metadata.table_uuid)

    # ---- which files

    def whole(self) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        table = self._table(anew=True)
        if self.begin.start is not None:
            return self._between_ids(table)
        snapshot = self._snapshot(table)
        if snapshot is None:
            return NONE, []
        return snapshot.snapshot_id, self._planned(table, snapshot)

    def _snapshot(self, table: Any) -> Any:
        b, metadata = self.begin, table.metadata
        if b.snapshot is not None:
            if (found := metadata.snapshot_by_id(b.snapshot)) is None:
                raise self._no_snapshot("snapshot-id", b.snapshot)
            return found
        if b.time is not None:
            if (found := table.snapshot_as_of_timestamp(b.time)) is None:
                raise self._no_snapshot("as-of-timestamp", b.time)
            return found
        name, option = (b.tag, "tag") if b.tag is not None else (b.branch, "branch")
        found = metadata.snapshot_by_name(name)
        if found is None and name != MAIN:
            raise OptionError(
                f"{self.where}: option '{option}': {self.place.name} has no '{name}'",
                hint=did_you_mean(name, list(metadata.refs), "branches and tags"),
                subject=option,
            )
        return found

    def _no_snapshot(self, option: str, value: Any) -> OptionError:
        return OptionError(
            f"{self.where}: option '{option}': {self.place.name} has no snapshot {value}",
            hint="it may have expired; the table's `snapshots` are what there is",
            subject=option,
        )

    def _planned(self, table: Any, snapshot: Any) -> list[tuple[str, dict[str, Any]]]:
        with self.place.reported("read"):
            tasks = list(table.scan(snapshot_id=snapshot.snapshot_id).plan_files())
        sequence = lambda t: (getattr(t.file, "file_sequence_number", None) or 0, t.file.file_path)  # noqa: E731
        return [self._found(t) for t in sorted(tasks, key=sequence)]

    def _found(self, task: Any) -> tuple[str, dict[str, Any]]:
        f = task.file
        self._tasks[f.file_path] = task
        info: dict[str, Any] = {"path": f.file_path, "rows": f.record_count, "size": f.file_size_in_bytes}
        if task.delete_files:
            info["deletes"] = True
        if str(getattr(f.file_format, "value", f.file_format)).upper() != "PARQUET":
            info["format"] = str(getattr(f.file_format, "value", f.file_format)).lower()
        return f.file_path, info

    def beginning(self) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        table = self._table(anew=True)
        head = table.metadata.snapshot_by_name(self.begin.branch)
        if head is None:
            return NONE, []
        lineage = _ancestors(table, head)  # the newest first
        strategy = self.begin.strategy
        if strategy == SCAN_FIRST:
            return head.snapshot_id, self._planned(table, head)
        if strategy == FROM_LATEST:
            first = head
        elif strategy == FROM_EARLIEST:
            first = lineage[-1]
        elif strategy == FROM_ID:
            found = next((s for s in lineage if s.snapshot_id == self.begin.start), None)
            if found is None:
                raise self._no_snapshot("start-snapshot-id", self.begin.start)
            first = found
        else:
            assert strategy == FROM_TIME and self.begin.start_time is not None
            since = [s for s in lineage if s.timestamp_ms >= self.begin.start_time]
            if not since:  # as in Flink: nothing is there yet, and what comes is read
                return head.snapshot_id, []
            first = since[-1]
        return self._after(table, lineage, first.parent_snapshot_id or NONE)

    def later(self, version: Any) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        table = self._table(anew=True)
        head = table.metadata.snapshot_by_name(self.begin.branch)
        if head is None or head.snapshot_id == version:
            return version, []
        return self._after(table, _ancestors(table, head), int(version))

    def _after(self, table: Any, lineage: list[Any], version: int) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        """What came behind a snapshot. `lineage`: the newest one first."""
        news = []
        for s in lineage:
            if s.snapshot_id == version:
                break
            news.append(s)
        else:
            oldest = lineage[-1]
            if (oldest.parent_snapshot_id or NONE) != version:
                raise DataError(
                    f"{self.where}: snapshot {version}, up to which {self.place.name} was read, is none of those that came "
                    "before the newest one",
                    hint="it has expired, or the table was rolled back: start anew with --fresh",
                )
        out: list[tuple[str, dict[str, Any]]] = []
        with self.place.reported("read"):
            for s in reversed(news):
                if self._adds(s):
                    out += self._added(table, s)
        return lineage[0].snapshot_id, out

    def _adds(self, snapshot: Any) -> bool:
        """Whether the snapshot's new files are new rows. DataError where it has changed some."""
        operation = "append" if snapshot.summary is None else snapshot.summary.operation.value
        if operation == "append":
            return True
        skips = {"overwrite": self.begin.skips_overwrites, "delete": self.begin.skips_deletes, "replace": True}
        if skips.get(operation, False):
            return False
        raise DataError(
            f"{self.where}: snapshot {snapshot.snapshot_id} of {self.place.name} "
            f"{'deletes' if operation == 'delete' else 'changes'} rows, and the table is followed as one that is added to",
            hint=f"'streaming-skip-{operation}-snapshots' = 'true' goes on as if nothing was",
        )

    def _added(self, table: Any, snapshot: Any) -> list[tuple[str, dict[str, Any]]]:
        from pyiceberg.manifest import ManifestContent, ManifestEntryStatus
        from pyiceberg.table import FileScanTask

        out = []
        for manifest in snapshot.manifests(table.io):
            if manifest.added_snapshot_id != snapshot.snapshot_id or manifest.content != ManifestContent.DATA:
                continue
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                if entry.status == ManifestEntryStatus.ADDED and entry.snapshot_id == snapshot.snapshot_id:
                    out.append(self._found(FileScanTask(entry.data_file)))
        return sorted(out, key=lambda f: f[0])

    def _between_ids(self, table: Any) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        """As in Flink: behind `start-snapshot-id`, up to and with `end-snapshot-id`."""
        start, end = self.begin.start, self.begin.end
        head = table.metadata.snapshot_by_name(self.begin.branch) if end is None else table.metadata.snapshot_by_id(end)
        if head is None:
            raise self._no_snapshot("end-snapshot-id", end)
        assert start is not None
        lineage = _ancestors(table, head)
        if all(s.snapshot_id != start for s in lineage):
            raise self._no_snapshot("start-snapshot-id", start)
        return self._after(table, lineage, start)

    def done(self, split: Split) -> None:
        super().done(split)
        if not self.bounded:
            self._tasks.pop(split.info.get("path", ""), None)

    # ---- a file

    def file(self, split: Split, request: ScanRequest) -> LakeFile:
        table = self._table()
        info = split.info
        path = info["path"]
        opened = absolute(path, "/") if is_local(path) or path.startswith("file:") else path
        plain = not info.get("deletes") and "format" not in info and self.place.is_ours(opened)
        plain = plain and all(f.initial_default is None for f in table.schema().fields)
        names = None
        if plain and not self._simple:
            with open_binary(opened, self.table.stores) as file:
                names = names_in(table.schema(), pq.read_schema(file))
            plain = names is not None
        return LakeFile(opened, info["rows"], {}, names, plain)

    def special(self, split: Split, file: LakeFile, position: Any, request: ScanRequest, first_row: int) -> SplitReader:
        table = self._table()
        task = self._tasks.get(split.info["path"])
        if task is None:
            snapshot = table.metadata.snapshot_by_id(split.info[AT])
            if snapshot is None:
                raise CheckpointError(
                    f"{self.where}: snapshot {split.info[AT]} of {self.place.name}, which was being read, has expired",
                    hint="start anew with --fresh",
                )
            self._planned(table, snapshot)
            task = self._tasks.get(split.info["path"])
        if task is None:
            raise self.gone(file.path)
        return ScanReader(self.place, table, task, position, request, first_row)

    def known(self, splits: Sequence[Split], columns: Collection[str]) -> Mapping[str, Known]:
        table = self._table()
        files = [None if (t := self._tasks.get(s.info["path"])) is None else t.file for s in splits]
        out = {}
        for f in table.schema().fields:
            kind = _ARROW.get(type(f.field_type).__name__)
            if f.name not in columns or kind is None:
                continue
            bounds: list[list[Any]] = [[], []]
            nulls = []
            for file in files:
                for into, given in zip(bounds, ("lower_bounds", "upper_bounds"), strict=True):
                    data = None if file is None else (getattr(file, given) or {}).get(f.field_id)
                    into.append(None if data is None else _bound(f.field_type, data))
                nulls.append(None if file is None else (file.null_value_counts or {}).get(f.field_id))
            out[f.name] = Known(pa.array(bounds[0], kind), pa.array(bounds[1], kind), pa.array(nulls, pa.int64()))
        return out


# Of types whose bounds are compared, as Iceberg has them in memory.
_ARROW = {"IntegerType": pa.int64(), "LongType": pa.int64(), "StringType": pa.string()}


def _bound(t: Any, data: bytes) -> Any:
    """Of a column that is wider now than when the file was written, too."""
    from pyiceberg.conversions import from_bytes
    from pyiceberg.types import IntegerType, LongType

    return from_bytes(IntegerType() if isinstance(t, LongType) and len(data) == 4 else t, data)


def _ancestors(table: Any, snapshot: Any) -> list[Any]:
    from pyiceberg.table.snapshots import ancestors_of

    return list(ancestors_of(snapshot, table.metadata))
