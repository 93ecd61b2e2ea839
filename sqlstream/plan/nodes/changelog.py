"""The changes of a table with a primary key, as its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlstream.errors import InternalError
from sqlstream.plan.nodes.leaves import Scan
from sqlstream.plan.nodes.node import OneInput, Prune, Pruned, all_at


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
