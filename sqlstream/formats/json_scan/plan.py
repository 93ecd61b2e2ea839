"""Which leaves of a line are wanted: as the nodes that the kernel begins with, and the columns that come of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlstream.formats.conversion import SQL_STANDARD
from sqlstream.formats.json_records import JsonRecords, Leaf
from sqlstream.formats.scan import layout
from sqlstream.formats.scan.plan import ColumnPlan, ScannedColumn, action_of, arguments_of
from sqlstream.types import BOOLEAN, Type

Path = tuple[str, ...]


@dataclass
class Node:
    """A key on a path to what is wanted. `slot`, `string`: -1 where it has none. `weight`: what a value of it adds to what is
    required of a line, `null_weight` what NULL does."""

    path: Path
    action: int
    slot: int = -1
    string: int = -1
    weight: int = 0
    null_weight: int = 0
    arguments: tuple[int, int, int] = (0, 0, 0)
    of: Type | None = None


@dataclass(frozen=True)
class ScanPlan(ColumnPlan):
    """`nodes` come behind those that they are in. `required`: of a line, in weights."""

    nodes: tuple[Node, ...] = ()
    required: int = 0
    standard: str = SQL_STANDARD  # of times


def plan_of(records: JsonRecords) -> ScanPlan | None:
    """How to scan for the leaves of records; None where one path is wanted as two things, or a name is such as no line has it
    plainly."""
    draft = _Draft(records)
    try:
        columns = tuple(draft.column(leaf) for leaf in records.leaves)
    except _Twice:
        return None
    draft.weigh(records)
    return ScanPlan(columns, draft.slots, draft.strings, tuple(draft.nodes.values()), draft.required, records.standard)


class _Twice(Exception):
    """A path is wanted as two things."""


@dataclass
class _Draft:
    records: JsonRecords
    nodes: dict[Path, Node] = field(default_factory=dict)
    slots: int = 0
    strings: int = 0
    required: int = 0

    def column(self, leaf: Leaf) -> ScannedColumn:
        if leaf.presence is None:
            return self._column(leaf.name, leaf.path, leaf.type)
        slot = self._with_slot(self._object(leaf.path)).slot if leaf.path else -1
        return ScannedColumn(leaf.name, BOOLEAN, slot, presence=True)

    def _column(self, name: str, path: Path, t: Type) -> ScannedColumn:
        action = action_of(t)
        if action == layout.OBJECT:
            node = self._with_slot(self._object(path))
            fields = tuple(self._column(f"f{i}", (*path, f.name), f.type) for i, f in enumerate(t.fields))
            return ScannedColumn(name, t, node.slot, fields=fields)
        node = self._node(path, action)
        if node.of is not None and node.of != t.null():
            raise _Twice
        if node.of is None:
            node.of = t.null()
            node.arguments = arguments_of(t, self.records.standard)
            self._with_slot(node)
            self.slots += action == layout.DECIMAL and node.arguments[2]
            if action in (layout.TEXT, layout.RAW):
                node.string = self.strings
                self.strings += 1
        return ScannedColumn(name, t, node.slot, node.string, raw=action == layout.RAW)

    def _with_slot(self, node: Node) -> Node:
        if node.slot < 0:
            node.slot = self.slots
            self.slots += 1
        return node

    def _object(self, path: Path) -> Node:
        return self._node(path, layout.OBJECT)

    def _node(self, path: Path, action: int) -> Node:
        if path[:-1]:
            self._object(path[:-1])
        node = self.nodes.setdefault(path, Node(path, action))
        if node.action != action:
            raise _Twice
        return node

    def weigh(self, records: JsonRecords) -> None:
        """A column of its own that is NOT NULL has to have a value; where no field may be missing, others have to be there."""
        for path in {leaf.path: None for leaf in records.leaves if leaf.path and leaf.presence is None}:
            required = any(x.path == path and len(path) == 1 and not x.type.nullable for x in records.leaves)
            node = self.nodes[path]
            if not required and not records.fail_on_missing:
                continue
            self.required += 1
            node.weight += 1
            if not required:
                node.null_weight += 1
            for above in self._above(path):
                above.null_weight += 1

    def _above(self, path: Path) -> Iterator[Node]:
        return (self.nodes[path[:n]] for n in range(1, len(path)))
