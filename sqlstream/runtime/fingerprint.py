"""What a plan is, apart from how it prints: the fingerprint by which a job knows its checkpoints.

A structure is made of the nodes: their classes, what they compute and by which columns, types and time marks; names of
columns only where they are data (a sink's). So texts of EXPLAIN, names of columns inside a query and the parallelism
may change. Sources and sinks stand in it by the names of their tables: what they are is compared by themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import is_dataclass
from decimal import Decimal
from typing import Any

from sqlstream.contracts import Sink, Source
from sqlstream.errors import InternalError
from sqlstream.plan import nodes
from sqlstream.types import Column, Schema

# Grows when the same plan gets another structure: checkpoints of an earlier one do not resume.
VERSION = 1


def fingerprint(structure: Any) -> str:
    """The hash of a plan's structure."""
    text = json.dumps([VERSION, structure], separators=(",", ":"), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def outside_id(name: str, table: str) -> str:
    """The id of a source or sink in manifests: made of its table, whatever is read or written of it."""
    return f"{name}-{fingerprint([name, table])[:8]}"


def plan_structure(plans: Iterable[nodes.Node]) -> list[Any]:
    """Of logical plans: every node once, by its inputs' numbers."""
    made: list[Any] = []
    numbers: dict[nodes.Node, int] = {}

    def number(node: nodes.Node) -> int:
        if node not in numbers:
            below = [number(i) for i in node.inputs]
            made.append([type(node).__name__, below, encoded(node)])
            numbers[node] = len(made) - 1
        return numbers[node]

    return [made, [number(p) for p in plans]]


def encoded(value: Any) -> Any:
    """A description as JSON. Of a dataclass: the fields that say what it is, without nodes (inputs)."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [encoded(v) for v in value if not isinstance(v, nodes.Node)]
    if isinstance(value, frozenset):
        return sorted((encoded(v) for v in value), key=json.dumps)
    if isinstance(value, (float, Decimal)):
        return {type(value).__name__: str(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, Schema):
        return [encoded(c) for c in value]
    if isinstance(value, Column):
        return [str(value.type), value.time]
    if isinstance(value, (Source, Sink)):
        return None
    if is_dataclass(value):
        told = ((f.name, getattr(value, f.name)) for f in nodes.told_by(value))
        return {type(value).__name__: {n: encoded(v) for n, v in told if not isinstance(v, nodes.Node)}}
    raise InternalError(f"{type(value).__name__} has no place in a plan's structure")
