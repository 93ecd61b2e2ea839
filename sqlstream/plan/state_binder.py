"""sqlstream.state('job' [, 'operator' [, 'state']] [, checkpoint => n]): the state of a job, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sqlstream.contracts import ScanColumn, Source
from sqlstream.errors import BindError, SqlStreamError
from sqlstream.plan import nodes
from sqlstream.sql.ast import TableFunction, exp, position_of
from sqlstream.types import Schema

NAME = "SQLSTREAM.STATE"
_NAMES = ("JOB", "OPERATOR", "STATE", "CHECKPOINT")
_EXAMPLE = "sqlstream.state('job', 'operator', checkpoint => 7)"


@dataclass(frozen=True)
class StateCall:
    """The arguments of a call. `job`: its name, or the path of a savepoint."""

    job: str
    operator: str | None = None
    state: str | None = None
    checkpoint: int | None = None


class Given(Protocol):
    """A table that is there without being declared."""

    @property
    def schema(self) -> Schema:
        """Its columns."""

    @property
    def source(self) -> Source:
        """Its rows."""


class States(Protocol):
    """Who knows the state of jobs."""

    def __call__(self, call: StateCall) -> Given:
        """The table of a call. SqlStreamError when there is none."""


def bind_state(node: TableFunction, states: States | None) -> nodes.Node:
    """The call as a scan of what it is about."""
    given: dict[str, exp.Expression] = {}
    for i, a in enumerate(node.expressions):
        named = isinstance(a, exp.Kwarg)
        key = a.this.name.upper() if named else _NAMES[i] if i < 3 else ""
        if key not in _NAMES or key in given:
            raise BindError(
                f"sqlstream.state has no argument {key or i + 1}, or has it twice",
                hint=_EXAMPLE,
                position=position_of(a),
            )
        given[key] = a.expression if named else a
    if "JOB" not in given:
        raise BindError("sqlstream.state: of which job?", hint=_EXAMPLE, position=position_of(node))
    texts = {key: _text(key, e) for key, e in given.items() if key != "CHECKPOINT"}
    checkpoint = _number(given["CHECKPOINT"]) if "CHECKPOINT" in given else None
    call = StateCall(texts["JOB"], texts.get("OPERATOR"), texts.get("STATE"), checkpoint)
    if call.state is not None and call.operator is None:
        raise BindError("sqlstream.state: a state is an operator's", hint=_EXAMPLE, position=position_of(node))
    if states is None:
        raise BindError("sqlstream.state is for sessions", position=position_of(node))
    try:
        found = states(call)
    except SqlStreamError as e:
        e.position = position_of(node)
        raise
    columns = tuple(ScanColumn((c.name,), c.type) for c in found.schema)
    return nodes.Scan("sqlstream.state", found.source, columns, found.schema.names)


def _text(key: str, e: exp.Expression) -> str:
    if isinstance(e, exp.Literal) and e.is_string:
        return str(e.this)
    raise BindError(f"sqlstream.state: {key} is a string", hint=_EXAMPLE, position=position_of(e))


def _number(e: exp.Expression) -> int:
    if isinstance(e, exp.Literal) and not e.is_string and str(e.this).isdecimal():
        return int(str(e.this))
    raise BindError("sqlstream.state: CHECKPOINT is a number", hint=_EXAMPLE, position=position_of(e))
