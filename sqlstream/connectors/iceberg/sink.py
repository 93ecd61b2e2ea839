"""Rows into an Iceberg table, exactly once: a snapshot for each checkpoint.

Tasks write Parquet files where the table's files are, and nobody sees them until a snapshot names them. The committer makes one
snapshot of those of all tasks, which also says of which run and checkpoint it is, by Flink's keys in its summary. Each try to commit
begins with the table as it is, and looks for that first; a catalog refuses a try when the table has become another meanwhile.
Decision 101.

Rows that a PRIMARY KEY knows are files of changes first, and the commit writes the files that they change anew (`rewriting.py`).
"""

from __future__ import annotations

import contextlib
import random
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.file_store import safe
from sqlstream.connectors.iceberg.catalog import MAIN, Place, Unreached, library
from sqlstream.connectors.iceberg.data_files import DataFiles, create, data_file, remove, sync
from sqlstream.connectors.iceberg.schema import arrow_schema, iceberg_schema, partition_spec
from sqlstream.connectors.lake.changes import DELETED
from sqlstream.connectors.lake.grouping import Key
from sqlstream.connectors.lake.parts import Parts
from sqlstream.connectors.lake.shape import Shape, fitted
from sqlstream.connectors.upsert import UpsertWriter
from sqlstream.contracts import Committable, Sink, SinkCommitter, SinkTask, SinkWriter, Stage, TableContext
from sqlstream.errors import CheckpointError, NotSupported, OptionError

JOB, OPERATOR, CHECKPOINT = "flink.job-id", "flink.operator-id", "flink.max-committed-checkpoint-id"
ATTEMPTS = 30
LONGEST_REST = 5.0  # seconds between two tries


