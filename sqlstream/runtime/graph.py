"""A job's operators in the order in which an epoch goes through them, with ids that stay while the plan stays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.lowering import physical_tree


@dataclass(frozen=True)
class JobGraph:
    """`roots` are the sinks."""

    roots: tuple[PhysicalNode, ...]

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

    @cached_property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """For each node, where its inputs stand in `nodes`."""
        at = {id(n): i for i, n in enumerate(self.nodes)}
        return tuple(tuple(at[id(i)] for i in n.inputs) for n in self.nodes)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids in manifests and metrics. Exchanges do not count, so that the parallelism may change."""
        out: list[str] = []
        n = 0
        for node in self.nodes:
            if node.name == "Exchange":
                out.append(f"exchange-{len(out)}")
            else:
                n += 1
                out.append(f"{n}-{node.name}")
        return tuple(out)

    @cached_property
    def text(self) -> str:
        """The plan as it is compared with a checkpoint's: without exchanges."""
        lines = "\n".join(physical_tree(r) for r in self.roots).splitlines()
        kept: list[str] = []
        depth_of: list[tuple[int, int]] = []  # (printed indent, exchanges above)
        for line in lines:
            indent = (len(line) - len(line.lstrip())) // 2
            while depth_of and depth_of[-1][0] >= indent:
                depth_of.pop()
            above = depth_of[-1][1] if depth_of else 0
            exchange = line.lstrip().startswith("Exchange(")
            depth_of.append((indent, above + exchange))
            if not exchange:
                kept.append("  " * (indent - above) + line.lstrip())
        return "\n".join(kept)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]
