"""A table of MySQL that rows are written to: by INSERT of many rows, ON DUPLICATE KEY UPDATE, and DELETE by keys.

Statements are made of Arrow's columns outside Python, and are as long as the server takes. LOAD DATA would be another way; servers
have it off unless somebody allows it, and it puts no row in the place of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.jdbc.database import Database, Writing
from sqlstream.connectors.jdbc.mysql import Connection, quoted
from sqlstream.connectors.jdbc.target import APPEND, DELETE, Target
from sqlstream.errors import DataError
from sqlstream.types import Schema

STATEMENT = 4 << 20  # bytes of one, at most, but for a row that is larger
KEYS = 200  # rows that one statement deletes: of several columns more cost more each


class MysqlTarget(Target):
    """By one connection."""

    def __init__(
        self, database: Database, connection: Connection, name: str, schema: Schema, key: tuple[str, ...]
    ) -> None:
        super().__init__(database, connection, name, schema, key)
        self._connection = connection
        self._before = 0  # rows of the statements before

    def take(self, kind: str, writings: Sequence[Writing], rows: pa.RecordBatch) -> None:
        self._before = 0
        names = [quoted(w.column.name) for w in writings]
        if kind == DELETE:
            for at in range(0, rows.num_rows, KEYS):
                some = [c.slice(at, KEYS) for c in rows.columns]
                self._connection.run(f"DELETE FROM {self.there.sql} WHERE ".encode() + any_of(names, some))
            return
        before = f"INSERT INTO {self.there.sql} ({', '.join(names)}) VALUES ".encode()
        behind, same = b"", list[str]()
        if kind != APPEND:
            rest = [f"{n} = VALUES({n})" for n in names if n not in map(quoted, self._key)]
            same = self._same()
            behind = f" ON DUPLICATE KEY UPDATE {', '.join([*same, *rest]) or f'{names[0]} = {names[0]}'}".encode()
        inner = rows.column(0) if len(names) == 1 else pc.binary_join_element_wise(*rows.columns, b",")
        tuples = pc.binary_join_element_wise(pa.scalar(b"("), inner, pa.scalar(b")"), b"")
        for some in _pieces(tuples, min(STATEMENT, self._connection.largest // 2)):
            try:
                self._connection.run(before + _joined(some, b",") + behind)
            except DataError as e:
                null = re.search(r"Column '([^']*)' cannot be null", e.message)
                if same and null is not None and null[1] in self._key:
                    others = [u for u in self.there.unique if not frozenset(self._key) <= u]
                    which = " or ".join(f"({', '.join(sorted(u))})" for u in sorted(others, key=sorted))
                    e = DataError(
                        f"{self._where}: a row of another key has the same values in a unique index of {self.there.sql}: {which}",
                        hint="the PRIMARY KEY here is to be that index; or drop it",
                    )
                if " at row " in e.message:
                    raise
                raise self._placed(e, before, some, behind) from e
            self._before += len(some)

    def _placed(self, e: DataError, before: bytes, rows: pa.Array, behind: bytes) -> DataError:
        """The error of a statement with these rows, of a constraint: the server names the constraint, and not the row. Halves of the rows
        are tried, those before it again, since one row may clash with another of them. (The transaction is taken back afterwards.)"""
        first, end = 0, len(rows)
        while end - first > 1:
            half = (first + end) // 2
            try:
                self._connection.run(before + _joined(rows.slice(first, half - first), b",") + behind)
                first = half
            except DataError:
                end = half
        return DataError(f"{e.message} at row {first + 1}", hint=e.hint)

    def _same(self) -> list[str]:
        """Where the table has other unique indexes MySQL would change a row of another key that it meets by one of them, and leave the row
        out: then a column of the key becomes NULL, which it cannot be."""
        key = frozenset(self._key)
        if all(key <= columns for columns in self.there.unique):
            return []
        names = [quoted(k) for k in self._key if self.there.columns[k].not_null]
        return [f"{n} = IF({n} <=> VALUES({n}), {n}, NULL)" for n in names]

    def failed(self, e: DataError) -> int | None:
        row = re.search(r" at row (\d+)", e.message)
        return None if row is None else self._before + int(row[1]) - 1

    def told(self, e: DataError) -> str:
        return re.sub(r" at row \d+", "", e.message)


def one_of(names: Sequence[str], constants: Sequence[pa.Array]) -> bytes:
    """The condition of rows that have one of the keys, of a SELECT: MariaDB joins a table of the keys where they are many."""
    if len(names) == 1:
        return f"{names[0]} IN (".encode() + _joined(constants[0], b",") + b")"
    keys = pc.binary_join_element_wise(
        pa.scalar(b"("), pc.binary_join_element_wise(*constants, b","), pa.scalar(b")"), b""
    )
    return f"({', '.join(names)}) IN (".encode() + _joined(keys, b",") + b")"


def any_of(names: Sequence[str], constants: Sequence[pa.Array]) -> bytes:
    """The same, of few keys, of a DELETE: of several columns it is OR of ANDs, which an index serves."""
    if len(names) == 1:
        return one_of(names, constants)
    same = [
        pc.binary_join_element_wise(pa.scalar(n.encode()), c, b" = ") for n, c in zip(names, constants, strict=True)
    ]
    each = pc.binary_join_element_wise(*same, b" AND ")
    return b"(" + _joined(pc.binary_join_element_wise(pa.scalar(b"("), each, pa.scalar(b")"), b""), b" OR ") + b")"


def _joined(texts: pa.Array, between: bytes) -> bytes:
    whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    found: bytes = pc.binary_join(whole, between)[0].as_py()
    return found


def _pieces(texts: pa.Array, most: int) -> Iterator[pa.Array]:
    """Parts of at most so many bytes each, and of one text at least."""
    ends = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64) + 1)
    at = 0
    while at < len(texts):
        begun = int(ends[at - 1]) if at else 0
        end = max(at + 1, int(np.searchsorted(ends, begun + most, side="right")))
        yield texts.slice(at, end - at)
        at = end
