"""Numbers checkpoints, completes them, finds the newest good one, and deletes what no kept one needs.

    <dir>/chk-<n>/manifest.json   written last; without it checkpoint n does not exist
    <dir>/shared/<sha256>.arrow   state files, which several checkpoints may name

One coordinator for a job directory (`JobLock` sees to it), and only it deletes. What may go is found by marking
what the kept manifests name, never by counting. A file that none names goes when it was found so in two rounds
running, when no attempt in flight wrote or protects it, and when it is older than a grace time: `grace` for files
whose history is not known here (a writer of a lost attempt may still be at work), `retired_grace` for files of
manifests that were retired here, and for all that are older than the coordinator: who wrote them had the job's lock
before, and is gone. Else what a process had retired last would stay for long after each start.

Two checkpoints are kept by default, Flink keeps one: a damaged file is found only when it is read, and then there
has to be another to fall back to; and a transactional sink needs the one before until its commit went through.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlstream.checkpoint.manifest import SHARED, TABLE, FileEntry, Manifest
from sqlstream.checkpoint.sealed import Refused
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.checkpoint.verification import Verification
from sqlstream.clock import Clock, SystemClock
from sqlstream.errors import CheckpointError, InternalError
from sqlstream.threads import mapped

RETAINED = 2
GRACE = 3600.0
RETIRED_GRACE = 60.0
_MANIFEST = re.compile(r"chk-(\d+)/manifest\.json")


def manifest_name(checkpoint_id: int) -> str:
    """Where the manifest of a checkpoint is, relative to the job's checkpoints."""
    return f"chk-{checkpoint_id}/manifest.json"


@dataclass
class Attempt:
    """A checkpoint in flight. Files put in `protected` are not deleted while it is. It ends once: complete, or aborted."""

    checkpoint_id: int
    started: float
    protected: set[str] = field(default_factory=set)
    completed: bool = False
    aborted: bool = False
    _ending: threading.Lock = field(default_factory=threading.Lock)

    def end(self, completed: bool) -> bool:
        """Says how it ends; False when it had ended the other way."""
        with self._ending:
            if completed:
                self.completed = not self.aborted
                return self.completed
            self.aborted = not self.completed
            return self.aborted

    def check(self) -> None:
        """CheckpointError when it was aborted: what is done for it is of no use any more."""
        if self.aborted:
            raise CheckpointError(f"checkpoint {self.checkpoint_id} was given up")


@dataclass(frozen=True)
class Found:
    """The newest good checkpoint, and a sentence for each newer one that was skipped.

    `newer`: the manifests of those of which only state files are damaged, newest first: their output is published.
    `verification`: of what was not looked into yet.
    """

    manifest: Manifest
    skipped: list[str]
    newer: list[Manifest] = field(default_factory=list)
    verification: Verification = field(default_factory=Verification)


