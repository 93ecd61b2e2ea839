"""Rows as documents, by bulk requests: each row an operation, of which some may fail while others are done.

With a PRIMARY KEY a row is the document of its key (Flink's: an update that makes the document if it is not there), and one that goes takes the
document along; writing again after a failure comes to the same. Without, each row is a document more, whose id the server makes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.http.client import Request, Web
from sqlstream.connectors.messages.clients import Unreachable
from sqlstream.connectors.messages.encoder import PartEncoder
from sqlstream.connectors.opensearch.index import Index
from sqlstream.connectors.upsert import UpsertSink, WaitingUpsertWriter
from sqlstream.connectors.waiting import Limits, WaitingWriter
from sqlstream.contracts import Sink, SinkTask, SinkWriter, TableContext
from sqlstream.errors import DataError, RunError
from sqlstream.formats.json_encode import JsonEncoder
from sqlstream.types import STRING, Column, Schema, row

BUSY = frozenset({409, 429, 502, 503, 504})  # of an operation that another try may do
INDEX, UPDATE, DELETE = "index", "update", "delete"
# What is wanted of an answer: operations that were done need not be named.
_WANTED = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason,items.*._id,items.*._index"
_LONGEST = 30.0  # s between two tries


@dataclass(frozen=True)
class Backoff:
    """`delay`: s, before the first try after one that failed; `grows`: it is twice as long each time."""

    retries: int
    delay: float
    grows: bool

    def rest(self, attempt: int) -> float:
        """Before try `attempt` (from 1)."""
        return min(self.delay * 2 ** (attempt - 1), _LONGEST) if self.grows else self.delay


@dataclass(frozen=True)
class Target:
    """`hosts`: URLs, with what stands before paths; `delimiter`: between the values of a key in ids; `actions`, `bytes`: of a request, at most
    (0: any number), and of what waits, for `interval` µs."""

    table: TableContext
    hosts: tuple[str, ...]
    request: Request
    index: Index
    encoder: PartEncoder
    delimiter: str
    actions: int
    bytes: int
    backoff: Backoff
    interval: int = 0

    @property
    def limits(self) -> Limits:
        """Of what waits."""
        return Limits(self.actions, self.interval, self.bytes)

    def ids(self, rows: pa.RecordBatch) -> pa.Array:
        """What documents are called: the values of the key."""
        texts = [_text(rows.column(k)) for k in self.table.primary_key]
        return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, self.delimiter)


def _text(values: pa.Array) -> pa.Array:
    return values.cast(pa.string())


def _actions(kind: str) -> JsonEncoder:
    """Encodes lines that say what is done with which document."""
    fields = (("_index", STRING), ("_id", STRING)) if kind != INDEX else (("_index", STRING),)
    return JsonEncoder(Schema((Column(kind, row(*fields)),)), "SQL", False)


class Bulk:
    """Sends operations. For one thread at a time."""

    def __init__(self, target: Target) -> None:
        self._target, self._web, self._host = target, Web(target.request, 1), 0
        self._encoders = {kind: _actions(kind) for kind in (INDEX, UPDATE, DELETE)}
        try:
            self._ask("GET", "/", b"")  # says at once what is wrong
        except BaseException:
            self.close()
            raise

    def do(self, kind: str, rows: pa.RecordBatch) -> int:
        """One operation for each row. Returns when all are done, how many bytes they have. DataError for documents that are refused."""
        t = self._target
        names = [t.index.names(rows, t.table.name)]
        if kind != INDEX:
            names.append(t.ids(rows))
        of = pa.StructArray.from_arrays(names, names=[f"f{i}" for i in range(len(names))])
        lines = self._encoders[kind].messages(pa.record_batch({kind: of}), None).array().cast(pa.string())
        if kind == INDEX:
            lines = pc.binary_join_element_wise(lines, _documents(t, rows), pa.scalar(""), "\n")
        elif kind == UPDATE:
            parts = (lines, pa.scalar('\n{"doc":'), _documents(t, rows), pa.scalar(',"doc_as_upsert":true}\n'))
            lines = pc.binary_join_element_wise(*parts, "")
        else:
            lines = pc.binary_join_element_wise(lines, pa.scalar(""), "\n")
        sizes = np.cumsum(pc.binary_length(lines).to_numpy(zero_copy_only=False).astype(np.int64))
        at = 0
        while at < len(lines):
            before = int(sizes[at - 1]) if at else 0
            most = int(np.searchsorted(sizes, before + t.bytes, "right")) if t.bytes else len(lines)
            end = max(at + 1, min(at + (t.actions or len(lines)), most))
            self._sent(lines.slice(at, end - at))
            at = end
        return int(sizes[-1]) if len(sizes) else 0

    def _sent(self, lines: pa.Array) -> None:
        """A request for these operations, and others for those of them that another try may do."""
        attempt, backoff, said = 0, self._target.backoff, ""
        while True:
            answer = self._ask("POST", f"/_bulk?{_WANTED}", "".join(lines.to_pylist()).encode())
            if answer.get("errors") not in (True, False):  # of something between that says yes to everything
                raise RunError(
                    f"{self._where}: the answer does not say whether documents were taken: is it OpenSearch, or Elasticsearch?"
                )
            if not answer["errors"]:
                return
            results = [next(iter(i.values())) for i in answer.get("items", ())]
            if len(results) != len(lines):
                raise RunError(
                    f"{self._where}: an answer says something of {len(results):,} operations, and there were {len(lines):,}"
                )
            failed = [(n, r) for n, r in enumerate(results) if r.get("error")]
            refused = next((r for _, r in failed if r.get("status") not in BUSY), None)
            if refused is not None:
                raise self._refused(refused, len(failed))
            said = _reason(failed[0][1])
            attempt += 1
            if attempt > backoff.retries:
                raise Unreachable(
                    f"{self._where}: {len(failed):,} documents are not taken: {said}",
                    hint="'sink.bulk-flush.backoff.*' say how often they are sent",
                )
            time.sleep(backoff.rest(attempt))
            lines = lines.take(pa.array([n for n, _ in failed]))

    @property
    def _where(self) -> str:
        return self._web.where(self._target.hosts[self._host])

    def _refused(self, result: dict[str, Any], count: int) -> DataError:
        more = f", and {count - 1:,} more" if count > 1 else ""
        document = (
            f"document {result['_id']!r} of index {result.get('_index')}"
            if result.get("_id")
            else f"a document of index {result.get('_index')}"
        )
        return DataError(
            f"{self._where}: {document}{more}: {_reason(result)}",
            hint="the fields of the index (its mapping) must fit the columns of the table",
        )

    def _ask(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """Of one host, or of the next if that does not answer."""
        t, attempt = self._target, 0
        headers = {"Content-Type": "application/x-ndjson"} if body else {}
        while True:
            url = t.hosts[self._host] + path
            try:
                answer = self._web.loop.run(self._web.once(method, url, body or None, headers))
                found = json.loads(answer.body or b"{}")
                if not isinstance(found, dict):
                    raise ValueError
                return found
            except Unreachable as e:
                attempt += 1
                if attempt > max(t.backoff.retries, len(t.hosts) - 1):
                    raise
                self._host = (self._host + 1) % len(t.hosts)
                time.sleep(max(t.backoff.rest(attempt), e.rest) if attempt >= len(t.hosts) else 0.0)
            except ValueError:
                raise RunError(
                    f"{self._web.where(url)}: the answer is no JSON: is it OpenSearch, or Elasticsearch?"
                ) from None

    def close(self) -> None:
        """Its connections go."""
        self._web.close()


def _reason(result: dict[str, Any]) -> str:
    e = result["error"]
    if not isinstance(e, dict):
        return str(e)
    cause = (e.get("caused_by") or {}).get("reason")
    return f"{e.get('type')}: {e.get('reason')}" + (f": {cause}" if cause else "")


def _documents(target: Target, rows: pa.RecordBatch) -> pa.Array:
    return target.encoder.encode(rows, None).array().cast(pa.string())


class OpenSearchSink(Sink):
    """Of rows that come."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def writer(self, task: SinkTask) -> SinkWriter:
        return OpenSearchWriter(self.target)


class OpenSearchWriter(WaitingWriter):
    """At least once: rows are sent when there are enough for a request, or they have waited long enough."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.limits, target.table.seconds)
        self._target, self._bulk = target, Bulk(target)
        self._batches: list[pa.RecordBatch] = []

    def keep(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self._batches.append(batch)

    def send(self) -> None:
        batches, self._batches = self._batches, []
        if batches:
            self.sent(self._bulk.do(INDEX, _together(batches)))

    def close(self) -> None:
        self._bulk.close()


def _together(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


class OpenSearchUpsertSink(UpsertSink):
    """Of a table with a PRIMARY KEY."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.table)
        self.target = target

    def writer(self, task: SinkTask) -> SinkWriter:
        return OpenSearchUpsertWriter(self.target)


class OpenSearchUpsertWriter(WaitingUpsertWriter):
    """Once in effect."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.table.primary_key, target.limits, target.table.seconds)
        self._bulk = Bulk(target)

    def upsert(self, rows: pa.RecordBatch) -> None:
        self.sent(self._bulk.do(UPDATE, rows))

    def delete(self, keys: pa.RecordBatch) -> None:
        self.sent(self._bulk.do(DELETE, keys))

    def close(self) -> None:
        self._bulk.close()
