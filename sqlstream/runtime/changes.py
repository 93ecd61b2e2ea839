"""What becomes of a job's state and output when it goes on as another one: changed statements, tables, options.

Operators are known by what they mean (`meaning.py`). One that means what it did, and whose state has the same columns,
keeps it. One that is new, or has changed, is computed from the beginning of its tables up to where the checkpoint
stands (`rebuild.py`), and so is a sink that this job has not written yet. A sink that it has written goes on where its
rows mean the same: what is published is never taken back, so else the change is refused, unless the user says that what
is written stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from sqlstream.checkpoint.manifest import Manifest, NodeMark, OperatorState, likeness
from sqlstream.checkpoint.restore import check_schemas
from sqlstream.contracts import FAIL, SinkTask
from sqlstream.errors import CheckpointError, did_you_mean
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.sink import Sink
from sqlstream.operators.source_scan import SourceScan
from sqlstream.operators.split_state import SplitState, unpacked
from sqlstream.operators.values import Values
from sqlstream.options import SessionOptions
from sqlstream.runtime.allowed import Allowed
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.meaning import meanings
from sqlstream.runtime.tables import Tables, differences, growing, remembered

KEPT, REBUILT, BEGINS, DROPPED, REFUSED = "kept", "rebuilt", "begins", "dropped", "refused"
T = TypeVar("T")


@dataclass(frozen=True)
class Fate:
    """What becomes of an operator or a sink. `do`: what to run it with, where it is refused."""

    fate: str
    what: str
    why: str = ""
    do: str = ""

    def text(self) -> str:
        """A line for people."""
        return f"{self.fate:<8} {self.what}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class Change:
    """`states` and `sources`: ids of the old plan by those of the new one. `targets`: the nodes of the graph whose state
    or rows are to be computed; `timed`: the sources whose watermark is what it was."""

    manifest: Manifest
    graph: JobGraph
    fates: tuple[Fate, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[PhysicalNode, ...] = ()
    timed: frozenset[str] = frozenset()
    finished: bool = False  # all that it will ever write is written, but for the targets'
    rows: int = 0  # that are read again
    batch: bool = False  # the old job ran in batch mode: how many rows it read is not known

    @property
    def refused(self) -> list[Fate]:
        """What keeps the job from going on."""
        return [f for f in self.fates if f.fate == REFUSED]

    def lines(self, all_: bool = True) -> list[str]:
        """What becomes of all, or of what is not just kept."""
        return [f.text() for f in self.fates if all_ or f.fate != KEPT or f.why]

    def ways(self) -> list[str]:
        """What would do where it is refused."""
        ways = list(dict.fromkeys(f.do for f in self.refused if f.do))
        return [*ways, "run it as it was, give the changed job another pipeline.name, or start anew with --fresh"]

    def composed(self) -> dict[str, Any]:
        """The parts of the old manifest that the new plan goes on with."""
        moved = self.moved(self.manifest.metrics.get("source_watermarks", {}), self.timed)
        metrics = {
            k: v for k, v in self.manifest.metrics.items() if k not in ("source_watermarks", "state", "finished")
        }
        return {
            "operators": {new: self.manifest.operators[old] for new, old in self.states.items()},
            "sources": {new: self.manifest.sources[old] for new, old in self.sources.items()},
            "sinks": {},
            "metrics": {**metrics, "finished": self.finished, "source_watermarks": moved},
        }

    def moved(self, by_old: Mapping[str, T], only: Collection[str]) -> dict[str, T]:
        """What is known of sources by their old ids, by the new ones."""
        return {new: by_old[old] for new, old in self.sources.items() if old in by_old and new in only}


def fitting(graph: JobGraph, former: Callable[[], Iterator[JobGraph]] | None, manifest: Manifest) -> JobGraph:
    """`graph`; or another one of the same statements, as versions before made them or other settings do, where the checkpoint is
    its, or has more of its operators."""
    if former is None or graph.fingerprint == manifest.plan_fingerprint:
        return graph
    old = manifest.plan_fingerprint, manifest.nodes
    return max([graph, *former()], key=lambda g: likeness(g.fingerprint, g.marks, *old))


def allowed_from(allowed: Allowed, options: SessionOptions, manifest: Manifest) -> Allowed:
    """What the user accepts: of a job that begins from a savepoint all, where its options say so."""
    rest = options.ignore_unclaimed and bool(manifest.metrics.get("recovered"))
    return replace(allowed, rest=True) if rest else allowed


def change_of(
    run: str,
    published: int,
    manifest: Manifest,
    graph: JobGraph,
    options: Tables,
    allowed: Allowed,
    batch: Callable[[], str] | None = None,
) -> Change | None:
    """What becomes of the job of a checkpoint that goes on as `graph`; None: it is the same, or (one of a former version,
    or of other statements in batch mode) it is not known what its operators meant. `options`: of the tables, as they are
    written. `batch`: the fingerprint that the statements have in batch mode."""
    tables = remembered(options, run)
    same = {k: m.hash for k, m in manifest.nodes.items()} == {k: m.hash for k, m in graph.marks.items()}
    same = same and manifest.plan_fingerprint == graph.fingerprint and manifest.tables == tables
    _check_names(graph, allowed)
    if not manifest.nodes and batch is not None and batch() == manifest.plan_fingerprint:
        return after_batch(manifest, graph, options, run, published)
    if same or not manifest.nodes:  # what may be lost once is not lost each time that the same command is run
        return None
    return compare(manifest, graph, tables, options, published, allowed)


def after_batch(manifest: Manifest, graph: JobGraph, options: Tables, run: str, published: int) -> Change | None:
    """What becomes of a job of batch mode that goes on as a stream of the same statements; None: there is nothing more to
    come. All state is computed, up to where the tables ended then, and the outputs go on."""
    tables = remembered(options, run)
    if found := differences(growing(manifest.tables, tables), tables):
        return Change(manifest, graph, tuple(Fate(REFUSED, text) for text in found))
    scans = [n for n in graph.nodes if isinstance(n, SourceScan)]
    if all(s.source.bounded for s in scans):
        return None
    ids = {id(n): i for n, i in zip(graph.nodes, graph.ids, strict=True)}
    fates = []
    if manifest.checkpoint_id > published and any(manifest.sinks.values()):
        fates.append(Fate(REFUSED, "the output", "it is not published yet", "run it in batch mode once more"))
    for s in scans:
        if ids[id(s)] not in manifest.sources:
            fates.append(
                Fate(
                    REFUSED,
                    f"table {s.table}",
                    "where it ended in batch mode is not known: its files changed meanwhile, or an earlier version read them",
                )
            )
    for n in graph.nodes:
        what = f"{ids[id(n)]}({n.details()})"
        if n.waits():
            why = "in batch mode all of its time is over: what it has written there would come again"
            fates.append(
                Fate(REFUSED, what, why, "let the stream write to a table with another 'path', under another name")
            )
        elif n.remembers():
            fates.append(Fate(REBUILT, what, "what was read in batch mode is read again"))
        elif isinstance(n, Sink):
            fates.append(Fate(KEPT, f"the output to table {n.table}"))
    sources = {ids[id(s)]: ids[id(s)] for s in scans}
    targets = tuple(n for n in graph.nodes if n.remembers()) or tuple(scans)
    return Change(manifest, graph, tuple(fates), {}, sources, targets, frozenset(), batch=True)


def compare(
    manifest: Manifest, graph: JobGraph, tables: Tables, options: Tables, published: int, allowed: Allowed
) -> Change:
    """What becomes of the job of `manifest` when it goes on as `graph`. `tables`: as manifests remember them; `options`:
    as they are written; `published`: the last checkpoint whose output is. Reads nothing but the files' beginnings."""
    return _Comparison(manifest, graph, tables, options, published, allowed).change()


