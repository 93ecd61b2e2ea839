"""Rows as documents: with a PRIMARY KEY the document of its key (the fields that a row has are set in it), without one a document more."""

from __future__ import annotations

from dataclasses import dataclass
from operator import methodcaller
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.messages.clients import library
from sqlstream.connectors.mongodb.client import Client, Place
from sqlstream.connectors.mongodb.values import ID, documents, ids
from sqlstream.connectors.upsert import UpsertSink, WaitingUpsertWriter
from sqlstream.connectors.waiting import Limits, WaitingWriter
from sqlstream.contracts import Sink, SinkTask, SinkWriter, TableContext
from sqlstream.types import Type


@dataclass(frozen=True)
class Target:
    """`rows`: of a request, at most. `limits`: of what waits."""

    table: TableContext
    place: Place
    rows: int
    limits: Limits

    @property
    def types(self) -> dict[str, Type]:
        """Of the columns."""
        return {c.name: c.type for c in self.table.schema}


class _Writing:
    """Sends operations; which are sent again as a whole if the server was gone."""

    def __init__(self, target: Target) -> None:
        self.target, self.client = target, Client(target.place)
        self.pymongo = library("pymongo", "mongodb", "mongodb")
        try:
            self.client.once(lambda collection: collection.find_one({}, {ID: 1}))  # says at once what is wrong
        except BaseException:
            self.client.close()
            raise

    def do(self, operations: list[Any]) -> None:
        for at in range(0, len(operations), self.target.rows):
            some = operations[at : at + self.target.rows]
            self.client.do(methodcaller("bulk_write", some, ordered=False))


class MongoSink(Sink):
    """Of rows that come."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def writer(self, task: SinkTask) -> SinkWriter:
        return MongoWriter(self._target)


class MongoWriter(WaitingWriter):
    """At least once. Documents get their ids here, so that a request that is sent again adds none twice."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.limits, target.table.seconds)
        self._target, self._writing = target, _Writing(target)
        self._documents: list[dict[str, Any]] = []
        self._new_id = library("bson", "mongodb", "mongodb").ObjectId

    def keep(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self._documents += documents(batch, self._target.types)

    def send(self) -> None:
        waiting, self._documents = self._documents, []
        made = [d if ID in d else {ID: self._new_id(), **d} for d in waiting]
        self._writing.do([self._writing.pymongo.ReplaceOne({ID: d[ID]}, d, upsert=True) for d in made])

    def close(self) -> None:
        self._writing.client.close()


class MongoUpsertSink(UpsertSink):
    """Of a table with a PRIMARY KEY."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.table)
        self._target = target

    def writer(self, task: SinkTask) -> SinkWriter:
        return MongoUpsertWriter(self._target)


class MongoUpsertWriter(WaitingUpsertWriter):
    """Once in effect."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.table.primary_key, target.limits, target.table.seconds)
        self._target, self._writing = target, _Writing(target)

    def upsert(self, rows: pa.RecordBatch) -> None:
        t = self._target
        names = ids(rows, t.table.primary_key, t.types)
        update = self._writing.pymongo.UpdateOne
        made = zip(names, documents(rows, t.types), strict=True)
        self._writing.do([update({ID: i}, _set(i, d), upsert=True) for i, d in made])

    def delete(self, keys: pa.RecordBatch) -> None:
        t = self._target
        self._writing.do([self._writing.pymongo.DeleteOne({ID: i}) for i in ids(keys, t.table.primary_key, t.types)])

    def close(self) -> None:
        self._writing.client.close()


def _set(name: Any, document: dict[str, Any]) -> dict[str, Any]:
    """An update of its fields; of none, one that makes the document alone."""
    fields = {k: v for k, v in document.items() if k != ID}
    return {"$set": fields} if fields else {"$setOnInsert": {ID: name}}
