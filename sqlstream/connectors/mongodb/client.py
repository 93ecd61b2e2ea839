"""A client of MongoDB, and what becomes of its failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlstream.connectors.messages.clients import Unreachable, library
from sqlstream.errors import DataError, RunError

T = TypeVar("T")
MILLISECONDS = 5_000  # that a server may take to be found
_WHO = frozenset(
    {8000, 11, 13, 18, 31, 33, 334}
)  # https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
_ASKS = "'uri' says who asks: mongodb://user:password@host/?authSource=admin"


@dataclass(frozen=True)
class Place:
    """A collection. `retries`: of what failed as the server was gone, each after `interval` s."""

    table: str
    uri: str = field(repr=False)
    database: str
    collection: str
    retries: int
    interval: float

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self.table}: collection {self.database}.{self.collection}"


def connected(uri: str) -> Any:
    """A client of PyMongo's, which connects when it is used."""
    return library("pymongo", "mongodb", "mongodb").MongoClient(
        uri, serverSelectionTimeoutMS=MILLISECONDS, connectTimeoutMS=MILLISECONDS, appname="sqlstream"
    )  # fmt: skip


class Client:
    """For one thread at a time."""

    def __init__(self, place: Place) -> None:
        self._errors = library("pymongo.errors", "mongodb", "mongodb")
        self._place = place
        try:
            self._client = connected(place.uri)
        except (self._errors.PyMongoError, ValueError) as e:
            raise RunError(f"{place.where}: {e}", hint="'uri' = 'mongodb://host:27017'") from None
        try:
            self.collection = self._client[place.database][place.collection]
        except self._errors.InvalidName as e:
            self.close()
            raise RunError(f"{place.where}: {e}", hint="'database' and 'collection' name it") from None

    def do(self, work: Callable[[Any], T]) -> T:
        """`work` with the collection; again, where it failed for a reason that may pass: it must be one that may be repeated. Unreachable where the server is
        gone, DataError for documents that it refuses, RunError for the rest."""
        for attempt in range(self._place.retries + 1):
            try:
                return self.once(work)
            except Unreachable:
                if attempt == self._place.retries:
                    raise
                time.sleep(self._place.interval)
        raise AssertionError("it returns, or raises, the last time")

    def once(self, work: Callable[[Any], T]) -> T:
        """`work`, and no second time."""
        errors, where = self._errors, self._place.where
        try:
            return work(self.collection)
        except errors.BulkWriteError as e:
            raise self._refused(e) from e
        except (errors.ConnectionFailure, errors.WaitQueueTimeoutError) as e:
            said = str(e).partition(", Timeout: ")[0]
            raise Unreachable(
                f"{where} does not answer: {said}", hint="is MongoDB there, and can it be reached from here?"
            ) from e
        except errors.OperationFailure as e:
            who = _ASKS if e.code in _WHO else None
            raise RunError(f"{where}: {(e.details or {}).get('errmsg') or e}", hint=who) from None
        except (errors.PyMongoError, OverflowError) as e:
            raise RunError(f"{where}: {e}") from e

    def _refused(self, e: Any) -> Exception:
        found = (e.details or {}).get("writeErrors") or [{}]
        first, more = found[0], f", and {len(found) - 1:,} more" if len(found) > 1 else ""
        document = (first.get("op") or {}).get("q") or (first.get("op") or {}).get("_id", "")
        return DataError(
            f"{self._place.where}: a document is refused{more}: {first.get('errmsg') or e}; it is {document}"
        )

    def close(self) -> None:
        """Its connections go."""
        self._client.close()
