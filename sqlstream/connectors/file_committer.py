"""Publishes part files, takes away what they replace, and says which partitions are complete.

A committable is one of
    {"staged", "final"}      a part file: published by rename (on object stores by copy, then delete). One that is
                             published already is left alone, and nobody ever changes it
    {"remove"}               a file that INSERT OVERWRITE replaces: what was there when its job had staged all rows
    {"success"}              a partition that is complete gets its success file, and a class of the user's is told
    {"pending"}              the partitions that are not, and since when there are rows of them: it is only remembered
    {"watermark", "idle"}    what a task says of the time: never in a checkpoint

and a checkpoint has them in this order, so that old files go when the new ones are there, and a success file comes last.
They come back out of manifests, so their names are checked. `abort` removes this run's staged leftovers, and not those
of its job: jobs of one name may write here from several places.
"""

from __future__ import annotations

import os
import re
from typing import Any

from sqlstream.batches import NO_WATERMARK, Time, meet
from sqlstream.connectors.file_store import STAGING, Store, reported, safe
from sqlstream.connectors.partition_classes import CompletePartition
from sqlstream.connectors.partition_commit import PartitionCommit
from sqlstream.connectors.partitions import Partitions
from sqlstream.connectors.tree import hidden
from sqlstream.contracts import Committable, SinkCommitter, SinkTask, Stage
from sqlstream.errors import CheckpointError, RunError
from sqlstream.own_files import is_name