_ANOTHER = "a table of another name, with a place of its own, which gets all rows"


class _Comparison:
    def __init__(
        self,
        manifest: Manifest,
        graph: JobGraph,
        tables: Tables,
        options: Tables,
        published: int,
        allowed: Allowed,
    ) -> None:
        self.manifest, self.graph, self.options, self.allowed = manifest, graph, options, allowed
        self.tables = tables
        self.task = SinkTask(manifest.job_name, manifest.run_id, 0)
        self.pending = manifest.checkpoint_id > published
        self.ids = {id(n): i for n, i in zip(graph.nodes, graph.ids, strict=True)}
        self.scans = [n for n in graph.nodes if isinstance(n, SourceScan)]
        old = manifest.tables
        self.other = {t for t in tables.keys() & old.keys() if tables[t] != old[t]}
        self.read = {m.table: k for k, m in manifest.nodes.items() if m.name == SourceScan.name}
        self.empty = {s.table for s in self.scans} - self.read.keys()
        self.written = {m.table for m in manifest.nodes.values() if m.name == Sink.name}
        hashes = meanings(graph.nodes, graph.zone, self.other, self.empty)
        self.hashes = {id(n): h for n, h in zip(graph.nodes, hashes, strict=True)}
        self.sources = {
            self.ids[id(s)]: self.read[s.table]
            for s in self.scans
            if s.table in self.read and s.table not in self.other and self.read[s.table] in manifest.sources
        }
        self.fates: list[Fate] = []
        self.states: dict[str, str] = {}
        self.targets: dict[int, tuple[PhysicalNode, str]] = {}  # with why
        self.ended = bool(manifest.metrics.get("finished"))

    def change(self) -> Change:
        finished = self.ended and not self.empty and not self.other & {s.table for s in self.scans}
        self._sinks()
        if not finished:
            self._operators()
        self._dropped()
        needed = self._needed()
        rows = sum(s["rows"] for scan in needed for s in self._splits(scan).values())
        self._rebuilt(needed, rows)
        needed = self._needed()
        return Change(
            self.manifest,
            self.graph,
            tuple(self.fates),
            self.states,
            self.sources,
            tuple(n for n, _ in self.targets.values()) if needed else (),
            frozenset(self.ids[id(s)] for s in self.scans if self._same_time(s)),
            finished=finished,
            rows=rows,
        )

    # ---- sinks

    def _sinks(self) -> None:
        left: dict[str, list[NodeMark]] = {}
        for mark in self._old(Sink.name).values():
            if self._place(mark.table, self.manifest.tables) == self._place(mark.table, self.tables):
                left.setdefault(mark.table, []).append(mark)
        sinks = [n for n in self.graph.nodes if isinstance(n, Sink)]
        others = []
        for node in sinks:
            if node.table in left and node.table in self.other:
                self._say(
                    REFUSED,
                    f"the output to table {node.table}",
                    "its options are others",
                    "give it another 'path'" if self._has_path(node) else f"write to {_ANOTHER}",
                )
                continue
            same = next((m for m in left.get(node.table, []) if m.hash == self.hashes[id(node)]), None)
            if same is None:
                others.append(node)
                continue
            left[node.table].remove(same)
            self._say(KEPT, f"the output to table {node.table}", "")
        for node in others:
            self._sink(node, bool(left.get(node.table)))

    def _sink(self, node: Sink, written: bool) -> None:
        what, keep = f"the output to table {node.table}", f"--keep-output {node.table}"
        elsewhere = "a table with another 'path', which gets all rows" if self._has_path(node) else _ANOTHER
        place = self._place(node.table, self.tables)
        before = [t for t in self.written if t != node.table and place == self._place(t, self.manifest.tables)]
        if place and before:
            self._say(
                REFUSED,
                what,
                f"table {before[0]} has written there",
                f"write to another 'path'; or call the table {before[0]} as before",
            )
        elif node.table in self.allowed.keep_output or (written and self.allowed.rest):
            why = "what is written stays, and what follows is by the new query"
            if not node.inputs[0].traits.append_only:
                why += ", also the rows that updates take back, which it has not"
            self._say(KEPT, what, why)
        elif written:
            self._say(
                REFUSED,
                what,
                "its query gives other rows now, and those that it has written cannot be taken back",
                f"write to {elsewhere}; or say {keep}: what is written stays, and "
                "only what follows is by the new query",
            )
        elif there := node.sink.committer(self.task).published(0):
            self._say(
                REFUSED,
                what,
                f"this job has written there before, which no checkpoint knows: {there[0]}",
                f"write to another 'path', or remove the files; or say {keep}: they stay, and only what follows is written",
            )
        else:
            self.targets[id(node)] = (node, "all rows from the start")

    # ---- operators

    def _operators(self) -> None:
        by_hash: dict[str, list[str]] = {}
        for key, mark in self.manifest.nodes.items():
            if mark.stateful and key in self.manifest.operators:
                by_hash.setdefault(mark.hash, []).append(key)
        for node in self.graph.nodes:
            if not node.remembers():
                continue
            key = self.ids[id(node)]
            same = by_hash.get(self.hashes[id(node)], [])
            if {key, node.name} & self.allowed.start_empty:
                self._say(BEGINS, self._named(node), "empty, as you say (--start-empty)")
            elif not same:
                self.targets[id(node)] = (
                    node,
                    "its state is lost" if self.ended else "it is new, or means something else",
                )
            elif why := _misfit(self.manifest.operators[same[0]], node):
                self.targets[id(node)] = (node, why)
            else:
                self.states[key] = same.pop(0)
                self._say(KEPT, self._named(node), "")

    def _dropped(self) -> None:
        """What nobody has any more. Its last rows must be published: nobody else would."""
        now = {n.table for n in self.graph.nodes if isinstance(n, Sink)}
        tables = {t for t in now if self._place(t, self.manifest.tables) == self._place(t, self.tables)}
        for key, mark in self._old(Sink.name).items():
            if mark.table in tables and key in self.graph.marks:
                continue
            what = f"the output to table {mark.table}" + (", by one statement" if mark.table in tables else "")
            if self.pending and self.manifest.sinks.get(key):
                self._say(
                    REFUSED,
                    what,
                    "it is dropped before its last rows are published",
                    "run the job once more as it was, and stop it",
                )
            else:
                self._say(DROPPED, what, "what is written stays")
        kept = set(self.states.values())
        for key, mark in self.manifest.nodes.items():
            if mark.stateful and key not in kept and not self.ended:
                self._say(DROPPED, f"{key}({mark.details})", "")
        now = {s.table for s in self.scans} - self.other
        for table in self.read.keys() - now:
            self._say(DROPPED, f"the place in table {table}", _difference(table, self.manifest.tables, self.tables))
        for table in sorted(self.other & self.read.keys()):
            self._say(BEGINS, f"table {table}", "it is another one, and read from its start")
        for table in sorted(self.empty):
            self._say(BEGINS, f"table {table}", "it was not read so far, and is read from its start")

    # ---- what is computed

    def _needed(self) -> list[SourceScan]:
        """The tables that are read again for the targets: none where they read new ones only."""
        below = _below(n for n, _ in self.targets.values())
        scans = [n for n in below if isinstance(n, SourceScan) and self.ids[id(n)] in self.sources]
        given = any(isinstance(n, Values) for n in below)
        return scans if scans or not given else []

    def _rebuilt(self, needed: list[SourceScan], rows: int) -> None:
        gone = {id(s): why for s in needed if (why := self._unreadable(s))}
        for node, why in list(self.targets.values()):
            what = self._named(node) if not isinstance(node, Sink) else f"the output to table {node.table}"
            scans = [n for n in _below([node]) if any(n is s for s in needed)]
            lost = [gone[id(s)] for s in scans if id(s) in gone]
            if lost and self.allowed.rest:
                del self.targets[id(node)]
                self._say(BEGINS, what, f"with what follows only: {'; '.join(lost)}")
            elif lost:
                do = f"--keep-output {node.table}" if isinstance(node, Sink) else f"--start-empty {self.ids[id(node)]}"
                says = "it gets what follows only" if isinstance(node, Sink) else "it begins without what came before"
                self._say(REFUSED, what, f"{why}, and {'; '.join(lost)}", f"say {do}: {says}")
            elif scans:
                tables = ", ".join(s.table for s in scans)  # type: ignore[attr-defined]
                self._say(REBUILT, what, f"{why}, from table {tables} ({rows:,} rows to read)")
            else:
                self._say(BEGINS, what, why)

    def _unreadable(self, scan: SourceScan) -> str | None:
        """Why what was read of a table cannot be read again."""
        states = [SplitState.from_json(k, v) for k, v in self._splits(scan).items()]
        if sorted(s.split.number for s in states) != list(range(len(states))):
            return f"files of table {scan.table} that were read are gone"
        old = self.manifest.nodes[self.sources[self.ids[id(scan)]]]
        if scan.source.bad_records != FAIL and _columns(old.details) != _columns(scan.details()):
            return f"which malformed records of table {scan.table} are skipped depends on the columns that are read"
        states.sort(key=lambda s: s.split.number)
        return scan.source.unreadable(
            tuple(s.split for s in states),
            {s.id: s.position for s in states},
            {s.id for s in states if s.finished},
        )

    # ---- small things

    def _splits(self, scan: SourceScan) -> dict[str, dict[str, Any]]:
        return unpacked(self.manifest.sources[self.sources[self.ids[id(scan)]]])

    def _place(self, table: str, tables: Tables) -> tuple[str | None, str | None] | None:
        """Where a table is written, if anywhere that lasts."""
        options = tables.get(table, {})
        return (options.get("connector"), options["path"]) if "path" in options else None

    def _has_path(self, node: Sink) -> bool:
        """Whether a table is known by its 'path': any other is the same one as long as it has its name."""
        return "path" in self.tables.get(node.table, {})

    def _same_time(self, scan: SourceScan) -> bool:
        old = self.sources.get(self.ids[id(scan)])
        return old is not None and self.manifest.nodes[old].hash == self.hashes[id(scan)]

    def _old(self, name: str) -> dict[str, NodeMark]:
        return {k: m for k, m in self.manifest.nodes.items() if m.name == name}

    def _named(self, node: PhysicalNode) -> str:
        return f"{self.ids[id(node)]}({node.details()})"

    def _say(self, fate: str, what: str, why: str, do: str = "") -> None:
        self.fates.append(Fate(fate, what, why, do))


