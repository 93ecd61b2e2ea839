"""The DB-API for asynchronous code: what waits does so on threads, so the event loop goes on.

    async with await sqlstream.aio.connect() as connection:
        async for row in await connection.execute("SELECT …"): ...

A task that is canceled while it waits cancels the query behind it. Each connection has a thread for its statements, and
each cursor one for its fetches.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from sqlstream import dbapi
from sqlstream.dbapi.jobs import Job
from sqlstream.dbapi.parameters import Parameters
from sqlstream.dbapi.registered import caller

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    import pandas
    import polars

T = TypeVar("T")


async def connect(path: str | os.PathLike[str] = ":memory:", **options: Any) -> Connection:
    """`sqlstream.connect`, with its arguments."""
    return Connection(await asyncio.to_thread(dbapi.connect, path, **options))


async def _on(pool: ThreadPoolExecutor, work: Callable[[], T], cancel: Callable[[], None]) -> T:
    """`work` on the pool's thread. Canceled meanwhile, it is ended by `cancel`, and waited for."""
    future = asyncio.get_running_loop().run_in_executor(pool, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.to_thread(cancel)
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # it is known why
        raise


class Connection:
    """`sqlstream.Connection`, whose methods that wait are coroutines. The others are at `sync`, the connection itself."""

    def __init__(self, sync: dbapi.Connection) -> None:
        self.sync = sync
        self._pool = ThreadPoolExecutor(1, "statements")

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor(self, self.sync.cursor())

    async def execute(self, sql: str, parameters: Parameters | None = None) -> Cursor:
        """A new cursor that has executed `sql`."""
        cursor = self.cursor()
        await cursor._run(lambda frame: cursor.sync.execute_for(frame, sql, parameters), caller())
        return cursor

    async def executemany(self, sql: str, seq_of_parameters: Iterable[Parameters]) -> Cursor:
        """A new cursor that has inserted many rows."""
        return await self.cursor().executemany(sql, seq_of_parameters)

    async def submit(self, sql: str) -> Job:
        """The job of an INSERT, which runs on; `asyncio.to_thread(job.wait)` waits for it."""
        return await _on(self._pool, lambda: self.sync.submit(sql), self.sync.cancel)

    def register(self, name: str, value: Any, **how: Any) -> None:
        """`sqlstream.Connection.register`; an asynchronous iterator is asked in this event loop, and needs a `schema`."""
        self.sync.register(name, value, **how)

    def register_sink(self, name: str, target: Any, schema: pa.Schema | str, **how: Any) -> None:
        """`sqlstream.Connection.register_sink`. The function is called on a thread of the job."""
        self.sync.register_sink(name, target, schema, **how)

    async def commit(self) -> None:
        """Nothing to do."""
        self.sync.commit()

    async def rollback(self) -> None:
        """NotSupportedError."""
        self.sync.rollback()

    async def close(self) -> None:
        """Ends what runs, and waits for it."""
        await asyncio.to_thread(self.sync.close)
        self._pool.shutdown(wait=False)

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


class Cursor:
    """`sqlstream.Cursor`, whose methods that wait are coroutines; `async for row in cursor`."""

    def __init__(self, connection: Connection, sync: dbapi.Cursor) -> None:
        self.connection = connection
        self.sync = sync
        self._pool = ThreadPoolExecutor(1, "rows")

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        """PEP 249's."""
        return self.sync.description

    @property
    def rowcount(self) -> int:
        """PEP 249's."""
        return self.sync.rowcount

    @property
    def row_kind(self) -> str | None:
        """Of the row that was fetched last, where rows can change."""
        return self.sync.row_kind

    async def execute(self, sql: str, parameters: Parameters | None = None) -> Cursor:
        """Runs one statement."""
        await self._run(lambda frame: self.sync.execute_for(frame, sql, parameters), caller())
        return self

    async def executemany(self, sql: str, seq_of_parameters: Iterable[Parameters]) -> Cursor:
        """INSERT INTO … VALUES of many rows."""
        await self._run(lambda frame: self.sync.executemany(sql, seq_of_parameters), None)
        return self

    async def executescript(self, sql: str) -> Cursor:
        """Runs several statements."""
        await self._run(lambda frame: self.sync.executescript(sql), None)
        return self

    async def fetchone(self) -> tuple[Any, ...] | None:
        """The next row; None at the end."""
        return await self._fetch(self.sync.fetchone)

    async def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """Up to `size` rows."""
        return await self._fetch(lambda: self.sync.fetchmany(size))

    async def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        return await self._fetch(self.sync.fetchall)

    async def fetch_record_batch(self) -> pa.RecordBatch | None:
        """The next batch; None at the end."""
        return await self._fetch(self.sync.fetch_record_batch)

    async def arrow(self) -> pa.Table:
        """All rows that are left, as an Arrow table."""
        return await self._fetch(self.sync.arrow)

    async def df(self) -> pandas.DataFrame:
        """All rows that are left, as a pandas frame."""
        return await self._fetch(self.sync.df)

    async def pl(self) -> polars.DataFrame:
        """All rows that are left, as a Polars frame."""
        return await self._fetch(self.sync.pl)

    def __aiter__(self) -> AsyncIterator[tuple[Any, ...]]:
        return self

    async def __anext__(self) -> tuple[Any, ...]:
        row = await self.fetchone()
        if row is None:
            raise StopAsyncIteration
        return row

    async def close(self) -> None:
        """Ends what still runs for the result, and waits for it."""
        await asyncio.to_thread(self.sync.close)
        self._pool.shutdown(wait=False)

    async def __aenter__(self) -> Cursor:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, work: Callable[[FrameType | None], object], frame: FrameType | None) -> None:
        await _on(self.connection._pool, lambda: work(frame), self.connection.sync.cancel)

    async def _fetch(self, work: Callable[[], T]) -> T:
        return await _on(self._pool, work, self.sync.cancel)