class FileCommitter(SinkCommitter):
    """Of one run. `replaced`: None, or for INSERT OVERWRITE the partition that was named whole ("": none)."""

    def __init__(
        self,
        store: Store,
        task: SinkTask,
        partitions: Partitions,
        commit: PartitionCommit | None = None,
        replaced: str | None = None,
    ) -> None:
        self._store, self._partitions, self._success, self._replaced = store, partitions, commit, replaced
        self._staging = f"{STAGING}/{safe(task.job)}"
        self._staged = f"part-{safe(task.run)}"
        self._job = f"part-{safe(task.job)}-"
        self._final = f"{self._job}{safe(task.run)}"
        self._pending: dict[str, int] = {}
        self._watermark = NO_WATERMARK

    # ---- into the checkpoint

    def combine(self, prepared: list[Committable], now: int) -> list[Committable]:
        out = [c for c in prepared if "staged" in c]
        directories = {c["final"].rpartition("/")[0] for c in out}
        if self._replaced is not None:
            out += [{"remove": name} for name in self._to_replace(directories)]
        if self._success is not None:
            times = [Time(c["watermark"], 0, c["idle"]) for c in prepared if "watermark" in c]
            if times:
                self._watermark = max(self._watermark, meet(times).watermark)
            for directory in sorted(directories):
                self._pending.setdefault(directory, now)
            due = self._success.due(self._pending, self._watermark, now)
            out += [{"success": directory} for directory in due]
            self._pending = {d: seen for d, seen in self._pending.items() if d not in set(due)}
            out.append({"pending": dict(self._pending)})
        return out

    def _to_replace(self, written: set[str]) -> list[str]:
        """The table's files that are there now: in the partitions that have new rows, in the one that was named whole, or
        all of a table without partitions. RunError where a link is among them: what it leads to is not the table's."""
        directories = written
        if not self._partitions:
            directories = {""}
        elif self._replaced:
            directories = {self._replaced}
        found = [name for d in sorted(directories) for name in self._store.files(d)]
        for name in found:
            if self._store.is_link(name):
                raise RunError(
                    f"{self._store.path(name)} is a symbolic link: INSERT OVERWRITE replaces files of the table's own "
                    "directory, and would leave its rows in the table",
                    hint="remove the link first",
                )
        return found

    # ---- out of it

    def commit(self, committables: list[Committable]) -> None:
        """A part that is neither staged nor published is an error."""
        if gone := self._publish(committables):
            raise RunError(
                f"{gone[0]} is not published, and gone from {self._store.path(self._staging)}",
                hint="somebody removed files under _staging, and the rows of this checkpoint with them: put them back, or "
                "write all rows anew with --fresh, into another path or after what is published was removed",
            )

    def recover(self, committables: list[Committable], before: Stage) -> list[str]:
        """Parts that are gone were published, and taken away; not so when all that was staged is gone."""
        for c in committables:
            if self._kind(c) == "pending":
                self._pending = self._known(c)
        if before is Stage.PREPARED:
            self.commit(committables)
        if before is not Stage.COMMITTING:
            return []
        gone = self._publish(committables)
        if gone and self._store.local and not os.path.isdir(self._store.path(self._staging)):
            raise RunError(
                f"{gone[0]} is not published, and {self._store.path(self._staging)} is gone",
                hint="somebody removed _staging; the rows of this checkpoint are lost in the sink",
            )
        return gone

    def withdraw(self, committables: list[Committable]) -> None:
        """The parts go, whose names are this run's alone; not where old ones have gone for them already."""
        with reported(self._store.root, "take files back"):
            if not all(self._store.exists(c["remove"]) for c in committables if "remove" in c):
                return
            for c in committables:
                if "staged" in c and self._store.exists(name := self._names(c)[1]):
                    self._store.remove(name)
            for directory in (c["success"] for c in committables if "success" in c):
                if self._success is not None and self._success.file and not self._store.files(directory):
                    self._store.remove(f"{directory}/{self._success.file}")

    def _publish(self, committables: list[Committable]) -> list[str]:
        """Does what they say; gives the parts that are neither staged nor there."""
        gone = []
        for c in committables:
            kind = self._kind(c)
            if kind == "remove":
                self._remove(c)
            elif kind == "success":
                self._complete(c)
            elif kind == "staged":
                gone += self._show(c)
        return gone

    def _kind(self, committable: Any) -> str:
        kinds = ("staged", "remove", "success", "pending")
        found = [k for k in kinds if isinstance(committable, dict) and k in committable]
        if not found:
            raise self._strange(committable)
        return found[0]

    def _show(self, committable: Committable) -> list[str]:
        staged, final = self._names(committable)
        path = self._store.path(final)
        try:
            with reported(path, "publish the file"):
                self._store.publish(staged, final)
        except RunError as e:
            if not isinstance(e.__cause__, FileNotFoundError):
                raise
            return [path]
        return []

    def _remove(self, committable: Committable) -> None:
        name = committable["remove"]
        if not is_name(name) or any(map(hidden, name.split("/"))) or name.rpartition("/")[2].startswith(self._final):
            raise self._strange(committable)
        if not self._store.is_link(name):
            with reported(self._store.path(name), "remove what is replaced"):
                self._store.remove(name)

    def _complete(self, committable: Committable) -> None:
        directory = committable["success"]
        if not is_name(directory) or not self._partitions.is_partition(directory):
            raise self._strange(committable)
        if self._success is None:  # the option is gone since
            return
        if self._success.told is not None:
            texts = self._partitions.texts(directory) or {}
            names = self._partitions.names
            self._success.told.commit(
                CompletePartition(self._store.path(directory), names, tuple(texts[n] for n in names))
            )
        if not self._success.file:
            return
        name = f"{directory}/{self._success.file}"
        with reported(self._store.path(name), "write the success file"):
            self._store.touch(name)

    def _known(self, committable: Committable) -> dict[str, int]:
        pending: Any = committable["pending"]
        if not isinstance(pending, dict):
            raise self._strange(committable)
        for directory, seen in pending.items():
            if not self._partitions.is_partition(directory) or not isinstance(seen, int):
                raise self._strange(committable)
        return dict(pending)

    def _names(self, committable: Committable) -> tuple[str, str]:
        """Where a part is staged, and its name when it is published. CheckpointError when it is none of ours."""
        staged, final = committable.get("staged"), committable.get("final")
        if isinstance(staged, str) and isinstance(final, str):
            directory, _, name = staged.rpartition("/")
            partition, _, file = final.rpartition("/")
            ours = directory == self._staging and name.startswith(self._staged) and file.startswith(self._final)
            placed = self._partitions.is_partition(partition) if self._partitions else not partition
            if ours and placed and is_name(staged) and is_name(final):
                return staged, final
        raise self._strange(committable)

    def _strange(self, committable: Any) -> CheckpointError:
        return CheckpointError(
            f"the checkpoint names {committable!r}, which is no part file of this job in {self._store.root}",
            hint="somebody changed the checkpoint; restore it from a backup, or start anew with --fresh",
        )

    # ---- what there is

    def published(self, after: int) -> list[str]:
        name = re.compile(re.escape(f"{self._final}-") + r"\d+-(\d+)-\d+\..*")
        found = [(m, n) for n in self._visible() if (m := name.fullmatch(n.rpartition("/")[2]))]
        return [self._store.path(n) for m, n in found if int(m[1]) > after]

    def others(self) -> list[str]:
        if self._replaced is not None:
            return []  # they are replaced
        last = [(n, n.rpartition("/")[2]) for n in self._visible()]
        return [self._store.path(n) for n, f in last if f.startswith(self._job) and not f.startswith(self._final)]

    def _visible(self) -> list[str]:
        with reported(self._store.root, "list the directory"):
            return self._store.files() if self._partitions else self._store.names()

    def abort(self) -> None:
        with reported(self._store.path(self._staging), "remove staged files"):
            for name in self._store.names(self._staging):
                if name.startswith(self._staged):
                    self._store.remove(f"{self._staging}/{name}")
