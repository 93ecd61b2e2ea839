"""Nodes without inputs: tables and constant rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sqlstream.contracts import FAIL, ScanColumn, Source
from sqlstream.expressions import Expr, named
from sqlstream.plan.nodes.node import TUNING, Node, Prune, Pruned, in_order, moved
from sqlstream.types import BIGINT, BYTES_TYPE, ROWTIME, STRING, Column, timestamp_ltz
from sqlstream.watermark_options import Alignment

WATERMARK_PATH = (
    "$watermark",
)  # what the watermark of a row's split was before the row; NULL: there was none, or batch


@dataclass(frozen=True)
class Scan(Node):
    """Reads a table: some physical columns or fields of them. `watermark` and `predicate` are over these columns.

    The watermark looks at every row, also at those that `predicate` drops. `time_column`: the scan column that is
    itself the time attribute, if any (a computed one gets its mark in the Project above). `changes`: of a source whose
    rows change, the records as they come, for a ChangelogNormalize; else the rows that they leave, told by all columns.
    """

    table: str
    source: Source
    columns: tuple[ScanColumn, ...]
    names: tuple[str, ...]
    watermark: Expr | None = None
    predicate: Expr | None = None
    time_column: int | None = None
    changes: bool = False
    alignment: Alignment | None = field(default=None, metadata=TUNING)  # with which other tables it keeps pace
    idle_timeout: int | None = field(default=None, metadata=TUNING)  # µs; None: the session's

    lowered_in = "source_scan"
    wants_arrival = False

    def __post_init__(self) -> None:
        self.derive(
            tuple(
                Column(n, c.type, ROWTIME if i == self.time_column else None)
                for i, (n, c) in enumerate(zip(self.names, self.columns, strict=True))
            )
        )

    @property
    def runs_as_batch(self) -> bool:  # type: ignore[override]
        return not self.source.by_key_alone

    @property
    def waits_for_watermark(self) -> bool:
        # it gives it, or goes by it
        return any(c.path == WATERMARK_PATH for c in self.columns) or self.alignment is not None

    @property
    def knows_arrival(self) -> bool:
        return self.source.append_only or self.changes  # where rows are taken back, the place of one says nothing

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        order, at = in_order(needed.union(*(e.columns() for e in (self.watermark, self.predicate) if e is not None)))
        made = replace(
            self,
            columns=tuple(self.columns[i] for i in order),
            names=tuple(self.names[i] for i in order),
            watermark=None if self.watermark is None else moved(self.watermark, at),
            predicate=None if self.predicate is None else moved(self.predicate, at),
            time_column=None if self.time_column is None else at.get(self.time_column),
        )
        return made, at

    def details(self) -> str:
        text = f"table={self.table}, columns=[{', '.join('.'.join(c.path) for c in self.columns)}]"
        if self.predicate is not None:
            text += f", filter={named(self.predicate, self.schema)}"
        if self.watermark is not None:
            text += f", watermark={named(self.watermark, self.schema)}"
        if self.source.bad_records != FAIL:
            text += f", bad-records={self.source.bad_records}"
        return text + (", changes" if self.changes else "")


BAD_COLUMNS = (
    Column("bad_table", STRING.null(False)),
    Column("bad_file", STRING.null(False)),
    Column("bad_line", BIGINT.null(False)),
    Column("bad_reason", STRING.null(False)),
    Column("bad_record", STRING.null(False)),  # what is not UTF-8 as \xNN
    Column("bad_bytes", BYTES_TYPE.null(False)),
    Column("bad_time", timestamp_ltz(3).null(False)),
)


@dataclass(frozen=True)
class BadRecords(Node):
    """The malformed records of a table that the job reads, as `BAD_COLUMNS`: those that its scans leave out."""

    table: str
    source: Source

    lowered_in = "bad_records"
    waits_for_watermark = False
    wants_arrival = False
    knows_arrival = False

    def __post_init__(self) -> None:
        self.derive(BAD_COLUMNS)

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        return self, {i: i for i in range(len(BAD_COLUMNS))}

    def details(self) -> str:
        return f"table={self.table}"


@dataclass(frozen=True)
class Values(Node):
    """Constant rows (tuples of Python values as in Literal)."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]

    lowered_in = "values"
    waits_for_watermark = False
    wants_arrival = False
    knows_arrival = False

    def __post_init__(self) -> None:
        self.derive(self.columns)

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        order, at = in_order(needed)
        rows = tuple(tuple(r[i] for i in order) for r in self.rows)
        return Values(tuple(self.columns[i] for i in order), rows), at

    def details(self) -> str:
        return f"{len(self.rows)} rows"
