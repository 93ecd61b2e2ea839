"""Rows into a Delta table, exactly once: a commit of its log for each checkpoint.

Tasks write Parquet files into the table's directory, where nobody sees them until the log names them. The committer names those
of all tasks in one commit, which also says of which run and checkpoint it is (the protocol's `txn` action): so whoever commits
again sees that it was done, and of two that commit at once the log takes one. Decision 101.

Rows that a PRIMARY KEY knows are files of changes first (`_sqlstream/`, which readers and VACUUM leave alone), and the commit is
a MERGE: delta-rs writes the files that they change anew.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from sqlstream.connectors.delta.log import versions_down
from sqlstream.connectors.delta.partitions import check_merged, check_partitions, partition_texts
from sqlstream.connectors.delta.statistics import COLUMNS, statistics
from sqlstream.connectors.delta.table import (
    Place,
    Unreached,
    arrow_schema,
    check_writable,
    library,
    schema_of,
)
from sqlstream.connectors.file_store import Store, reported, safe
from sqlstream.connectors.lake.changes import DELETED, last_of_each
from sqlstream.connectors.lake.grouping import Key, grouped
from sqlstream.connectors.lake.parts import Parts, Written
from sqlstream.connectors.lake.shape import Shape, fitted
from sqlstream.connectors.partitions import escaped
from sqlstream.connectors.paths import open_binary
from sqlstream.connectors.upsert import UpsertWriter
from sqlstream.contracts import Committable, Sink, SinkCommitter, SinkTask, SinkWriter, TableContext
from sqlstream.errors import CheckpointError, OptionError
from sqlstream.own_files import is_name

NULL_DIRECTORY = "__HIVE_DEFAULT_PARTITION__"
CHANGES = "_sqlstream"  # where files of changes are until they are merged
ATTEMPTS = 30
LONGEST_REST = 5.0  # seconds between two tries
TARGET = 128 << 20
LOOKED_AT = 100  # versions, the newest ones, for what other runs of the job have written


@dataclass(frozen=True)
class DeltaSink(Sink):
    """The table at `place`. `properties`: its own, where it is made. `replaces`: for INSERT OVERWRITE."""

    table: TableContext
    where: Place
    target: int = TARGET
    properties: dict[str, str] = field(default_factory=dict)
    replaces: dict[str, str | None] | None = None  # the partition that is named whole; {}: none is

    @property
    def changelog(self) -> bool:  # type: ignore[override]
        return bool(self.table.primary_key)

    @property
    def update_before(self) -> bool:  # type: ignore[override]
        return not self.table.primary_key

    @property
    def primary_key(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.table.primary_key

    @property
    def place(self) -> str:  # type: ignore[override]
        return self.where.path.rstrip("/")

    def writer(self, task: SinkTask) -> SinkWriter:
        opened = self.opened()
        return ChangeWriter(self, task, opened) if self.table.primary_key else DeltaWriter(self, task, opened)

    def committer(self, task: SinkTask) -> SinkCommitter:
        return DeltaCommitter(self, task)

    def opened(self) -> Any:
        """The table, which is made if it is not there. OptionError where it has other columns."""
        name = f"table {self.table.name}"
        there = self.where.find()
        if there is None:
            lake = library()
            for c in self.table.partitioned_by:
                if c not in self.table.schema.names:
                    raise OptionError(f"{name}: PARTITIONED BY '{c}': there is no such column")
            check_partitions(name, self.table.partitioned_by, self.table.schema)
            if self.table.primary_key:
                check_merged(name, self.table.partitioned_by, self.table.schema)
            with self.where.reported("made"):
                try:
                    lake.DeltaTable.create(
                        self.where.path,
                        lake.Schema.from_arrow(arrow_schema(self.table)),
                        mode="ignore",
                        partition_by=list(self.table.partitioned_by),
                        configuration=self.properties,
                        storage_options=self.where.options(),
                    )
                except lake.exceptions.CommitFailedError:
                    there = None  # another task was faster
            there = self.where.open()
        check_writable(there, name)
        partitions = tuple(there.metadata().partition_columns)
        if self.table.partitioned_by and self.table.partitioned_by != partitions:
            raise OptionError(
                f"{name}: PARTITIONED BY ({', '.join(self.table.partitioned_by)}), and the Delta table at {self.where.path} "
                f"is partitioned by ({', '.join(partitions)})",
                hint="declare it as it is, or leave PARTITIONED BY out",
            )
        check_partitions(name, partitions, self.table.schema)
        if self.table.primary_key:
            check_merged(name, partitions, self.table.schema)
        self.shape(there)
        return there

    def shape(self, there: Any) -> Shape:
        """How rows are written to it."""
        arrow_schema(self.table)
        where, key = f"table {self.table.name}", self.table.primary_key
        return fitted(self.table.schema, schema_of(there), where, "the Delta table", key)

    def overwriting(self, partition: pa.RecordBatch | None) -> Sink:
        if self.table.primary_key:
            raise OptionError(
                f"table {self.table.name}: INSERT OVERWRITE of a table with a PRIMARY KEY", hint="leave the key out"
            )
        named: dict[str, str | None] = {}
        if partition is not None:
            named = {
                n: partition_texts(a).to_pylist()[0]
                for n, a in zip(partition.schema.names, partition.columns, strict=True)
            }
        return replace(self, replaces=named)


class DeltaWriter(SinkWriter):
    """One task's files."""

    def __init__(self, sink: DeltaSink, task: SinkTask, opened: Any) -> None:
        self._sink, self._task = sink, task
        self._store = Store(sink.where.path, sink.table.stores)
        metadata = opened.metadata()
        self._partitions = list(metadata.partition_columns)
        self._shape = sink.shape(opened)
        inside = [f for f in self._shape.schema if f.name not in self._partitions]
        self._columns = int(metadata.configuration.get("delta.dataSkippingNumIndexedCols", COLUMNS))
        self._parts = Parts(
            pa.schema(inside), self._create, self._store.remove, sink.target, {"compression": "snappy"}
        )  # fmt: skip
        self._prefix = f"part-{safe(task.job)[:100]}-{safe(task.run)}-{task.subtask}"

    def _create(self, key: Key) -> tuple[str, Any]:
        directory = "".join(
            f"{escaped(c)}={NULL_DIRECTORY if v is None else escaped(v)}/"
            for c, v in zip(self._partitions, key, strict=True)
        )
        name = f"{directory}{self._prefix}-{uuid.uuid4()}.snappy.parquet"
        with reported(self._store.path(name), "write"):
            return name, self._store.create(name)

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        rows = self._shape.of(batch)
        texts = [partition_texts(rows.column(c)) for c in self._partitions]
        data = rows.select([f.name for f in self._shape.schema if f.name not in self._partitions])
        for key, part in grouped(data, texts):
            self._parts.write(key, part)

    def prepare(self, checkpoint: int) -> list[Committable]:
        written = self._parts.finish()
        files = [self._named(w) for w in written]
        self.sent(sum(w.size for w in written))
        return [{"checkpoint": checkpoint, "files": files}] if files else []

    def _named(self, w: Written) -> dict[str, Any]:
        return {
            "path": w.path,
            "size": w.size,
            "rows": w.rows,
            "partition": dict(zip(self._partitions, w.key, strict=True)),
            "statistics": statistics(w.metadata, self._columns),
        }

    def close(self) -> None:
        self._parts.discard()


