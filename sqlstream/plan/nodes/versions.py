"""The changes of a table with a primary key, as the versions of its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlstream.errors import InternalError
from sqlstream.plan.nodes.leaves import Scan
from sqlstream.plan.nodes.node import OneInput, Prune, Pruned
from sqlstream.types import BOOLEAN, Column


@dataclass(frozen=True)
class Versions(OneInput):
    """The records of a Scan of `changes` as rows that only come, and a column more: whether the record leaves a row.

    What a record says that the row was before is not looked at, as in ChangelogNormalize.
    """

    lowered_in = "versions"
    waits_for_watermark = False
    wants_arrival = False

    def __post_init__(self) -> None:
        if not (isinstance(self.input, Scan) and self.input.changes):
            raise InternalError("Versions: it takes the changes of a scan")
        self.derive((*self.input.schema.columns, Column("$there", BOOLEAN.null(False))))

    @property
    def knows_arrival(self) -> bool:
        return self.input.knows_arrival

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        below, at = prune(self.input, self.of_input(needed))
        return replace(self, input=below), {**at, len(self.input.schema): len(below.schema)}

    def details(self) -> str:
        return ""
