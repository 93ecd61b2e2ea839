"""Messages that are Avro records, as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.contracts import ScanColumn
from sqlstream.formats.avro import decode_kernels
from sqlstream.formats.avro import layout as y
from sqlstream.formats.avro.program import Program, Wanted, program_of
from sqlstream.formats.avro.schema import Node
from sqlstream.formats.binary import read_layout as common
from sqlstream.formats.binary.vectors import Vectors
from sqlstream.types import Type


@dataclass(frozen=True)
class Wants:
    """Which columns of a record are wanted: `tree` of them, and where each path ends in it."""

    tree: Wanted
    paths: tuple[tuple[str, ...], ...]
    types: tuple[Type, ...]

    @staticmethod
    def of(columns: Sequence[ScanColumn]) -> Wants:
        """Of these columns. A path into one that is wanted whole is looked up in that."""
        tree: dict[str, Any] = {}
        for c in sorted(columns, key=lambda c: len(c.path)):
            _put(tree, c.path, c.type)
        return Wants(tree, tuple(c.path for c in columns), tuple(c.type for c in columns))

    def arrays(self, vectors: Vectors, program: Program, rows: int) -> list[pa.Array]:
        """The columns."""
        made = {name: vectors.array(c, rows) for name, c in program.columns.items()}
        return [self._at(made, path, t) for path, t in zip(self.paths, self.types, strict=True)]

    def _at(self, made: Mapping[str, pa.Array], path: tuple[str, ...], t: Type) -> pa.Array:
        array, within = made[path[0]], self.tree[path[0]]
        for name in path[1:]:
            names = [f.name for f in within.fields] if isinstance(within, Type) else list(within)
            i = names.index(name)
            array = pc.struct_field(array, i)
            within = within.fields[i].type if isinstance(within, Type) else within[name]
        return array


def _put(tree: dict[str, Any], path: tuple[str, ...], t: Type) -> None:
    for p in path[:-1]:
        inner = tree.setdefault(p, {})
        if isinstance(inner, Type):
            return
        tree = inner
    if path[-1] not in tree:
        tree[path[-1]] = t


class RecordReader:
    """Reads records that were written by one schema."""

    def __init__(self, writer: Node, wants: Wants, envelope: str = "") -> None:
        self._wants, self._program = wants, program_of(writer, wants.tree, envelope)
        self._code = np.array(self._program.code, np.int64).reshape(-1)

    def read(
        self, data: np.ndarray, begins: np.ndarray, sizes: np.ndarray, together: bool = False
    ) -> tuple[list[pa.Array], np.ndarray, dict[int, str]]:
        """The wanted columns of records that lie in `data` (uint8, padded), which of them are rows, and why others are malformed.
        `together`: records without a beginning (-1) lie behind the one before, within its size, and fill that."""
        p, count = self._program, len(begins)
        vectors = Vectors(p.vectors, p.texts, count, int(sizes.sum()))
        errors, stack, state = (
            np.zeros(count, np.int64),
            np.empty(y.DEPTH * y.FRAME, np.int64),
            np.zeros(common.STATE, np.int64),
        )
        state[y.DENSE] = together
        done = 0
        while done < count:
            done = decode_kernels.decode(
                data, begins, sizes, done, count, self._code, p.vectors, vectors.words, vectors.valid, vectors.text, vectors.about, errors,
                stack, state,
            )  # fmt: skip
            if done < count:
                vectors.grow(int(state[common.FULL]))
        wrong = np.flatnonzero(errors)
        reasons = {int(i): p.reasons[int(errors[i])] for i in wrong}
        rows = np.delete(np.arange(count), wrong)
        return self._wants.arrays(vectors, p, len(rows)), rows, reasons