class ChangeWriter(UpsertWriter):
    """One task's changes between two checkpoints: the last one of each key, as one file."""

    def __init__(self, sink: DeltaSink, task: SinkTask, opened: Any) -> None:
        super().__init__(sink.table.primary_key)
        self._sink, self._task = sink, task
        self._store = Store(sink.where.path, sink.table.stores)
        self._shape = sink.shape(opened)
        self._changes: list[pa.RecordBatch] = []
        self._schema = pa.schema([*self._shape.schema.remove_metadata(), pa.field(DELETED, pa.bool_(), False)])
        self._parts = Parts(
            pa.schema([f.with_nullable(True) for f in self._schema]), self._create, self._store.remove, 1 << 62, {}
        )

    def _create(self, key: Key) -> tuple[str, Any]:
        t = self._task
        name = f"{CHANGES}/{safe(t.job)[:100]}-{safe(t.run)}-{t.subtask}-{uuid.uuid4()}.parquet"
        with reported(self._store.path(name), "write"):
            return name, self._store.create(name)

    def flush(self) -> None:
        """Changes wait for the checkpoint: until then a key may change again."""

    def prepare(self, checkpoint: int) -> list[Committable]:
        super().flush()
        written = self._parts.finish()
        files = [{"path": w.path, "rows": w.rows} for w in written]
        self.sent(sum(w.size for w in written))
        return [{"checkpoint": checkpoint, "changes": files}] if files else []

    def upsert(self, rows: pa.RecordBatch) -> None:
        self._put(self._shape.of(rows), False)

    def delete(self, keys: pa.RecordBatch) -> None:
        want = self._shape.schema
        arrays = [
            keys.column(f.name).cast(f.type) if f.name in keys.schema.names else pa.nulls(keys.num_rows, f.type)
            for f in want
        ]
        self._put(pa.RecordBatch.from_arrays(arrays, names=want.names), True)

    def _put(self, rows: pa.RecordBatch, deleted: bool) -> None:
        arrays = [*rows.columns, pa.repeat(pa.scalar(deleted), rows.num_rows)]
        schema = pa.schema([f.with_nullable(True) for f in self._schema])
        self._parts.write((), pa.RecordBatch.from_arrays(arrays, schema=schema))

    def close(self) -> None:
        self._parts.discard()


