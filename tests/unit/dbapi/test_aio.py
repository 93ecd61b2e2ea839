"""The asynchronous twin: it waits on threads, and a task that is canceled cancels its query."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import sqlstream
from sqlstream import aio

ENDLESS = "CREATE TABLE n (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '200', 'fields.a.min' = '1', 'fields.a.max' = '3')"


def test_rows() -> None:
    async def main() -> None:
        async with await aio.connect() as connection, connection.cursor() as cursor:
            await cursor.execute(
                "SELECT a FROM (VALUES (1), (2), (3), (4)) AS t(a) WHERE a < :most ORDER BY a", {"most": 4}
            )
            assert cursor.description is not None and cursor.rowcount == -1
            assert await cursor.fetchone() == (1,)
            assert await cursor.fetchmany(1) == [(2,)]
            assert await cursor.fetchall() == [(3,)]
            assert [row async for row in await connection.execute("SELECT 5")] == [(5,)]
            assert (await (await connection.execute("SELECT 6 AS a")).arrow()).to_pydict() == {"a": [6]}
            with pytest.raises(sqlstream.ProgrammingError):
                await cursor.execute("SELECT x FROM y")
            await connection.commit()
            with pytest.raises(sqlstream.NotSupportedError):
                await connection.rollback()

    asyncio.run(main())


def test_the_loop_goes_on_and_a_canceled_task_cancels_its_query() -> None:
    async def main() -> None:
        async with await aio.connect() as connection:
            await connection.execute(ENDLESS)
            rows = 0
            async for _ in await connection.execute("SELECT a FROM n"):
                rows += 1
                if rows == 5:
                    break
            cursor = await connection.execute("SELECT a FROM n WHERE a > 5")
            waiting = asyncio.create_task(cursor.fetchone())
            for _ in range(5):
                await asyncio.sleep(0.01)  # the loop is not blocked
            assert not waiting.done()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert cursor.sync._pump is not None and not cursor.sync._pump._thread.is_alive()
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)

    asyncio.run(main())


def test_an_insert_is_canceled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        async with await aio.connect() as connection:
            await connection.execute(ENDLESS)
            await connection.execute("CREATE TABLE o (a INT) WITH ('connector' = 'blackhole')")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connection.execute("INSERT INTO o SELECT a FROM n"), 1.0)
            job = await connection.submit("INSERT INTO o SELECT a FROM n")
            await asyncio.to_thread(job.stop)
            assert job.status == "CANCELED"

    asyncio.run(main())


def test_rows_of_the_loop() -> None:
    """An asynchronous iterator is asked in the event loop of who registers it, which cannot wait for its first item."""

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def rows() -> AsyncIterator[dict[str, int]]:
            for i in range(3):
                await asyncio.sleep(0.001)
                assert asyncio.get_running_loop() is loop
                yield {"a": i}

        async with await aio.connect() as connection:
            with pytest.raises(sqlstream.ProgrammingError, match="give schema="):
                connection.register("r", rows())
            connection.register("r", rows(), schema="a INT")
            got: list[int] = []
            connection.register_sink("s", lambda batch: got.extend(batch.column(0).to_pylist()), "a INT")
            await connection.execute("INSERT INTO s SELECT a FROM r")
            assert got == [0, 1, 2]
            await connection.cursor().executemany("INSERT INTO s VALUES (?)", [(7,)])
            assert got[-1] == 7

    asyncio.run(main())
