"""A Delta table as a source: a version of it, or what its versions add, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from sqlstream.connectors.delta.log import Added, version_at, versions_down, versions_there
from sqlstream.connectors.delta.partitions import check_partitions, partition_texts
from sqlstream.connectors.delta.table import Place, names_of, schema_of
from sqlstream.connectors.file_reader import FileReader
from sqlstream.connectors.lake.masked import MaskedReader
from sqlstream.connectors.lake.pruning import Known
from sqlstream.connectors.lake.source import LakeFile, LakeSource
from sqlstream.contracts import ScanRequest, Split, SplitReader, TableContext
from sqlstream.errors import DataError, NotSupported, OptionError, did_you_mean
from sqlstream.formats.conversion import literal
from sqlstream.types import Type

LATEST = "latest"


@dataclass(frozen=True)
class Begin:
    """What is read: `version` or `time` of a bounded table; of one that is followed, the version or the time from which its changes are
    (None: all that is there, and then changes). `ignores_deletes`, `ignores_changes`: versions that take rows away are no error."""

    version: int | None = None
    time: str | None = None
    starting_version: int | str | None = None
    starting_time: str | None = None
    ignores_deletes: bool = False
    ignores_changes: bool = False


class DeltaSource(LakeSource):
    """The table at `place`."""

    def __init__(self, table: TableContext, place: Place, begin: Begin, interval: float | None) -> None:
        super().__init__(table, interval)
        self.place, self.begin = place, begin
        self._id: str | None = None
        self._partitions: tuple[str, ...] | None = None
        self._names: Any = None
        # What the log says of the files of the version that is read: rows of a table by the ids of splits.
        self._statistics: tuple[dict[str, int], pa.Table] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_statistics": None}

    # ---- which files

    def whole(self) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        opened = self.place.open(self.begin.version if self.begin.time is None else self.begin.time)
        return self._whole(opened)

    def _whole(self, opened: Any) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        self._look_at(opened)
        version = opened.version()
        with self.place.reported("read"):
            found = pa.table(opened.get_add_actions(flatten=True)).combine_chunks()
            masked = self._masked(opened)
        found = found.sort_by([("modification_time", "ascending"), ("path", "ascending")])
        partitions = self._partitions or ()
        texts = [partition_texts(_whole(found.column(f"partition.{c}"))).to_pylist() for c in partitions]
        out, numbers = [], {}
        for n, row in enumerate(found.select(["path", "size_bytes", "num_records"]).to_pylist()):
            path = unquote(row["path"])
            info: dict[str, Any] = {"path": path, "size": row["size_bytes"], "rows": row["num_records"]}
            if partitions:
                info["partition"] = {c: t[n] for c, t in zip(partitions, texts, strict=True)}
            if self.place.below(path) in masked:
                info["masked"] = True
            numbers[f"{path}@{version}"] = n
            out.append((f"{path}@{version}", info))
        self._statistics = (numbers, found)
        return version, out

    def _masked(self, opened: Any) -> dict[str, np.ndarray]:
        """Of files that rows are deleted in, which are left."""
        features = opened.protocol().reader_features or []
        if "deletionVectors" not in features:
            return {}
        found = pa.table(opened.deletion_vectors())
        return {
            unquote(p.removeprefix("file://")): np.array(v, bool)
            for p, v in zip(found["filepath"].to_pylist(), found["selection_vector"].to_pylist(), strict=True)
        }

    def identity(self) -> str | None:
        if self._partitions is None:
            self._look_at(self.place.open())
        return self._id

    def _look_at(self, opened: Any) -> None:
        """What is the same for all files. OptionError where the table has not the columns that are declared."""
        schema = schema_of(opened)
        for c in self.table.schema:
            if c.name not in schema.names:
                raise OptionError(
                    f"{self.where}: the Delta table at {self.place.path} has no column '{c.name}'",
                    hint=did_you_mean(c.name, schema.names, "columns"),
                )
        metadata = opened.metadata()
        self._id, self._partitions = str(metadata.id), tuple(metadata.partition_columns)
        check_partitions(self.where, self._partitions, self.table.schema)
        self._names = names_of(opened)

    def beginning(self) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        b = self.begin
        if b.starting_version is None and b.starting_time is None:
            return self._whole(self.place.open())
        opened = self.place.open()
        self._look_at(opened)
        newest = opened.version()
        first = self._first(opened) if b.starting_time is not None else b.starting_version
        if first == LATEST:
            return newest, []
        assert isinstance(first, int)
        if first > newest + 1:
            raise OptionError(
                f"{self.where}: option 'startingVersion': {first} is not there yet, the newest is {newest}",
                hint=f"'startingVersion' = '{LATEST}' is for what comes from now on",
                subject="startingVersion",
            )
        return self._between(first - 1, newest)

    def _first(self, opened: Any) -> int:
        """The first version that is not older than the time."""
        import datetime

        assert self.begin.starting_time is not None
        at = datetime.datetime.fromisoformat(self.begin.starting_time).timestamp() * 1000
        newest = versions_down(self.place.path, opened.version(), self.table.stores)
        found = [v.number for v in takewhile(lambda v: v.time >= at, newest)]
        if not found:
            raise OptionError(
                f"{self.where}: option 'startingTimestamp': no version is as young as {self.begin.starting_time}",
                hint=f"'startingVersion' = '{LATEST}' is for what comes from now on",
                subject="startingTimestamp",
            )
        return min(found)

    def later(self, version: Any) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        if self._partitions is None:
            self._look_at(self.place.open())
        return self._between(int(version), None)

    def _between(self, after: int, upto: int | None) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        """What came behind a version, up to another, or the newest one."""
        out: list[tuple[str, dict[str, Any]]] = []
        at, described = after, False
        while upto is None or at < upto:
            found = version_at(self.place.path, at + 1, self.table.stores)
            if found is None:
                there = versions_there(self.place.path, self.table.stores)
                if there is None:
                    raise self.place.missing()
                first, newest = there
                if newest < at:
                    raise DataError(
                        f"{self.where}: the Delta table at {self.place.path} was read up to version {at}, and its newest one is {newest}",
                        hint="it was made anew: start anew with --fresh",
                    )
                if upto is None and first <= at + 1:
                    break  # it is not there yet
                raise DataError(
                    f"{self.where}: version {at + 1} of the Delta table at {self.place.path} is there no more; the oldest is "
                    f"{first}",
                    hint="its log was cleaned up ('delta.logRetentionDuration') before it was read: start anew with --fresh",
                )
            self._check(found.number, len(found.added), found.removed)
            out += [(f"{a.path}@{found.number}", self._info(a)) for a in found.added]
            at, described = found.number, described or found.described
        if described:
            self._look_at(self.place.open())
        return at, out

    def _info(self, a: Added) -> dict[str, Any]:
        info: dict[str, Any] = {"path": a.path, "size": a.size, "rows": a.rows}
        if a.vector is not None:
            raise NotSupported(
                f"{self.where}: {a.path} came with rows that are deleted in it, which is for 'mode' = 'batch'",
                hint="'delta.enableDeletionVectors' = 'false', or follow a table that is only added to",
            )
        return info | ({"partition": a.partition} if a.partition else {})

    def _check(self, version: int, added: int, removed: int) -> None:
        b = self.begin
        if not removed or b.ignores_changes or (b.ignores_deletes and not added):
            return
        what = "changes rows" if added else "deletes rows"
        option = "ignoreChanges" if added else "ignoreDeletes"
        raise DataError(
            f"{self.where}: version {version} of the Delta table at {self.place.path} {what}, and it is followed as one that is "
            "added to",
            hint=f"'{option}' = 'true' goes on "
            + ("with the files that were written anew, whose other rows come again" if added else "as if nothing was"),
        )

    # ---- a file

    def file(self, split: Split, request: ScanRequest) -> LakeFile:
        if self._partitions is None:
            self._look_at(self.place.open(None))
        info = split.info
        values: Mapping[str, str | None] = info.get("partition", {})
        types = {c.name: c.type for c in self.table.schema}
        constants = {}
        for logical, raw in self._logical(values).items():
            if logical in types:
                constants[logical] = self._constant(raw, types[logical], logical, split)
        return LakeFile(self.place.below(info["path"]), info["rows"], constants, self._names, not info.get("masked"))

    def _logical(self, values: Mapping[str, str | None]) -> dict[str, str | None]:
        """By the table's names; the log has the files'."""
        if self._names is None:
            return dict(values)
        table = {p: n for n, (p, _) in self._names.inner.items()}
        return {table.get(k, k): v for k, v in values.items()}

    def _constant(self, text: str | None, t: Type, name: str, split: Split) -> str:
        kind = t.duckdb()
        if text is None or (not text and not t.is_string):
            return f"CAST(NULL AS {kind})"
        if t.kind == "TIMESTAMP_LTZ" and not text.endswith("Z"):
            text += "Z"
        if t.is_string:
            return " || chr(0) || ".join(literal(part) for part in text.split("\0"))
        return f"CAST({literal(text)} AS {kind})"

    def special(self, split: Split, file: LakeFile, position: Any, request: ScanRequest, first_row: int) -> SplitReader:
        opened = self.place.open(int(split.info["at"]))
        kept = self._masked(opened).get(file.path)
        asked = replace(self.asked(request, file), skip=None)
        start = {"row": int(position["row"])} if position else {"row": 0}
        rows = FileReader(self.scan(file, asked), start, 0)
        n = int(split.info["rows"] or 0)
        if kept is None or len(kept) < n:  # behind its end all are there
            kept = np.concatenate([kept if kept is not None else np.zeros(0, bool), np.ones(n, bool)])[:n]
        return MaskedReader(rows, kept, position, first_row)

    def known(self, splits: Sequence[Split], columns: Collection[str]) -> Mapping[str, Known]:
        if self._statistics is None or self._names is not None:
            return {}
        numbers, found = self._statistics
        at = pa.array([numbers.get(s.id) for s in splits], pa.int64())
        out = {}
        for c in columns:
            wanted = [f"{kind}.{c}" for kind in ("min", "max", "null_count")]
            if all(w in found.schema.names for w in wanted):
                out[c] = Known(*(_whole(found.column(w)).take(at) for w in wanted))
        return out


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
