"""The functions that only OVER has, each one object; planners, renderers and operators ask it. Aggregates stand in `aggregates`."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.types import BIGINT, DOUBLE, INT, Type

_COUNT, _SHARE = BIGINT.null(False), DOUBLE.null(False)


@dataclass(frozen=True)
class OverFunction:
    """One function. It takes ORDER BY.

    type      of the call; None: its argument's, and NULL where there is no such row
    by_rows   it tells rows apart that tie in the order
    framed    it looks at the rows of a frame, as aggregates do; others take none
    nulls     it can leave rows out where its argument is NULL (IGNORE NULLS)
    ahead     it depends on rows that come later in the order
    ranks     it counts the rows, or their orders, up to its own
    """

    name: str
    type: Type | None
    by_rows: bool = False
    framed: bool = False
    nulls: bool = False
    ahead: bool = False
    ranks: bool = False


OVER_FUNCTIONS = {
    f.name: f
    for f in (
        OverFunction("ROW_NUMBER", _COUNT, by_rows=True, ranks=True),
        OverFunction("RANK", _COUNT, ranks=True),
        OverFunction("DENSE_RANK", _COUNT, ranks=True),
        OverFunction("NTILE", INT.null(False), by_rows=True, ahead=True),
        OverFunction("PERCENT_RANK", _SHARE, ahead=True),
        OverFunction("CUME_DIST", _SHARE, ahead=True),
        OverFunction("LAG", None, by_rows=True, nulls=True),
        OverFunction("LEAD", None, by_rows=True, ahead=True, nulls=True),
        OverFunction("NTH_VALUE", None, by_rows=True, framed=True, nulls=True),
    )
}
RANKINGS = tuple(f.name for f in OVER_FUNCTIONS.values() if f.ranks)
