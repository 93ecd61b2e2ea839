"""A URL that is asked for the rows of keys by lookup joins: a request for each key of an epoch, several at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow as pa

from sqlstream.connectors.http.bodies import messages_in
from sqlstream.connectors.http.client import ENDING, Answer, Refused, Request, Web
from sqlstream.connectors.keyed_columns import KeyedColumns
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.loop import Patience
from sqlstream.connectors.templates import Template
from sqlstream.contracts import KeyedCache, KeyedReader, ScanRequest, Source, Split, TableContext
from sqlstream.errors import DataError, NotSupported, OptionError
from sqlstream.formats.messages import Texts

NONE = frozenset({404, 410})  # answers that say that there is no row


@dataclass(frozen=True)
class Asked:
    """`url` and `body` are made of the keys. `kind`, `path`: of bodies, and where rows stand in them. `at_once`: requests."""

    table: TableContext
    request: Request
    method: str
    url: Template
    body: Template | None
    value: PartFormat
    kind: str
    path: tuple[str, ...]
    at_once: int
    retries: int

    @property
    def columns(self) -> tuple[str, ...]:
        """That keys are made of."""
        return tuple(dict.fromkeys((*self.url.columns, *(self.body.columns if self.body else ()))))


class HttpLookupSource(Source):
    """Asked for the rows of keys, and for nothing else."""

    by_key_alone = True

    def __init__(self, asked: Asked, cache: KeyedCache) -> None:
        self._asked, self.keyed, self._patience = asked, cache, Patience()

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        raise NotSupported(
            f"table {self._asked.table.name}: its 'url' has columns, so it is asked for the rows of keys",
            hint="JOIN … FOR SYSTEM_TIME AS OF o.proctime ON … = the columns in 'url' looks them up",
        )

    def keyed_reader(self, request: ScanRequest, keys: tuple[int, ...]) -> KeyedReader:
        return HttpKeyedReader(self._asked, request, keys, self._patience)

    def give_up(self) -> None:
        self._patience.give_up(ENDING)


class HttpKeyedReader(KeyedReader):
    """A row has the key that it was asked for, whatever the answer says."""

    def __init__(self, asked: Asked, request: ScanRequest, keys: tuple[int, ...], patience: Patience) -> None:
        self._patience = patience
        self._asked, self._columns = asked, KeyedColumns(request, keys, asked.columns)
        if lacking := self._columns.lacking:
            raise OptionError(
                f"table {asked.table.name}: 'url' has column '{lacking[0]}', and the join says nothing of it",
                hint=f"ON … = {lacking[0]}",
            )
        self._part = asked.value.part(self._columns.read)
        self._web = Web(asked.request, asked.at_once)

    def rows(self, keys: Sequence[pa.Array]) -> pa.RecordBatch:
        asked, n = self._asked, len(keys[0])
        texts = {c: a.cast(pa.string()) for c, a in self._columns.of(keys).items()}
        urls: list[str] = asked.url.texts({c: _each(a, _in_url) for c, a in texts.items()}, n).to_pylist()
        bodies: list[str | None] = [None] * n
        if asked.body is not None:
            bodies = asked.body.texts({c: _each(a, _in_json) for c, a in texts.items()}, n).to_pylist()
        answers = self._patience.run(self._web.loop, self._answers(urls, bodies))
        values, of = [], []
        for i, body in enumerate(answers):
            if body is not None:
                inside = messages_in(body.body, asked.kind, asked.path, self._web.where(urls[i]), body.charset)
                values += inside
                of += [i] * len(inside)
        found = self._part.columns(Texts.of(values))
        if found.refused:
            r = found.refused[0]
            raise DataError(f"{self._web.where(urls[of[r.message]])}: malformed answer: {r.reason}")
        at = pa.array([of[m] for m in found.of.tolist()], pa.int64())
        return self._columns.rows(keys, at, found.columns)

    async def _answers(self, urls: list[str], bodies: list[str | None]) -> list[Answer | None]:
        limit = asyncio.Semaphore(self._asked.at_once)

        async def one(url: str, body: str | None) -> Answer | None:
            headers = None if body is None else {"Content-Type": "application/json"}
            if any(part in (".", "..") for part in urlsplit(url).path.split("/")):
                return None  # it would ask for something else
            async with limit:
                try:
                    said = None if body is None else body.encode()
                    answer = await self._web.tried(self._asked.retries, self._asked.method, url, said, headers)
                except Refused as e:
                    if e.status in NONE:
                        return None
                    raise
            return answer

        return list(await asyncio.gather(*(one(u, b) for u, b in zip(urls, bodies, strict=True))))

    def close(self) -> None:
        self._web.close()


def _each(texts: pa.Array, written: Any) -> pa.Array:
    return pa.array([written(t) for t in texts.to_pylist()], pa.string())


def _in_url(text: str) -> str:
    return quote(text, safe="")


def _in_json(text: str) -> str:
    """Between quotes, or for a number as it is."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
