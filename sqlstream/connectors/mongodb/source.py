"""A collection as a source: read once in the order of `_id`, or asked for the documents of keys."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.derive import Derivation, conform
from sqlstream.connectors.messages.clients import library
from sqlstream.connectors.mongodb.client import Client, Place
from sqlstream.connectors.mongodb.values import ID, asked, columns, documents
from sqlstream.contracts import (
    KeyedCache,
    KeyedReader,
    LookupCache,
    ScanRequest,
    Source,
    SourceBatch,
    Split,
    SplitReader,
    TableContext,
)

KEYS = 1000  # that are asked for together
# How values of other types sort, the least first, by the names of $type.
_ORDER = (
    ("null",), ("number",), ("string",), ("object",), ("binData",), ("objectId",), ("bool",), ("date",), ("timestamp",), ("regex",),
)  # fmt: skip


class MongoSource(Source):
    """`fetch`: documents of an answer. `cache`, `lookup`: what lookup joins remember."""

    def __init__(
        self, table: TableContext, place: Place, fetch: int, lookup: LookupCache, cache: KeyedCache | None
    ) -> None:
        self._table, self._place, self._fetch = table, place, fetch
        self.lookup, self.keyed = lookup, cache

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        if known:
            return list(known)
        client = Client(self._place)
        try:
            client.once(lambda collection: collection.find_one({}, {ID: 1}))  # says at once what is wrong
        finally:
            client.close()
        return [Split(f"{self._place.database}.{self._place.collection}")]

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        return f"{self._place.where}: documents may have changed since"

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        return MongoReader(self._place, request, position, first_row, self._fetch)

    def keyed_reader(self, request: ScanRequest, keys: tuple[int, ...]) -> KeyedReader:
        return MongoKeyedReader(self._place, request, keys, {c.name: c.type for c in self._table.schema})


def _projection(request: ScanRequest) -> dict[str, int]:
    """The fields that are read, each once: not one and a part of it."""
    paths = sorted({".".join(c.path) for c in request.columns} | {ID}, key=lambda p: p.count("."))
    found: list[str] = []
    for p in paths:
        if not any(p == f or p.startswith(f"{f}.") for f in found):
            found.append(p)
    return dict.fromkeys(found, 1)


class MongoReader(SplitReader):
    """A position is {"after": the `_id` of the last document that was taken, in MongoDB's extended JSON}."""

    def __init__(self, place: Place, request: ScanRequest, position: Any, first_row: int, fetch: int) -> None:
        self._place, self._request, self._fetch = place, request, fetch
        self._json = library("bson.json_util", "mongodb", "mongodb")
        self._after: str | None = None if position is None else position["after"]
        self._row, self._finished = first_row, False
        self._derivation = Derivation(request)
        self._client = Client(place)
        self._cursor: Iterator[dict[str, Any]] | None = None

    @property
    def finished(self) -> bool:
        return self._finished

    def poll(self, max_rows: int) -> SourceBatch | None:
        if self._finished:
            return None
        found = self._client.do(lambda collection: self._some(collection, max_rows))
        if not found:
            self._finished = True
            return None
        first, self._row = self._row, self._row + len(found)
        self._after = self._json.dumps(found[-1][ID], json_options=self._json.CANONICAL_JSON_OPTIONS)
        return SourceBatch(self._derivation.of(self._batch(found)), first, {"after": self._after})

    def _some(self, collection: Any, most: int) -> list[dict[str, Any]]:
        """The next documents. Where the server goes meanwhile they are asked for anew."""
        try:
            if self._cursor is None:
                of = (
                    {}
                    if self._after is None
                    else behind(self._json.loads(self._after, json_options=self._json.CANONICAL_JSON_OPTIONS))
                )
                self._cursor = iter(collection.find(of, _projection(self._request)).sort(ID, 1).batch_size(self._fetch))
            return list(itertools.islice(self._cursor, most))
        except BaseException:
            self._cursor = None
            raise

    def _batch(self, found: list[dict[str, Any]]) -> pa.RecordBatch:
        paths = [(c.path, c.type) for c in self._request.columns]
        if not paths:
            return pa.RecordBatch.from_arrays([pa.array(np.ones(len(found), np.int32))], names=["one"])
        arrays = columns(found, paths, self._place.where)
        return conform(pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))]), self._request)

    def close(self) -> None:
        self._client.close()


def behind(last: Any) -> dict[str, Any]:
    """Documents whose `_id` comes behind one: a comparison is within a type, and others follow it."""
    at = next((i for i, names in enumerate(_ORDER) if _type_name(last) in names), len(_ORDER))
    later = [name for names in _ORDER[at + 1 :] for name in names]
    return {"$or": [{ID: {"$gt": last}}, *({ID: {"$type": name}} for name in later)]}


def _type_name(value: Any) -> str:

    bson = library("bson", "mongodb", "mongodb")
    of: tuple[tuple[Any, str], ...] = (
        (bool, "bool"), ((int, float, bson.decimal128.Decimal128), "number"), (str, "string"), (bson.ObjectId, "objectId"), (datetime.datetime, "date"),
        (bytes, "binData"), (Mapping, "object"), (bson.timestamp.Timestamp, "timestamp"), (bson.Regex, "regex"), (type(None), "null"),
    )  # fmt: skip
    return next((name for kind, name in of if isinstance(value, kind)), "binData")


class MongoKeyedReader(KeyedReader):
    """Asks for some hundred keys at once."""

    def __init__(self, place: Place, request: ScanRequest, keys: tuple[int, ...], types: Mapping[str, Any]) -> None:
        self._place, self._request, self._client = place, request, Client(place)
        self._fields = [".".join(request.columns[k].path) for k in keys]
        self._types = {".".join(request.columns[k].path): request.columns[k].type for k in keys}

    def rows(self, keys: Sequence[pa.Array]) -> pa.RecordBatch:
        of = documents(pa.RecordBatch.from_arrays(list(keys), names=self._fields), self._types)
        found: list[dict[str, Any]] = []
        for at in range(0, len(of), KEYS):
            found += self._client.do(partial(self._some, self._query(of[at : at + KEYS])))
        paths = [(c.path, c.type) for c in self._request.columns]
        return pa.RecordBatch.from_arrays(columns(found, paths, self._place.where), schema=self._request.arrow_schema())

    def _some(self, query: dict[str, Any], collection: Any) -> list[dict[str, Any]]:
        return list(collection.find(query, _projection(self._request)))

    def _query(self, keys: list[dict[str, Any]]) -> dict[str, Any]:
        if len(self._fields) == 1:
            (field,) = self._fields
            return {field: {"$in": asked(field, [k[field] for k in keys])}}
        return {"$or": [{f: {"$in": asked(f, [k[f]])} for f in self._fields} for k in keys]}

    def close(self) -> None:
        self._client.close()
