"""What people see of an operator's state: its columns under the names of the query, with the fields of ROWs by theirs.

Inside, a column of the input is `c3`, and what an aggregate keeps of it `max_c3`. Both are told by the input's name:
`price`, `max_price`. What is the engine's own (`_ord`, `count`, `start`) stays: integers, and times in µs since 1970.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from sqlstream.operators.base import PhysicalNode
    from sqlstream.state.spec import StateSpec

_COLUMN = re.compile(r"(?<![A-Za-z0-9])c(\d+)(?![A-Za-z0-9])")


def shown(node: PhysicalNode, spec: StateSpec) -> pa.Schema:
    """Of `spec`, the key's columns first: as many fields, each name once."""
    fields, taken = [], set[str]()
    for f in (*spec.key, *spec.value):
        column = node.state_column(spec.name, f.name)
        if column is not None:
            name, kind = column.name, column.type.arrow_outside() if column.type.arrow() == f.type else f.type
        else:
            name, kind = _told(node, spec.name, f.name), f.type
        fields.append(pa.field(_once(name or f.name, taken), kind))
    return pa.schema(fields)


def _told(node: PhysicalNode, state: str, name: str) -> str:
    def column(m: re.Match[str]) -> str:
        found = node.state_column(state, m.group())
        return m.group() if found is None else found.name

    return _COLUMN.sub(column, name)


def _once(name: str, taken: set[str]) -> str:
    """Names that differ in case only are one to many a reader."""
    told, n = name, 1
    while told.lower() in taken:
        n += 1
        told = f"{name}_{n}"
    taken.add(told.lower())
    return told