@dataclass(frozen=True)
class IcebergSink(Sink):
    """The table at `where`. `key`: by which its rows are known; `properties`: its own, where it is made; `replaces`: INSERT OVERWRITE,
    of the partition that is named whole, or ()."""

    table: TableContext
    where: Place
    branch: str = MAIN
    key: tuple[str, ...] = ()
    properties: dict[str, str] = field(default_factory=dict)
    replaces: tuple[tuple[str, Any], ...] | None = None

    @property
    def changelog(self) -> bool:  # type: ignore[override]
        return bool(self.key)

    @property
    def update_before(self) -> bool:  # type: ignore[override]
        return not self.key

    @property
    def primary_key(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.key

    @property
    def place(self) -> str:  # type: ignore[override]
        return f"{self.where.key} {self.branch}"

    def writer(self, task: SinkTask) -> SinkWriter:
        made = self.opened(self.where.load())
        return ChangeWriter(self, task, made) if self.key else IcebergWriter(self, task, made)

    def committer(self, task: SinkTask) -> SinkCommitter:
        return IcebergCommitter(self, task)

    def opened(self, catalog: Any) -> Any:
        """The table, which is made if it is not there. OptionError where it has other columns."""
        there = self.where.find(catalog) or self._made(catalog)
        self.shape(there)
        return there

    def shape(self, there: Any) -> Shape:
        """How rows are written to it."""
        where = f"table {self.table.name}"
        key = self.table.primary_key
        shape = fitted(self.table.schema, arrow_schema(there.schema()), where, "the Iceberg table", key)
        names = [f.name for f in there.spec().fields]
        sources = {there.schema().find_column_name(f.source_id) for f in there.spec().fields}
        if self.table.partitioned_by and list(self.table.partitioned_by) != names:
            raise OptionError(
                f"{where}: PARTITIONED BY ({', '.join(self.table.partitioned_by)}), and {self.where.name} is partitioned by "
                f"({', '.join(map(str, there.spec().fields))})",
                hint="leave PARTITIONED BY out: the table knows it",
            )
        if lacking := [s for s in sources if s.partition(".")[0] not in self.table.schema.names]:
            raise OptionError(
                f"{where}: {self.where.name} is partitioned by '{lacking[0]}', which is not declared",
                hint="declare it, and write it",
            )
        for f in there.schema().fields:
            if f.write_default is not None and f.name not in self.table.schema.names:
                raise OptionError(
                    f"{where}: column '{f.name}' of {self.where.name} has a default, and is not declared",
                    hint="declare it, and write it",
                )
        return shape

    def _made(self, catalog: Any) -> Any:
        exceptions = library().exceptions
        schema = iceberg_schema(self.table, self.key or self.table.primary_key)
        with self.where.reported("made", catalog):
            with contextlib.suppress(exceptions.NamespaceAlreadyExistsError):
                catalog.create_namespace(self.where.identifier[:-1])
            try:
                return catalog.create_table(
                    self.where.identifier,
                    schema,
                    partition_spec=partition_spec(self.table, schema),
                    properties=self.properties,
                )
            except exceptions.TableAlreadyExistsError:
                return catalog.load_table(self.where.identifier)

    def overwriting(self, partition: pa.RecordBatch | None) -> Sink:
        if self.key:
            raise OptionError(
                f"table {self.table.name}: INSERT OVERWRITE of a table with a PRIMARY KEY",
                hint="'write.upsert.enabled' = 'false', or leave the key out",
            )
        named = () if partition is None else tuple(partition.to_pylist()[0].items())
        return replace(self, replaces=named)


class IcebergWriter(SinkWriter):
    """One task's files."""

    def __init__(self, sink: IcebergSink, task: SinkTask, there: Any) -> None:
        self._sink = sink
        self._shape = sink.shape(there)
        self._files = DataFiles(there, self._shape.schema.names, name_of(task))

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self._files.write(self._shape.of(batch))

    def prepare(self, checkpoint: int) -> list[Committable]:
        with self._sink.where.reported("written to"):
            files = self._files.finish()
        self.sent(sum(f["size"] for f in files))
        return [{"checkpoint": checkpoint, "files": files}] if files else []

    def close(self) -> None:
        self._files.discard()


class ChangeWriter(UpsertWriter):
    """One task's changes between two checkpoints: the last one of each key, as one file."""

    def __init__(self, sink: IcebergSink, task: SinkTask, there: Any) -> None:
        super().__init__(sink.key)
        self._sink, self._table, self._task = sink, there, task
        self._shape = sink.shape(there)
        fields = [pa.field(f.name, f.type) for f in self._shape.schema]
        self._schema = pa.schema([*fields, pa.field(DELETED, pa.bool_())])
        self._parts = Parts(self._schema, self._create, lambda path: remove(there.io, path), 1 << 62, {})

    def _create(self, key: Key) -> tuple[str, Any]:
        path = f"{self._table.location().rstrip('/')}/_sqlstream/{name_of(self._task)}-{uuid.uuid4()}.parquet"
        return path, create(self._table.io, path)

    def flush(self) -> None:
        """Changes wait for the checkpoint: until then a key may change again."""

    def prepare(self, checkpoint: int) -> list[Committable]:
        super().flush()
        written = self._parts.finish()
        files = [w.path for w in written]
        self.sent(sum(w.size for w in written))
        return [{"checkpoint": checkpoint, "changes": files}] if files else []

    def upsert(self, rows: pa.RecordBatch) -> None:
        self._put(self._shape.of(rows).columns, rows.num_rows, False)

    def delete(self, keys: pa.RecordBatch) -> None:
        arrays = [
            keys.column(f.name).cast(f.type) if f.name in keys.schema.names else pa.nulls(keys.num_rows, f.type)
            for f in self._shape.schema
        ]
        self._put(arrays, keys.num_rows, True)

    def _put(self, columns: list[pa.Array], rows: int, deleted: bool) -> None:
        arrays = [*columns, pa.repeat(pa.scalar(deleted), rows)]
        self._parts.write((), pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._parts.discard()


def name_of(task: SinkTask) -> str:
    """What the names of a task's files begin with."""
    return f"{safe(task.job)[:100]}-{safe(task.run)}-{task.subtask}"


class IcebergCommitter(SinkCommitter):
    """Of one run, for all statements that write to the table."""

    def __init__(self, sink: IcebergSink, task: SinkTask) -> None:
        self._sink, self._where, self._task = sink, sink.where, task
        self._id = f"{task.job}.{task.run}"
        self._uncommitted: set[str] = set()
        self._catalog: Any = None
        self._table: Any = None

    def combine(self, prepared: list[Committable], now: int) -> list[Committable]:
        together: dict[str, Any] = {}
        for c in prepared:
            together["checkpoint"] = max(int(c["checkpoint"]), together.get("checkpoint", 0))
            for kind in ("files", "changes"):
                together.setdefault(kind, []).extend(c.get(kind, []))
        if together.get("files") and together.get("changes"):
            raise OptionError(
                f"table {self._sink.table.name}: one job writes to {self._where.name} with and without a PRIMARY KEY",
                hint="declare it in the same way for all of its statements",
            )
        if self._sink.replaces is not None:
            together = {"checkpoint": 1, "files": [], "changes": [], **together, "replace": True}
        self._uncommitted |= _paths(together)
        return [together] if together else []

    # ---- commit

    def commit(self, committables: list[Committable]) -> None:
        for c in committables:
            self._retried(c, False)

    def recover(self, committables: list[Committable], before: Stage) -> list[str]:
        if before is not Stage.COMMITTED:
            for c in committables:
                self._retried(c, before is Stage.COMMITTING)
        return []

    def _retried(self, c: Committable, begun: bool) -> None:
        number = self._check(c)
        failed = library().exceptions.CommitFailedException
        for attempt in range(ATTEMPTS):
            try:
                self._commit(number, c, begun)
                break
            except (failed, Unreached) as e:
                self._catalog = self._table = None
                begun = begun or isinstance(e, Unreached)  # an answer may have been lost
                if attempt == ATTEMPTS - 1:
                    raise Unreached(
                        f"table {self._sink.table.name}: checkpoint {number} could not be committed to {self._where.name} in "
                        f"{ATTEMPTS} tries: {e}"
                    ) from e
                time.sleep(min(0.05 * 2**attempt, LONGEST_REST) * random.uniform(0.5, 1.0))
        for path in c.get("changes", []):
            with self._where.reported("cleaned up"):
                remove(self._table.io, path)
        self._uncommitted -= _paths(c)

    def _opened(self) -> Any:
        if self._table is None:
            self._catalog = self._where.load()
            self._table = self._sink.opened(self._catalog)
        else:
            with self._where.reported("loaded", self._catalog):
                self._table.refresh()
        return self._table

    def _commit(self, number: int, c: Committable, begun: bool) -> None:
        """Once. CommitFailedException where the table has become another meanwhile."""
        table = self._opened()
        if self._committed(table) >= number:
            return
        with self._where.reported("written to", self._catalog):
            files = [self._data_file(table, f) for f in c.get("files", [])]
            if begun and files and _names(table, self._sink.branch, files):
                return  # the snapshot that said so has expired
            gone: list[Any] = []
            if c.get("changes"):
                from sqlstream.connectors.iceberg.rewriting import rewritten

                said, gone = rewritten(self._sink, table, list(c["changes"]), self._task)
                files = [self._data_file(table, f) for f in said]
            elif c.get("replace"):
                gone = self._replaced(table, files)
            if files or gone:
                self._snapshot(table, number, files, gone)

    def _snapshot(self, table: Any, number: int, files: list[Any], gone: list[Any]) -> None:
        from pyiceberg.table import Transaction

        said = {
            JOB: self._id,
            OPERATOR: self._where.name,
            CHECKPOINT: str(number),
            "engine-name": "sqlstream",
        }
        # The library's own tries would not look whether another process has committed meanwhile.
        table.metadata = table.metadata.model_copy(
            update={"properties": {**table.metadata.properties, "commit.retry.num-retries": "0"}}
        )
        transaction = Transaction(table)
        update = transaction.update_snapshot(snapshot_properties=said, branch=self._sink.branch)
        merges = table.metadata.properties.get("commit.manifest-merge.enabled", "false").lower() == "true"
        producer = update.overwrite() if gone else update.merge_append() if merges else update.fast_append()
        for f in files:
            producer.append_data_file(f)
        for f in gone:
            producer.delete_data_file(f)
        producer.commit()
        transaction.commit_transaction()
        snapshot = table.metadata.snapshot_by_name(self._sink.branch)
        manifests = [
            m.manifest_path for m in snapshot.manifests(table.io) if m.added_snapshot_id == snapshot.snapshot_id
        ]
        sync([*manifests, snapshot.manifest_list, table.metadata_location])

    def _data_file(self, table: Any, said: dict[str, Any]) -> Any:
        if said.get("spec") != table.spec().spec_id:
            raise CheckpointError(
                f"table {self._sink.table.name}: {self._where.name} is partitioned otherwise now than when rows of this "
                "checkpoint were written",
                hint="bring the former partition spec back until the job has gone on; or start anew with --fresh",
            )
        try:
            return data_file(table, said)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise self._strange(said) from e

    def _replaced(self, table: Any, files: list[Any]) -> list[Any]:
        """What INSERT OVERWRITE takes away: all of a table without partitions, else of those that have new rows."""
        head = table.metadata.snapshot_by_name(self._sink.branch)
        if head is None:
            return []
        spec = table.spec()
        new = {f.partition for f in files}
        if self._sink.replaces:
            new.add(self._named(table))
        out = []
        for task in table.scan(snapshot_id=head.snapshot_id).plan_files():
            if spec.is_unpartitioned() or task.file.partition in new and task.file.spec_id == spec.spec_id:
                out.append(task.file)
            elif task.file.spec_id != spec.spec_id:
                raise NotSupported(
                    f"table {self._sink.table.name}: INSERT OVERWRITE: {self._where.name} has files of a former partition spec",
                    hint="rewrite them with another engine first",
                )
        return out

    def _named(self, table: Any) -> Any:
        from pyiceberg.typedef import Record

        from sqlstream.connectors.iceberg.data_files import stored_values

        values = dict(self._sink.replaces or ())
        return Record(*stored_values(table, values))

    def _committed(self, table: Any) -> int:
        """The last checkpoint of the run that is in the table; 0: none."""
        from pyiceberg.table.snapshots import ancestors_of

        for snapshot in ancestors_of(table.metadata.snapshot_by_name(self._sink.branch), table.metadata):
            said = {} if snapshot.summary is None else snapshot.summary.additional_properties
            if said.get(JOB) == self._id and CHECKPOINT in said:
                return int(said[CHECKPOINT])
        return 0

    def _check(self, c: Committable) -> int:
        try:
            paths = _paths(c)
            location = (self._table or self._opened()).location().rstrip("/") if paths else ""
            for path in paths:
                if ".." in path.split("/") or not (path.startswith(f"{location}/") or self._elsewhere(path)):
                    raise ValueError(path)
            return int(c["checkpoint"])
        except (KeyError, TypeError, ValueError) as e:
            raise self._strange(c) from e

    def _elsewhere(self, path: str) -> bool:
        """Whether the table keeps its data beside its metadata."""
        properties = self._table.metadata.properties
        roots = [
            properties.get(k) for k in ("write.data.path", "write.object-storage.path", "write.folder-storage.path")
        ]
        return any(r and path.startswith(f"{r.rstrip('/')}/") for r in roots)

    def _strange(self, c: Any) -> CheckpointError:
        return CheckpointError(
            f"the checkpoint names {c!r}, which is nothing for the Iceberg table {self._where.name}",
            hint="somebody changed the checkpoint; restore it from a backup, or start anew with --fresh",
        )

    # ---- what there is

    def abort(self) -> None:
        if self._uncommitted:
            io = self._opened().io
            with self._where.reported("cleaned up"):
                for path in self._uncommitted:
                    remove(io, path)
        self._uncommitted.clear()

    def published(self, after: int) -> list[str]:
        there = self._where.find(self._catalog)
        last = 0 if there is None else self._committed(there)
        return [f"checkpoint {last} in the Iceberg table {self._where.name}"] if last > after else []

    def others(self) -> list[str]:
        if self._sink.replaces is not None or (there := self._where.find(self._catalog)) is None:
            return []
        said = [s.summary.additional_properties.get(JOB, "") for s in there.snapshots() if s.summary is not None]
        mine = f"{self._task.job}."
        runs = {s.removeprefix(mine) for s in said if s.startswith(mine)} - {self._task.run}
        return [f"run {r} in the Iceberg table {self._where.name}" for r in sorted(runs)]


def _paths(c: Committable) -> set[str]:
    return {str(f["path"]) for f in c.get("files", [])} | {str(p) for p in c.get("changes", [])}


def _names(table: Any, branch: str, files: list[Any]) -> bool:
    """Whether the table has one of the files."""
    head = table.metadata.snapshot_by_name(branch)
    if head is None:
        return False
    wanted = files[0].file_path
    return any(
        e.data_file.file_path == wanted
        for m in head.manifests(table.io)
        for e in m.fetch_manifest_entry(table.io, discard_deleted=True)
    )
