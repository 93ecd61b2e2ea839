"""Publishes what a job's sinks have prepared: with each checkpoint, and again when a job goes on from one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlstream import faults
from sqlstream.contracts import Sink, SinkCommitter, SinkTask, Stage
from sqlstream.errors import CheckpointError

Parts = Mapping[str, list[Any]]  # by a sink's id in manifests: what it has prepared


class Publisher:
    """The committers of a job's sinks. `sinks`: by their ids in manifests; `task`: whose output it is.

    Sinks of one place have one committer: whether a partition is complete is no question of one statement alone.
    """

    def __init__(self, sinks: Mapping[str, Sink], task: SinkTask) -> None:
        by_place: dict[str, SinkCommitter] = {}
        self._committers: dict[str, SinkCommitter] = {}
        for key, sink in sinks.items():
            place = sink.place or f" {key}"
            if place not in by_place:
                by_place[place] = sink.committer(task)
            self._committers[key] = by_place[place]
        self._each_once = tuple(by_place.values())

    def __bool__(self) -> bool:
        """Whether there are sinks."""
        return bool(self._committers)

    def combine(self, parts: Parts, now: int) -> dict[str, list[Any]]:
        """What goes into a checkpoint, of what all tasks have prepared for it: that of a place by the first of its sinks.
        `now`: the clock's, in µs."""
        together: dict[int, tuple[str, list[Any]]] = {}
        for key, committer in self._committers.items():
            together.setdefault(id(committer), (key, []))[1].extend(parts.get(key, []))
        made = {key: self._committers[key].combine(prepared, now) for key, prepared in together.values()}
        return {key: made.get(key, []) for key in self._committers}

    def publish(self, parts: Parts) -> None:
        """Makes them visible, one after the other."""
        for committer, part in self._each(parts):
            committer.commit([part])

    def recover(self, parts: Parts, before: Stage) -> list[str]:
        """What `publish` does, after a restart: what a process before this one had begun to publish may be there, and a
        reader may have taken it away since. The names of such are given back."""
        gone = []
        for committer, part in self._each(parts, before is not Stage.COMMITTED):
            gone += committer.recover([part], before)
        return gone

    def _each(self, parts: Parts, shows: bool = True) -> Iterator[tuple[SinkCommitter, Any]]:
        """Each part, with its committer. `shows`: what is done with it makes it visible."""
        for key, committer in self._committers.items():
            for part in parts.get(key, []):
                yield committer, part
                if shows:
                    faults.point("mid-publish")

    def refuse_unknown(self, newest: int) -> None:
        """CheckpointError when a sink shows output of a checkpoint after `newest` (0: there is none)."""
        for committer in self._each_once:
            if unknown := committer.published(newest):
                raise CheckpointError(
                    f"{unknown[0]} was published by a checkpoint that is lost (the newest one there is "
                    f"{newest or 'none'}): going on from here would repeat rows",
                    hint="restore the checkpoint's directory from a backup, or start anew with --fresh and another "
                    "path for the sink",
                )

    def others(self) -> list[str]:
        """What other runs of the job have published."""
        return [name for committer in self._each_once for name in committer.others()]

    def abort(self) -> None:
        """Removes what the run has prepared and not published."""
        for committer in self._each_once:
            committer.abort()

    def withdraw(self, parts: Parts) -> None:
        """Publishing these has failed, and nobody goes on with it: what is visible is taken back."""
        try:
            for key, committer in self._committers.items():
                committer.withdraw(list(parts.get(key, [])))
        finally:
            self.abort()