class DeltaCommitter(SinkCommitter):
    """Of one run, for all statements that write to the table."""

    def __init__(self, sink: DeltaSink, task: SinkTask) -> None:
        self._sink, self._where, self._task = sink, sink.where, task
        self._app = f"sqlstream/{task.job}/{task.run}"
        self._uncommitted: set[str] = set()
        self._opened: Any = None

    def combine(self, prepared: list[Committable], now: int) -> list[Committable]:
        together: dict[str, Any] = {}
        for c in prepared:
            together["checkpoint"] = max(int(c["checkpoint"]), together.get("checkpoint", 0))
            for kind in ("files", "changes"):
                together.setdefault(kind, []).extend(c.get(kind, []))
        if together.get("files") and together.get("changes"):
            raise OptionError(
                f"table {self._sink.table.name}: one job writes to {self._where.path} with and without a PRIMARY KEY",
                hint="declare it in the same way for all of its statements",
            )
        if self._sink.replaces is not None:
            together = {"checkpoint": 1, "files": [], "changes": [], **together, "replace": self._sink.replaces}
        self._uncommitted |= {f["path"] for kind in ("files", "changes") for f in together.get(kind, [])}
        return [together] if together else []

    def commit(self, committables: list[Committable]) -> None:
        for c in committables:
            number, files, changes, replaced = self._known(c)
            for attempt in range(ATTEMPTS):
                try:
                    self._commit(number, files, changes, replaced)
                    break
                except (library().exceptions.CommitFailedError, Unreached) as e:
                    if attempt == ATTEMPTS - 1:
                        raise Unreached(
                            f"table {self._sink.table.name}: checkpoint {number} could not be committed to "
                            f"{self._where.path} in {ATTEMPTS} tries: {e}"
                        ) from e
                    time.sleep(min(0.05 * 2**attempt, LONGEST_REST) * random.uniform(0.5, 1.0))
            store = Store(self._where.path, self._sink.table.stores)
            for f in changes:
                store.remove(f["path"])
            self._uncommitted -= {f["path"] for f in (*files, *changes)}

    def _commit(self, number: int, files: list[dict[str, Any]], changes: list[dict[str, Any]], replaced: Any) -> None:
        """Once; CommitFailedError where the log has taken another's meanwhile."""
        opened, self._opened = self._opened or self._sink.opened(), None
        with self._where.reported("read"):
            opened.update_incremental()
        before = opened.version()
        if (opened.transaction_version(self._app) or 0) < number:
            self._write(opened, number, files, changes, replaced)
            with self._where.reported("read"):
                opened.update_incremental()
            self._where.sync(range(before + 1, opened.version() + 1))
        self._opened = opened

    def _write(
        self, opened: Any, number: int, files: list[dict[str, Any]], changes: list[dict[str, Any]], replaced: Any
    ) -> None:
        from deltalake.transaction import AddAction, CommitProperties, Transaction

        said = {"sqlstream.job": self._task.job, "sqlstream.run": self._task.run, "sqlstream.checkpoint": str(number)}
        properties = CommitProperties(said, 0, [Transaction(self._app, number)])
        partitions = list(opened.metadata().partition_columns)
        with self._where.reported("written to"):
            if changes:
                self._merge(opened, changes, properties)
                return
            now = int(time.time() * 1000)
            actions = [AddAction(f["path"], f["size"], f["partition"], now, True, f["statistics"]) for f in files]
            if replaced is not None:
                new = [f["partition"] for f in files] + ([replaced] if replaced else [])
                actions += _removed(opened, new, partitions, now)
            opened.create_write_transaction(
                actions, "append", opened.schema(), partitions, commit_properties=properties
            )  # fmt: skip

    def _merge(self, opened: Any, changes: list[dict[str, Any]], properties: Any) -> None:
        """Rows take the places of those of their keys, and rows go."""
        import pyarrow.parquet as pq

        tables = []
        for f in changes:
            path = self._where.below(f["path"])
            try:
                with open_binary(path, self._where.stores) as file:
                    tables.append(pq.read_table(file))
            except FileNotFoundError as e:
                raise CheckpointError(
                    f"table {self._sink.table.name}: {path}, which a checkpoint has prepared, is gone, and its rows are not "
                    "in the table",
                    hint="put it back, or start anew with --fresh",
                ) from e
        key = self._sink.table.primary_key
        source = last_of_each(pa.concat_tables(tables), key)
        quoted: Callable[[str], str] = lambda n: '"' + n.replace('"', '""') + '"'  # noqa: E731
        on = " AND ".join(f"t.{quoted(k)} = s.{quoted(k)}" for k in key)
        gone = f"s.{quoted(DELETED)}"
        names = [n for n in source.schema.names if n != DELETED]
        values = {quoted(n): f"s.{quoted(n)}" for n in names}
        merger = opened.merge(
            source, on, source_alias="s", target_alias="t", commit_properties=properties
        )  # fmt: skip
        merger.when_matched_delete(gone).when_matched_update(values, f"NOT {gone}").when_not_matched_insert(
            values, f"NOT {gone}"
        ).execute()

    def _known(self, c: Committable) -> tuple[int, list[dict[str, Any]], list[dict[str, Any]], Any]:
        """What a checkpoint says. CheckpointError where somebody changed it."""
        try:
            files, changes = list(c.get("files", [])), list(c.get("changes", []))
            if all(is_name(f["path"]) for f in (*files, *changes)) and all(
                f["path"].startswith(f"{CHANGES}/") for f in changes
            ):
                return int(c["checkpoint"]), files, changes, c.get("replace")
        except (KeyError, TypeError, ValueError):
            pass
        raise CheckpointError(
            f"the checkpoint names {c!r}, which is nothing for the Delta table at {self._where.path}",
            hint="somebody changed the checkpoint; restore it from a backup, or start anew with --fresh",
        )

    def abort(self) -> None:
        store = Store(self._where.path, self._sink.table.stores)
        for path in self._uncommitted:
            store.remove(path)
        self._uncommitted.clear()
        prefix = f"{safe(self._task.job)[:100]}-{safe(self._task.run)}-"
        for name in store.names(CHANGES):
            if name.startswith(prefix):
                store.remove(f"{CHANGES}/{name}")

    def published(self, after: int) -> list[str]:
        there = self._where.find()
        last = 0 if there is None else there.transaction_version(self._app) or 0
        return [f"checkpoint {last} in the Delta table at {self._where.path}"] if last > after else []

    def others(self) -> list[str]:
        if self._sink.replaces is not None or (there := self._where.find()) is None:
            return []
        newest = islice(versions_down(self._where.path, there.version(), self._where.stores), LOOKED_AT)
        said = [v.said for v in newest]
        runs = {str(s.get("sqlstream.run")) for s in said if s.get("sqlstream.job") == self._task.job}
        runs.discard(self._task.run)
        return [f"run {r} in the Delta table at {self._where.path}" for r in sorted(runs)]


def _removed(opened: Any, new: list[dict[str, str | None]], partitions: list[str], now: int) -> list[Any]:
    """What INSERT OVERWRITE takes away: all of a table without partitions, else of those that have new rows."""
    from deltalake.transaction import RemoveAction

    there = pa.table(opened.get_add_actions(flatten=True))
    texts = [partition_texts(there.column(f"partition.{c}").combine_chunks()).to_pylist() for c in partitions]
    wanted = {tuple(p[c] for c in partitions) for p in new}
    out = []
    for n, (path, size) in enumerate(zip(there["path"].to_pylist(), there["size_bytes"].to_pylist(), strict=True)):
        key = tuple(t[n] for t in texts)
        if not partitions or key in wanted:
            out.append(RemoveAction(unquote(path), True, now, size, dict(zip(partitions, key, strict=True))))
    return out
