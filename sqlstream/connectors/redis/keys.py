"""Rows as values of keys: hashes whose fields are columns, or strings in a format. Looked up for the keys of an epoch in pipelines,
and written so: the last row of each key, so that writing again does no harm.

The fields of a hash are texts. They are read and written by the rules of format json, as the fields of an object: a text for a text,
number or time as it stands there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from sqlstream.connectors.keyed_columns import KeyedColumns
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.encoder import PartEncoder
from sqlstream.connectors.messages.parts import Part
from sqlstream.connectors.redis.client import Address, Client
from sqlstream.connectors.redis.fields import fields_of, object_of, with_parts
from sqlstream.connectors.templates import Template
from sqlstream.connectors.upsert import UpsertSink, UpsertWriter
from sqlstream.contracts import (
    KeyedCache,
    KeyedReader,
    ScanRequest,
    SinkTask,
    SinkWriter,
    Source,
    Split,
    TableContext,
)
from sqlstream.errors import DataError, NotSupported, OptionError
from sqlstream.formats.messages import Texts

HASH, STRING = "hash", "string"
PIPELINE = 1000  # commands that are sent together


@dataclass(frozen=True)
class Keyed:
    """A table whose rows are values of keys. `kind`: HASH or STRING; `key`: made of the PRIMARY KEY's columns; `value`: how the other
    columns are written, by their names there."""

    table: TableContext
    address: Address
    kind: str
    key: Template
    value: PartFormat
    ttl: int | None  # ms that a key lives after it was written
    retries: int

    def keys(self, columns: Mapping[str, pa.Array], rows: int) -> list[str]:
        """As they are called there."""
        texts = {c: columns[c].cast(pa.string()) for c in self.key.columns}
        found: list[str] = self.key.texts(texts, rows).to_pylist()
        return found


class RedisSource(Source):
    """Asked for the rows of keys by lookup joins, and for nothing else."""

    by_key_alone = True

    def __init__(self, keyed: Keyed, cache: KeyedCache) -> None:
        self._keyed, self.keyed = keyed, cache

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        raise NotSupported(
            f"table {self._keyed.table.name}: the keys of Redis are not read through",
            hint="JOIN … FOR SYSTEM_TIME AS OF o.proctime ON … = its PRIMARY KEY looks them up",
        )

    def keyed_reader(self, request: ScanRequest, keys: tuple[int, ...]) -> KeyedReader:
        return RedisKeyedReader(self._keyed, request, keys)


class RedisKeyedReader(KeyedReader):
    """A round trip for each thousand keys."""

    def __init__(self, keyed: Keyed, request: ScanRequest, keys: tuple[int, ...]) -> None:
        self._keyed, self._columns = keyed, KeyedColumns(request, keys, keyed.key.columns)
        if lacking := self._columns.lacking:
            raise OptionError(
                f"table {keyed.table.name}: its rows are known by key {', '.join(keyed.key.columns)}, and the join says nothing of '{lacking[0]}'",
                hint=f"ON … = {lacking[0]}, for each column of the key",
            )
        columns = self._columns.read
        self._part: Part = keyed.value.part(columns)
        self._fields = [keyed.value.columns[n] for n in dict.fromkeys(c.path[0] for c in columns)]
        self._parts = with_parts(keyed.value.table.schema)
        self._client = Client(keyed.address, keyed.table.name, keyed.retries)

    def rows(self, keys: Sequence[pa.Array]) -> pa.RecordBatch:
        asked = self._keyed.keys(self._columns.of(keys), len(keys[0]))
        get = self._hashes if self._keyed.kind == HASH else self._strings
        values: list[bytes | None] = []
        for at in range(0, len(asked), PIPELINE):
            some = asked[at : at + PIPELINE]
            values += self._client.do(lambda connection, some=some: get(connection, some))  # type: ignore[misc]
        there = [i for i, v in enumerate(values) if v]
        found = self._part.columns(Texts.of([values[i] for i in there]))
        if found.refused:
            r = found.refused[0]
            name = asked[there[r.message]]
            raise DataError(
                f"table {self._keyed.table.name}: key {name}: malformed value: {r.reason}",
                hint="what other programs write there must fit the columns of the table",
            )
        of = pa.array([there[m] for m in found.of.tolist()], pa.int64())
        return self._columns.rows(keys, of, found.columns)

    def _strings(self, connection: Any, keys: list[str]) -> list[bytes | None]:
        found: list[bytes | None] = connection.mget(keys)
        return found

    def _hashes(self, connection: Any, keys: list[str]) -> list[bytes | None]:
        pipeline = connection.pipeline(transaction=False)
        for key in keys:
            if self._fields:
                pipeline.hmget(key, self._fields)
            pipeline.exists(key)
        got = iter(pipeline.execute())
        out: list[bytes | None] = []
        for _ in keys:
            values = next(got) if self._fields else []
            there = next(got)
            fields = {
                f: v.decode("utf-8", "replace") for f, v in zip(self._fields, values, strict=True) if v is not None
            }
            out.append(object_of(fields, self._parts) if there else None)
        return out

    def close(self) -> None:
        self._client.close()


class RedisKeyedSink(UpsertSink):
    """The last row of each key is its value; a row that goes takes the key with it."""

    def __init__(self, keyed: Keyed) -> None:
        super().__init__(keyed.table)
        self.keyed = keyed

    def writer(self, task: SinkTask) -> SinkWriter:
        return RedisKeyedWriter(self.keyed)


class RedisKeyedWriter(UpsertWriter):
    """Writes at the end of each epoch. Writing again after a failure changes nothing, but for a moment what was newer."""

    def __init__(self, keyed: Keyed) -> None:
        super().__init__(keyed.table.primary_key)
        self._keyed = keyed
        self._encoder = PartEncoder.of(keyed.value)
        self._client = Client(keyed.address, keyed.table.name, keyed.retries)
        self._client.do(lambda connection: connection.ping())

    def upsert(self, rows: pa.RecordBatch) -> None:
        keys = self._names(rows)
        values = self._encoder.encode(rows, None).values()
        for at in range(0, len(keys), PIPELINE):
            some = list(zip(keys[at : at + PIPELINE], values[at : at + PIPELINE], strict=True))
            self._client.do(lambda connection, some=some: self._put(connection, some))  # type: ignore[misc]

    def _put(self, connection: Any, rows: list[tuple[str, bytes | None]]) -> None:
        ttl = self._keyed.ttl
        pipeline = connection.pipeline(transaction=False)
        for key, value in rows:
            if self._keyed.kind == STRING:
                pipeline.set(key, value or b"", px=ttl)
                continue
            fields = {f: v for f, v in fields_of(value or b"{}").items() if v is not None}
            gone = [f for f in self._keyed.value.columns.values() if f not in fields]
            if gone:
                pipeline.hdel(key, *gone)
            if fields:
                pipeline.hset(key, mapping=fields)
            if ttl is not None:
                pipeline.pexpire(key, ttl)
        pipeline.execute()

    def delete(self, keys: pa.RecordBatch) -> None:
        names = self._names(keys)
        for at in range(0, len(names), PIPELINE):
            some = names[at : at + PIPELINE]
            self._client.do(lambda connection, some=some: connection.unlink(*some))  # type: ignore[misc]

    def _names(self, rows: pa.RecordBatch) -> list[str]:
        return self._keyed.keys({c: rows.column(c) for c in self._keyed.key.columns}, rows.num_rows)

    def close(self) -> None:
        self._client.close()


def check_key(table: TableContext, key: Template) -> None:
    """OptionError unless the key is made of the PRIMARY KEY's columns, all of them, and these are texts or whole numbers."""
    if not table.primary_key:
        raise OptionError(
            f"table {table.name}: its rows are known by keys of Redis, and it has no PRIMARY KEY",
            hint="PRIMARY KEY (…) NOT ENFORCED in CREATE TABLE: the columns that stand in 'key'",
        )
    if set(key.columns) != set(table.primary_key):
        raise OptionError(
            f"table {table.name}: option 'key' is made of {', '.join(key.columns) or 'nothing'}, and the PRIMARY KEY is {', '.join(table.primary_key)}",
            hint="both must be of the same columns, so that a key is one row's",
        )
    for name in table.primary_key:
        t = table.schema[table.schema.names.index(name)].type
        if not (t.is_string or t.is_integer):
            raise OptionError(
                f"table {table.name}: column '{name}' ({t.text()}) cannot stand in a key: it could be written in several ways",
                hint="a text or a whole number can",
                subject=name,
            )
