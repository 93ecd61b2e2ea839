"""Rows in the order of columns that tell them from each other: a position is the values that the last row has in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from sqlstream.connectors.jdbc.database import DbConnection, Place, Placed
from sqlstream.connectors.jdbc.query import Query
from sqlstream.errors import CheckpointError


@dataclass(frozen=True)
class Ordering:
    """One of the columns: as it is compared, as a text (or number) of it is selected, and what such a text is in a statement."""

    sql: str
    selected: str
    constant: Callable[[str], str]


def behind(by: Sequence[Ordering], key: Sequence[str]) -> str:
    """The condition of rows that come behind one with these values."""
    values = [o.constant(str(v)) for o, v in zip(by, key, strict=True)]
    if len(by) == 1:
        return f"{by[0].sql} > {values[0]}"
    out = ""
    for o, v in reversed([*zip(by, values, strict=True)]):
        out = f"({o.sql} > {v} OR {o.sql} = {v} AND {out})" if out else f"{o.sql} > {v}"
    return f"({by[0].sql} >= {values[0]} AND {out})"  # the first says it to an index


def in_order(
    connection: DbConnection, query: Query, by: Sequence[Ordering], position: object, most: int = 0, sorts: bool = True
) -> Placed:
    """The rows behind a position. `most`: rows a statement, each of which goes on behind the one before; 0: one for all. `sorts`: rows are
    to be sorted. CheckpointError where a position is given and there is no order."""
    key: list[str] | None = None if position is None else [str(v) for v in position["key"]]  # type: ignore[index]
    if key is not None and not by:
        raise CheckpointError(
            f"{query.where}: '{query.there.name}' has no order, as a view has none: reading cannot go on in the middle",
            hint="PRIMARY KEY (…) NOT ENFORCED says which columns tell its rows; or start anew with --fresh",
        )
    extra = tuple(o.selected for o in by)
    order = f" ORDER BY {', '.join(o.sql for o in by)}" if by and sorts else ""
    while True:
        more = () if key is None else (behind(by, key),)
        limit = f" LIMIT {most}" if most and by else ""
        count = 0
        for found in connection.stream(query.sql(more, extra, order + limit), query.readings):
            if not found.num_rows:
                continue
            places = [found.column(found.num_columns - len(by) + i) for i in range(len(by))]
            count += found.num_rows
            key = [str(p[found.num_rows - 1].as_py()) for p in places]
            yield query.rows(found), _place(places)
        if not limit or count < most:
            return


def _place(columns: list[pa.Array]) -> Place:
    return lambda n: {"key": [str(c[n - 1].as_py()) for c in columns]}


def without_places(batches: Placed) -> Iterator[pa.RecordBatch]:
    """The rows alone."""
    for rows, _ in batches:
        yield rows
