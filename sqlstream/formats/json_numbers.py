"""Numbers in JSON lines that a DOUBLE cannot hold, put in quotes: DuckDB's parser makes a DOUBLE of every number with a
point, also where it gives text, and Flink makes a DECIMAL of the digits that stand there.

In quotes they are text, which `conversion.py` casts exactly. Only numbers under names of DECIMAL columns and fields
are looked for: files without such columns are not looked through, and those without such numbers stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sqlstream.formats import json_kernels
from sqlstream.types import Type

PIECE = 2**20


@dataclass(frozen=True)
class ExactNumbers:
    """`names`: of the fields with decimals; None: any field may have them (values of a MAP)."""

    names: frozenset[str] | None = frozenset()

    @staticmethod
    def of(leaves: Iterable[tuple[str, Type]]) -> ExactNumbers:
        """For values of these names and types."""
        names: set[str] = set()
        for name, t in leaves:
            found = _decimals(name, t)
            if found is None:
                return ExactNumbers(None)
            names |= found
        return ExactNumbers(frozenset(names))

    def plain(self, file: Any) -> bool:
        """Whether a file has no such numbers."""
        if self.names is not None and not self.names:
            return True
        rest = b""
        while piece := file.read(PIECE):
            data = rest + piece
            cut = data.rfind(b"\n") + 1
            if len(self._places(data[:cut])):
                return False
            rest = data[cut:]
        return not len(self._places(rest))

    def quoted(self, block: bytes) -> bytes:
        """`block` with them in quotes; itself when it has none."""
        if self.names is not None and not self.names:
            return block
        places = self._places(block)
        if not len(places):
            return block
        return np.insert(np.frombuffer(block, np.uint8), places, json_kernels.QUOTE).tobytes()

    def _places(self, block: bytes) -> Any:
        names = [n.encode() for n in sorted(self.names or ())]
        ends = np.cumsum([len(n) for n in names], dtype=np.int64)
        places = np.empty(2 * (len(block) // json_kernels.DOUBLE_DIGITS + 1), np.int64)
        data, joined = np.frombuffer(block, np.uint8), np.frombuffer(b"".join(names), np.uint8)
        count = json_kernels.long_numbers(data, joined, ends, int(self.names is None), places)
        return places[: 2 * count]


def _decimals(name: str, t: Type) -> set[str] | None:
    """Under which names the decimals of a value of type `t` called `name` stand."""
    if t.kind == "DECIMAL":
        return {name}
    if t.kind == "ARRAY":
        return _decimals(name, t.element)
    if t.kind == "MAP":
        inside = _decimals("", t.element)
        return None if inside is None or "" in inside else inside
    out: set[str] = set()
    for f in t.fields if t.kind == "ROW" else ():
        inside = _decimals(f.name, f.type)
        if inside is None:
            return None
        out |= inside
    return out
