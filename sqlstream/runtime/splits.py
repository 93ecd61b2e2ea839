"""Which splits the sources of a job have, and which worker reads them: the n-th one is the n-th worker's, in turn."""

from __future__ import annotations

from collections.abc import Callable

from sqlstream.checkpoint.manifest import Manifest
from sqlstream.contracts import Source, Split
from sqlstream.operators.source_scan import SourceScan
from sqlstream.operators.split_state import SplitState, unpacked
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.replay import Replay
from sqlstream.runtime.worker import Worker

DISCOVERY_SECONDS = 0.1
HELD_SECONDS = 60.0  # for which one split may hold the watermark before that is said


class Splits:
    """Splits by source. `begin` finds them, `assign` gives them out, `look` adds what came since; `now`: seconds, by which
    it looks; `say` is told what sources have to say."""

    def __init__(
        self, graph: JobGraph, workers: list[Worker], now: Callable[[], float], say: Callable[[str], None]
    ) -> None:
        self._workers, self._now, self._say = workers, now, say
        self._ids = graph.ids
        self._scans = {i: n for i, n in enumerate(graph.nodes) if isinstance(n, SourceScan)}
        self._splits: dict[int, list[Split]] = {}
        self._later: dict[int, list[Split]] = {}  # found while a replay lasts
        self._given: dict[int, int] = {}  # how many the workers have
        self._newest: dict[int, Split] = {}  # numbers go on from it, so it is not forgotten
        self._forgotten: dict[int, set[str]] = {i: set() for i in self._scans}
        self._states: dict[int, dict[str, SplitState]] = {}
        self._holders: dict[int, tuple[str, int, float]] = {}  # split, its watermark, since when
        self._named: dict[int, str] = {}  # those of which that was said
        self._looked = 0.0

    def begin(self, manifest: Manifest | None, replay: Replay | None, durable: bool) -> None:
        """Those of the checkpoint, and new ones; while a replay lasts only the checkpoint's. `durable`: the job takes checkpoints."""
        for i, node in self._scans.items():
            old = {} if manifest is None else manifest.sources.get(self._ids[i], {})
            states = {k: SplitState.from_json(k, v) for k, v in unpacked(old).items()}
            if replay is not None:
                replay.limit(self._ids[i], states)
            known = tuple(s.split for s in sorted(states.values(), key=lambda s: s.split.number))
            positions = {k: s.position for k, s in states.items()}
            node.source.begins(durable)
            found = node.source.splits(known, positions, {k for k, s in states.items() if s.finished})
            self._splits[i] = found if replay is None else list(known)
            self._later[i] = [] if replay is None else found[len(known) :]
            self._states[i] = states
            self._say_all(node.source)
        self._looked = self._now()

    def assign(self) -> None:
        """Gives all that were found to the workers."""
        for i, splits in self._splits.items():
            for t, worker in enumerate(self._workers):
                mine = splits[t :: len(self._workers)]
                states = [self._states[i].get(s.id) or SplitState(s) for s in mine]
                source = self._scans[i].source
                worker.assign(i, states, source.bounded or source.settled)
            self._given[i] = len(splits)
            for split in splits:
                self._note(i, split)
        self._splits, self._states = {}, {}

    def look(self) -> None:
        """Now and then: new splits of unbounded sources, and what sources have to say."""
        if self._now() - self._looked < DISCOVERY_SECONDS:
            return
        for i, node in self._scans.items():
            if node.source.bounded or node.source.settled:
                self._say_all(node.source)  # that its connection was lost, what was deleted meanwhile
                continue
            for split in [*self._later.pop(i, []), *node.source.new_splits()]:
                self._workers[self._given[i] % len(self._workers)].assign(i, [SplitState(split)], False)
                self._given[i] += 1
                self._note(i, split)
            self._forget(i, node.source)
            self._watch_holder(i, node)
            self._say_all(node.source)
        self._looked = self._now()

    def checkpointed(self, manifest: Manifest) -> None:
        """Tells the sources that a checkpoint is complete."""
        for i, node in self._scans.items():
            found = unpacked(manifest.sources.get(self._ids[i], {}))
            node.source.checkpointed({k: s["position"] for k, s in found.items()})

    @property
    def holder(self) -> str | None:
        """The split that has held a watermark back for long, by its path; None where none has."""
        return next(iter(self._named.values()), None)

    def _note(self, node: int, split: Split) -> None:
        if node not in self._newest or split.number > self._newest[node].number:
            self._newest[node] = split

    def _forget(self, node: int, source: Source) -> None:
        self._forgotten[node] |= set(source.forgotten())
        for split_id in self._forgotten[node] - {self._newest[node].id if node in self._newest else ""}:
            self._forgotten[node].discard(split_id)
            for worker in self._workers:
                worker.scans[node].forget(split_id)

    def _watch_holder(self, node: int, scan: SourceScan) -> None:
        """Says, once, which split holds the watermark while others are ahead of it."""
        queues = [w.scans[node].queue for w in self._workers]
        lowest = min((s for q in queues if (s := q.lowest())), key=lambda s: s.watermark, default=None)
        if lowest is None or scan.watermark is None or max(q.greatest for q in queues) <= lowest.watermark:
            self._holders.pop(node, None)
            self._named.pop(node, None)
            return
        now = self._now()
        held = self._holders.get(node)
        if held is None or held[:2] != (lowest.id, lowest.watermark):
            self._holders[node] = (lowest.id, lowest.watermark, now)
            self._named.pop(node, None)
        elif now - held[2] >= HELD_SECONDS:
            self._holders[node] = (lowest.id, lowest.watermark, float("inf"))
            name = self._named[node] = str(lowest.split.info.get("path", lowest.id))
            self._say(
                f"warning: table {scan.table}: {name} holds the watermark: it has had no rows for {HELD_SECONDS:.0f} s, "
                "and others are ahead; 'table.exec.source.idle-timeout' says after what time it is passed over"
            )

    def _say_all(self, source: Source) -> None:
        for text in source.notes():
            self._say(text)