def _below(nodes: Iterable[PhysicalNode]) -> list[PhysicalNode]:
    """The nodes and all that they read."""
    return list(JobGraph(tuple(nodes)).nodes)


def _misfit(old: OperatorState, node: PhysicalNode) -> str:
    """Why the state of a checkpoint is not an operator's; "" where it is."""
    try:
        check_schemas(old, node.placed_states())
    except CheckpointError as e:
        return e.message.splitlines()[0].removesuffix(":")
    return ""


def _difference(table: str, before: Tables, now: Tables) -> str:
    keys = sorted(k for k in before.get(table, {}) if table in now and before[table].get(k) != now[table].get(k))
    return ", ".join(f"its '{k}' was '{before[table][k]}'" for k in keys)


def _columns(details: str) -> str:
    """What a scan reads, in what EXPLAIN prints of it."""
    return details.partition("]")[0]


def _check_names(graph: JobGraph, allowed: Allowed) -> None:
    states = [(i, n.name) for i, n in zip(graph.ids, graph.nodes, strict=True) if n.remembers()]
    tables = {n.table for n in graph.nodes if isinstance(n, Sink)}
    for given, known, what in (
        (allowed.start_empty, {x for pair in states for x in pair}, "operator with state"),
        (allowed.keep_output, tables, "table that is written"),
    ):
        for name in sorted(given - known):
            raise CheckpointError(
                f"the job has no {what} '{name}'",
                hint=did_you_mean(name, sorted(known), f"{what.split()[0]}s") or "--check lists them",
            )
