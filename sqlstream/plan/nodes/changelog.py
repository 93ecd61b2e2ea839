"""The changes of a table with a primary key, as its rows; changes as rows with a column for their kind, and back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sqlstream.batches import Kind
from sqlstream.errors import InternalError
from sqlstream.plan.nodes.leaves import Scan
from sqlstream.plan.nodes.node import Node, OneInput, Prune, Pruned, all_at
from sqlstream.plan.nodes.rows import keep
from sqlstream.types import STRING, Column


@dataclass(frozen=True)
class ChangelogNormalize(OneInput):
    """The last record of each `key`, in the order of the source, says what its row is, or that there is none.

    `input` is a Scan of `changes`. What a record says that the row was before is not looked at.
    """

    key: tuple[int, ...]

    lowered_in = "changelog_normalize"
    waits_for_watermark = False
    wants_arrival = True
    knows_arrival = False  # where rows are taken back, the place of one says nothing

    def __post_init__(self) -> None:
        if not (isinstance(self.input, Scan) and self.input.changes and self.key):
            raise InternalError("ChangelogNormalize: it takes the changes of a scan, by a key")
        self.derive(self.input.schema)

    @property
    def scan(self) -> Scan:
        """The input."""
        assert isinstance(self.input, Scan)
        return self.input

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        below, at = prune(self.input, needed.union(self.key))
        return replace(self, input=below, key=all_at(self.key, at)), at

    def details(self) -> str:
        return f"key=[{self.column_names(self.key)}]"


def _whole(node: Node, prune: Prune) -> Node:
    """`node` with all its columns where they are: two changes that differ in one only are not the same."""
    width = range(len(node.schema))
    below, at = prune(node, set(width))
    return (
        below
        if all(at[i] == i for i in width) and len(below.schema) == len(width)
        else keep(below, [at[i] for i in width])
    )


@dataclass(frozen=True)
class ToChangelog(OneInput):
    """Each change of the input as a row that stays: its first `partition` columns, `op`, the text that `codes` has for its kind,
    then its other columns. Changes of a kind without a text are left out. Rows that are deleted have NULL for the columns
    `blank` of the input."""

    op: str
    codes: tuple[tuple[Kind, str], ...]
    partition: int = 0
    blank: tuple[int, ...] = ()

    lowered_in = "to_changelog"
    runs_as_batch = False
    waits_for_watermark = False
    wants_arrival = False
    knows_arrival = False  # what takes a row away stood in no place

    def __post_init__(self) -> None:
        columns = [
            replace(c, time=None, type=c.type.null() if i in self.blank else c.type)
            for i, c in enumerate(self.input.schema)
        ]
        self.derive((*columns[: self.partition], Column(self.op, STRING), *columns[self.partition :]))

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        return replace(self, input=_whole(self.input, prune)), {i: i for i in range(len(self.schema))}

    def details(self) -> str:
        text = f"op={self.op}, op_mapping=[{', '.join(f'{k.name}={code}' for k, code in self.codes)}]"
        names = self.input.schema.names
        if self.partition:
            text = f"partition=[{', '.join(names[: self.partition])}], {text}"
        return text + (f", null when deleted=[{', '.join(names[i] for i in self.blank)}]" if self.blank else "")


@dataclass(frozen=True)
class FromChangelog(OneInput):
    """Each row as a change of the kind that `kinds` has for the text of column `op` (`called` so by the query): the other
    columns."""

    op: int
    kinds: tuple[tuple[str, Kind], ...]
    called: str = field(default="op", compare=False)

    lowered_in = "from_changelog"
    runs_as_batch = False
    waits_for_watermark = False
    wants_arrival = False
    knows_arrival = False  # where rows are taken back, the place of one says nothing

    def __post_init__(self) -> None:
        self.derive(tuple(replace(c, time=None) for i, c in enumerate(self.input.schema) if i != self.op))

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        there = [i for i in range(len(self.input.schema)) if i != self.op]
        kept = sorted(needed)
        below, at = prune(self.input, {self.op, *(there[i] for i in kept)})
        wanted = [there[i] for i in kept]
        if len(below.schema) != len(wanted) + 1:
            below = keep(below, [*(at[i] for i in wanted), at[self.op]])
            return replace(self, input=below, op=len(wanted)), {old: new for new, old in enumerate(kept)}
        moved = sorted(wanted, key=lambda i: at[i])
        return replace(self, input=below, op=at[self.op]), {there.index(i): new for new, i in enumerate(moved)}

    def details(self) -> str:
        op = self.input.schema[self.op].name
        return f"op={op}, op_mapping=[{', '.join(f'{code}={k.name}' for code, k in self.kinds)}]"