class CheckpointCoordinator:
    """`cache`: where `latest` puts state files that it had to download, for `restore_task` to use. `after`: a number
    that checkpoints of this process have had; those that failed have left nothing else that says so.

    `begin` and `abort` may be called on another thread than `complete`.
    """

    def __init__(
        self,
        storage: CheckpointStorage,
        job_id: str,
        *,
        retained: int = RETAINED,
        grace: float = GRACE,
        retired_grace: float = RETIRED_GRACE,
        clock: Clock | None = None,
        cache: Path | None = None,
        after: int = 0,
    ) -> None:
        if retained < 1:
            raise InternalError(f"{retained} checkpoints retained")
        self.storage, self.job_id, self.retained = storage, job_id, retained
        self.grace, self.retired_grace = grace, retired_grace
        self.cache = cache
        self._clock: Clock = clock or SystemClock()
        self._began = self._now()
        self._attempts: dict[int, Attempt] = {}
        self._held: dict[object, set[str]] = {}
        self._next = 1
        self._good: dict[int, Manifest] = {}  # manifests that were read or written
        self._bad: set[int] = set()  # manifests that cannot be read
        self._damaged: set[int] = set()  # good manifests of files that are not
        self.last_sweep_error: CheckpointError | None = None
        self.retired: list[int] = []  # of this process, until somebody takes them
        self._named: set[str] = set()  # files that manifests known here name or named
        self._garbage: dict[str, float] = {}  # unnamed in the last round: since when
        self._load()
        self._next = max(self._next, after + 1)

    @property
    def last(self) -> int:
        """The greatest number that a checkpoint of the job has had, as far as is known here."""
        return self._next - 1

    def begin(self) -> Attempt:
        """A new attempt. Its number was never used by this job before."""
        attempt = Attempt(self._next, self._now())
        self._next += 1
        self._attempts[attempt.checkpoint_id] = attempt
        return attempt

    def abort(self, attempt: Attempt) -> bool:
        """The attempt failed, or is given up while `complete` may be at work; what it uploaded is left to a later sweep.
        False when it is complete already."""
        if not attempt.end(completed=False):
            return False
        self._attempts.pop(attempt.checkpoint_id, None)
        return True

    def hold(self, names: Iterable[str]) -> Callable[[], None]:
        """Files that are read by somebody who is no checkpoint: they stay until the answer is called. From any thread."""
        token = object()
        self._held[token] = set(names)

        def release() -> None:
            self._held.pop(token, None)

        return release

    def complete(self, attempt: Attempt, manifest: Manifest) -> Manifest:
        """Write the manifest, which completes the checkpoint, then retire old ones. Returns it as written.

        CheckpointError when it could not be written, or was aborted meanwhile: then the attempt is over. An error in
        deleting is not one of the checkpoint: it is left to the next round.
        """
        if attempt.checkpoint_id != manifest.checkpoint_id or manifest.job_id != self.job_id:
            raise InternalError(f"manifest of {manifest.job_id}/{manifest.checkpoint_id} for {attempt}")
        n = attempt.checkpoint_id
        written = replace(manifest, previous=max(self._usable(), default=None))
        attempt.check()
        try:
            self.storage.put(manifest_name(n), written.to_json().encode())
            if not attempt.end(completed=True):
                attempt.check()
        except CheckpointError:
            attempt.end(completed=False)
            try:  # a store may have failed after it wrote
                self.storage.delete([manifest_name(n)])
            except CheckpointError:
                self._bad.add(n)
            raise
        finally:
            self._attempts.pop(n, None)
        self._remember(written)
        try:
            self.sweep()
        except CheckpointError as e:
            self.last_sweep_error = e
        return written

    def latest(self, whole: bool = True) -> Found | None:
        """The newest complete checkpoint of which every file is there, whole and unchanged; None if none exists.

        Unless `whole`, tables of stores are only as large as they should be: their hashes are compared in the background,
        by `verification`, which must end well before anything follows from them that cannot be taken back. Who reads
        them meanwhile reads no damaged row: RocksDB checks each block. Newer ones that are damaged are skipped, with the reason. All damaged: CheckpointError that says why.
        A manifest of a newer format is an error: going back behind it would repeat output.
        """
        skipped: list[str] = []
        newer: list[Manifest] = []
        for n in sorted(self._good.keys() | self._bad, reverse=True):
            manifest: Manifest | None = None
            try:
                manifest = self._read(n)
                files = list(manifest.files().values())
                mapped(self.storage.transfers, self._present, files)
                later = [] if whole else [f for f in files if f.kind == TABLE]
                mapped(self.storage.transfers, self._verify, [f for f in files if whole or f.kind != TABLE])
                self._remember(manifest)
                self._damaged.discard(n)
                return Found(manifest, skipped, newer, Verification(self._verify, later))
            except Refused:
                raise
            except CheckpointError as e:
                if e.transient:
                    raise
                self._damaged.add(n)
                if manifest is not None:
                    newer.append(manifest)
                skipped.append(f"checkpoint {n} cannot be used: {e.message}")
        if skipped:
            raise CheckpointError(
                f"no checkpoint in {self.storage.url} can be used:\n  " + "\n  ".join(skipped),
                hint="restore the files from a backup, or start anew with --fresh",
            )
        return None

    def repair(self, kept: Manifest) -> bool:
        """Writes a manifest again of which there is a copy elsewhere. Only that of the newest checkpoint, when the
        store has lost or damaged it: else nothing happens, and the answer is False."""
        n = kept.checkpoint_id
        if kept.job_id != self.job_id or n in self._good or n < max(self._good.keys() | self._bad, default=0):
            return False
        self.storage.put(manifest_name(n), kept.to_json().encode())
        self._remember(kept)
        self._next = max(self._next, n + 1)
        return True

    def adopt(self, manifest: Manifest) -> Manifest:
        """Writes the manifest of a checkpoint that was brought here, whose files are here, under its own number."""
        n = manifest.checkpoint_id
        if manifest.job_id != self.job_id or n < 1 or self._good or self._bad:
            raise InternalError(f"checkpoint {n} of {manifest.job_id} brought into those of {self.job_id}")
        self.storage.put(manifest_name(n), manifest.to_json().encode())
        self._remember(manifest)
        self._next = max(self._next, n + 1)
        return manifest

    def checkpoints(self) -> list[int]:
        """The complete checkpoints that are kept, oldest first."""
        return sorted(self._good)

    def manifest(self, checkpoint_id: int) -> Manifest:
        """What a kept checkpoint consists of. CheckpointError when it is not there, or is no good."""
        if checkpoint_id not in self._good:
            raise CheckpointError(f"there is no checkpoint {checkpoint_id} in {self.storage.url}")
        return self._good[checkpoint_id]

    def sweep(self) -> list[str]:
        """Retire checkpoints that are too many, and delete files that no kept one names. Returns what went."""
        kept = self._usable()[-self.retained :]
        retired = [n for n in (*self._good, *self._bad) if kept and n < kept[0]]
        self.storage.delete([manifest_name(n) for n in retired])
        self.retired += retired
        for n in retired:
            self._good.pop(n, None)
            self._bad.discard(n)
            self._damaged.discard(n)
        if self._bad:  # what these name is not known
            return []
        marked = {name for m in self._good.values() for name in m.files()}.union(*list(self._held.values()))
        attempts = list(self._attempts.values())
        for attempt in attempts:
            marked |= attempt.protected
        self.storage.retain(marked)
        now = self._now()
        oldest_attempt = min((a.started for a in attempts), default=now + 1)
        garbage: dict[str, float] = {}
        doomed = []
        for f in self.storage.files(SHARED):
            if f.name in marked:
                continue
            garbage[f.name] = self._garbage.get(f.name, now)
            written = garbage[f.name] if f.modified is None else f.modified
            known = f.name in self._named or written < self._began
            grace = self.retired_grace if known else self.grace
            if f.name in self._garbage and now - written >= grace and written < oldest_attempt:
                doomed.append(f.name)
        self._garbage = garbage
        self.storage.delete(doomed)
        for name in doomed:
            self._garbage.pop(name, None)
            self._named.discard(name)
        return doomed

    def _usable(self) -> list[int]:
        return sorted(self._good.keys() - self._damaged)

    def _now(self) -> float:
        return self._clock.now() / 1e6

    def _load(self) -> None:
        numbers = []
        for f in self.storage.files():
            if m := _MANIFEST.fullmatch(f.name):
                numbers.append(int(m[1]))
        self._next = max(numbers, default=0) + 1
        for n in numbers:
            try:
                self._remember(self._read(n))
            except Refused:
                raise
            except CheckpointError as e:
                if e.transient:
                    raise
                self._bad.add(n)

    def _read(self, n: int) -> Manifest:
        manifest = Manifest.from_json(self.storage.read(manifest_name(n)))
        if manifest.job_id != self.job_id:
            raise Refused(
                f"{self.storage.url} holds checkpoints of job {manifest.job_id!r}, this is {self.job_id!r}",
                hint="give every job a checkpoint directory of its own",
            )
        if manifest.checkpoint_id != n:
            raise CheckpointError(f"its manifest is that of checkpoint {manifest.checkpoint_id}")
        return manifest

    def _remember(self, manifest: Manifest) -> None:
        self._bad.discard(manifest.checkpoint_id)
        self._good[manifest.checkpoint_id] = manifest
        self._named |= manifest.files().keys()

    def _present(self, entry: FileEntry) -> None:
        """It is there, as large as it should be; from a remote store it comes to the cache."""
        stored = self.storage.stat(entry.name)
        if stored is None:
            raise CheckpointError(f"{entry.name} is missing")
        if stored.size != entry.size:
            raise CheckpointError(f"{entry.name} has {stored.size} bytes instead of {entry.size}")
        if (local := self._cached(entry)) is not None and not local.exists():
            self.storage.fetch(entry.name, local)

    def _verify(self, entry: FileEntry) -> None:
        """Its content is what it should be."""
        local = self._cached(entry)
        digest = self.storage.sha256(entry.name) if local is None else self.storage.hashes.of(local)
        if digest != entry.sha256:
            if local is not None:
                local.unlink(missing_ok=True)
            raise CheckpointError(f"{entry.name} is damaged: its sha256 is {digest}")

    def _cached(self, entry: FileEntry) -> Path | None:
        """Where a file of a remote store is here."""
        if self.cache is None or self.storage.is_local:
            return None
        return self.cache / entry.name.rsplit("/", 1)[-1]
