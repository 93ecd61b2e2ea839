"""Messages of several schemas: those of each are read together, and put in order again."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from sqlstream.errors import InternalError
from sqlstream.formats.confluent.client import UnknownSchema
from sqlstream.formats.confluent.framing import MAGIC, SHORT, numbers
from sqlstream.formats.messages import Refused, Texts
from sqlstream.types import Type


class Reader(Protocol):
    """Of records of one schema."""

    def read(
        self, data: np.ndarray, begins: np.ndarray, sizes: np.ndarray
    ) -> tuple[list[pa.Array], np.ndarray, dict[int, str]]:
        """The wanted columns of records that lie in `data` (uint8, padded), which of them are rows, and why others are malformed."""


class Unreadable(Exception):
    """What was said of a schema cannot be read, or not as the columns; says why."""


@dataclass(frozen=True)
class Framed:
    """The records of messages that are given. `keys`: of schemas; `of`: which of these each record has, -1: none; `why`: of those."""

    keys: Sequence[Hashable]
    of: np.ndarray
    begins: np.ndarray
    sizes: np.ndarray
    why: dict[int, str]

    @staticmethod
    def by_number(texts: Texts) -> Framed:
        """By the numbers of their schemas."""
        schemas, begins, sizes, first = numbers(texts)
        keys, of = distinct(schemas)
        none = int(len(keys) > 0 and keys[0] < 0)
        why = {i: MAGIC if first[i] else SHORT for i in np.flatnonzero(schemas < 0).tolist()}
        return Framed(keys[none:].tolist(), of - none, begins, sizes, why)


def distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values there are, ascending, and which of them each is. Mostly there is one."""
    if len(values) and (values == values[0]).all():
        return values[:1], np.zeros(len(values), np.int64)
    keys, of = np.unique(values, return_inverse=True)
    return keys, of.reshape(-1)


class Readers:
    """Readers of records by the keys of their schemas. `types`: of the columns. For one thread at a time."""

    def __init__(self, types: Sequence[Type]) -> None:
        self._types = types
        self._known: dict[Hashable, Reader | str] = {}

    def framed(self, texts: Texts) -> Framed:
        """Which schema each record has."""
        return Framed.by_number(texts)

    def reader(self, key: Hashable) -> Reader:
        """Of a schema. UnknownSchema, which may be known in a moment; Unreadable; RegistryError."""
        raise InternalError("Readers.reader")

    def read(self, texts: Texts) -> tuple[list[pa.Array], np.ndarray, list[Refused]]:
        """The wanted columns of messages, which of them are rows, ascending, and which are malformed. RegistryError."""
        framed, given = self.framed(texts), texts.given
        parts: list[list[pa.Array]] = []
        rows: list[np.ndarray] = []
        refused = [Refused(int(given[i]), reason) for i, reason in framed.why.items()]
        for n, key in enumerate(framed.keys):
            mine = np.flatnonzero(framed.of == n)
            reader = self._reader(key)
            if isinstance(reader, str):
                refused += [Refused(int(given[i]), reader) for i in mine.tolist()]
                continue
            arrays, good, reasons = reader.read(texts.buffer, framed.begins[mine], framed.sizes[mine])
            parts.append(arrays)
            rows.append(mine[good])
            refused += [Refused(int(given[mine[i]]), r) for i, r in reasons.items()]
        refused.sort(key=lambda r: r.message)
        if len(rows) == 1:
            return parts[0], given[rows[0]], refused
        of = np.concatenate(rows) if rows else np.empty(0, np.int64)
        order = np.argsort(of, kind="stable")
        taken = pa.array(order)
        columns = [
            (pa.concat_arrays([p[i] for p in parts]).take(taken) if parts else pa.nulls(0, t.arrow()))
            for i, t in enumerate(self._types)
        ]
        return columns, given[of[order]], refused

    def _reader(self, key: Hashable) -> Reader | str:
        """Of a schema; why there is none."""
        if key not in self._known:
            try:
                self._known[key] = self.reader(key)
            except UnknownSchema as e:
                return str(e)
            except Unreadable as e:
                self._known[key] = str(e)
        return self._known[key]
