"""A job's operators in the order in which an epoch goes through them, with ids that stay while the plan stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sqlstream.checkpoint.manifest import NodeMark
from sqlstream.operators.base import PhysicalNode, Way
from sqlstream.operators.exchange import Exchange
from sqlstream.operators.lookup_join import LookupJoin
from sqlstream.operators.sink import Sink
from sqlstream.operators.source_scan import SourceScan
from sqlstream.options import duration_text
from sqlstream.runtime.fingerprint import encoded, fingerprint, outside_id
from sqlstream.runtime.meaning import meanings


@dataclass(frozen=True)
class JobGraph:
    """`roots` are the sinks. `zone`: the session's, in which its operators compute local times. `whole`: the graph of
    which it is a part, with the same ids."""

    roots: tuple[PhysicalNode, ...]
    zone: str = "UTC"
    whole: JobGraph | None = None

    def part(self, roots: tuple[PhysicalNode, ...]) -> JobGraph:
        """The nodes `roots` and what they read."""
        return JobGraph(roots, self.zone, self)

    @cached_property
    def nodes(self) -> tuple[PhysicalNode, ...]:
        """Inputs before those who read them. The lowering has made equal nodes one object."""
        order: dict[int, PhysicalNode] = {}

        def visit(node: PhysicalNode) -> None:
            if id(node) not in order:
                for i in node.inputs:
                    visit(i)
                order[id(node)] = node

        for r in self.roots:
            visit(r)
        return tuple(order.values())

    def give_up(self) -> None:
        """The job is to end: nobody is waited for any more (`Source.give_up`, `Sink.give_up`)."""
        for node in self.nodes:
            if isinstance(node, Sink):
                node.sink.give_up()
            elif isinstance(node, SourceScan):
                node.source.give_up()
            elif isinstance(node, LookupJoin):
                node.table.source.give_up()

    @cached_property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """For each node, where its inputs stand in `nodes`."""
        at = {id(n): i for i, n in enumerate(self.nodes)}
        return tuple(tuple(at[id(i)] for i in n.inputs) for n in self.nodes)

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """What each node means (`meaning.py`)."""
        return meanings(self.nodes, self.zone)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids in manifests and metrics: a name, and a hash of what the operator means. So they stay as long as that
        does. Those of sources and sinks are made of their tables; of several that are equal the second one is `…-2`."""
        if self.whole is not None:
            known = {id(n): i for i, n in zip(self.whole.ids, self.whole.nodes, strict=True)}
            return tuple(known[id(n)] for n in self.nodes)
        met: Counter[str] = Counter()
        out: list[str] = []
        for node, hash_ in zip(self.nodes, self.hashes, strict=True):
            if isinstance(node, Exchange):
                out.append(f"exchange-{len(out)}")
                continue
            given = f"{node.name}-{hash_[:8]}"
            if isinstance(node, (Sink, SourceScan)):
                given = outside_id(node.name, node.table)
            met[given] += 1
            out.append(given if met[given] == 1 else f"{given}-{met[given]}")
        return tuple(out)

    @cached_property
    def places(self) -> dict[str, str]:
        """The ids by those that manifests had before: by place in the plan."""
        steady = [(i, n) for i, n in zip(self.ids, self.nodes, strict=True) if not isinstance(n, Way)]
        return {f"{place}-{node.name}": id_ for place, (id_, node) in enumerate(steady, 1)}

    @cached_property
    def marks(self) -> dict[str, NodeMark]:
        """What a manifest keeps of the nodes, by id: the plan of a later job is compared with it."""
        inputs: dict[int, list[str]] = {}
        out: dict[str, NodeMark] = {}
        for i, node in enumerate(self.nodes):
            below = [t for j in self.inputs[i] for t in inputs[j]]
            inputs[i] = below if isinstance(node, Way) else [self.ids[i]]
            if not isinstance(node, Way):
                table = node.table if isinstance(node, (Sink, SourceScan)) else ""
                stateful = node.remembers()
                out[self.ids[i]] = NodeMark(self.hashes[i], table, stateful, node.name, node.details(), below)
        return out

    def sink_hash(self, key: str, table: str) -> str:
        """The hash that the sink of an id would have if its table were called so; "" where it is none."""
        node = next((n for n, i in zip(self.nodes, self.ids, strict=True) if i == key), None)
        return JobGraph((replace(node, table=table),), self.zone).hashes[-1] if isinstance(node, Sink) else ""

    @cached_property
    def text(self) -> str:
        """The plan as a checkpoint keeps it, to show what changed: the same at every parallelism."""
        return "\n".join(text for _, text in self.lines(ways=False))

    @cached_property
    def fingerprint(self) -> str:
        """What says that a checkpoint is this plan's. The same at every parallelism."""
        at: dict[int, int] = {}
        structure: list[Any] = []
        for node in self.nodes:
            inputs = [at[id(i)] for i in node.inputs]
            if isinstance(node, Way):
                at[id(node)] = inputs[0]  # what it reads stands for it
                continue
            at[id(node)] = len(structure)
            structure.append([type(node).__name__, inputs, encoded(node.identity())])
        return fingerprint([structure, [at[id(r)] for r in self.roots]])

    def lines(self, ways: bool = True) -> Iterator[tuple[PhysicalNode | None, str]]:
        """EXPLAIN's text of the plan by its lines, with the nodes that they are about.

        A node that several read is printed where the first one reads it, and named by the others (None).
        """
        readers = Counter(i for inputs in self.inputs for i in inputs)
        shared = [id(self.nodes[i]) for i, n in sorted(readers.items()) if n > 1]
        printed: set[int] = set()

        def print_(node: PhysicalNode, indent: int) -> Iterator[tuple[PhysicalNode | None, str]]:
            if isinstance(node, Way) and not ways:
                yield from print_(node.inputs[0], indent)
                return
            space, number = "  " * indent, shared.index(id(node)) + 1 if id(node) in shared else None
            if id(node) in printed:
                yield None, f"{space}Reused(reference_id=[{number}])"
                return
            printed.add(id(node))
            yield node, f"{space}{_line(node)}" + ("" if number is None else f"(reuse_id=[{number}])")
            for i in node.inputs:
                yield from print_(i, indent + 1)

        for root in self.roots:
            yield from print_(root, 0)


def _line(node: PhysicalNode) -> str:
    mode = "I" if node.traits.append_only else "I,UB,UA,D" if node.traits.before else "I,UA,D"
    details = node.details()
    living = ", ".join(f"{name}={duration_text(ttl)}" for name, ttl in node.lifetimes() if ttl)
    parts = [*([details] if details else []), *([f"stateTtl=[{living}]"] if living else []), f"changelogMode=[{mode}]"]
    return f"{node.name}({', '.join(parts)})"
