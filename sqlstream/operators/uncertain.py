"""What is not deterministic over rows that change (option table.optimizer.non-deterministic-update.strategy, TRY_RESOLVE).

A row that goes is computed again, to say what goes. A function that then gives something else takes back a row that was not there. That is
no harm in a column that nobody compares: in a table that knows rows by their key, on the way from the last operator that
keeps rows.
"""

from __future__ import annotations

from dataclasses import fields

from sqlstream.errors import NotSupported
from sqlstream.expressions import Call, Expr, UserCall
from sqlstream.functions import user
from sqlstream.functions.scalar import volatile_call
from sqlstream.operators.base import PhysicalNode, Way
from sqlstream.operators.calc import Calc
from sqlstream.operators.changelog import Changelog
from sqlstream.operators.sink import Sink


def refuse_uncertain(roots: tuple[PhysicalNode, ...]) -> None:
    """NotSupported where what a function gives for a row that goes must be what it gave when the row came."""
    for root in roots:
        free = set[int]()
        if isinstance(root, Sink) and root.key():
            free = set(range(len(root.schema))).difference(root.key())
        _look(root, free)


def _look(node: PhysicalNode, free: set[int]) -> None:
    """`free`: the columns of the node's rows that may be another each time."""
    changing = not all(i.traits.append_only for i in node.inputs)
    if isinstance(node, Calc):
        if changing:
            for i, e in enumerate(node.exprs):
                if i not in free:
                    _refuse(e, node.output[i].name)
            if node.condition is not None:
                _refuse(node.condition, None)
        read = [e for i, e in enumerate(node.exprs) if i not in free]
        fixed = {c for e in (*read, *([node.condition] if node.condition is not None else [])) for c in e.columns()}
        _look(node.inputs[0], set(range(len(node.inputs[0].schema))) - fixed)
        return
    if changing:
        for f in fields(node):
            given = getattr(node, f.name)
            for e in given if isinstance(given, tuple) else (given,):
                if isinstance(e, Expr):
                    _refuse(e, None)
    passes = isinstance(node, (Sink, Changelog, Way))
    for below in node.inputs:
        _look(below, free if passes else set())


def _refuse(e: Expr, column: str | None) -> None:
    call = next((x for x in e.walk() if not _certain(x)), None)
    if call is None:
        return
    where = "a condition" if column is None else f"column '{column}'"
    raise NotSupported(
        f"{call} in {where} is not deterministic, and the rows that it is computed of can change: of one that goes it would give "
        "something else than it gave when it came",
        hint="write it where rows only come, below what makes them change (GROUP BY, top-N, outer JOIN), or into a column beside the PRIMARY "
        "KEY of a table; SET 'table.optimizer.non-deterministic-update.strategy' = 'IGNORE' runs it as it is",
    )


def _certain(e: Expr) -> bool:
    """Whether it gives the same again, its arguments apart."""
    if isinstance(e, UserCall):
        return user.resolve(e.path).deterministic
    return not (isinstance(e, Call) and volatile_call(e))
