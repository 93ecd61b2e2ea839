"""A program of a user's, which is checked with mypy --strict against the package as it is installed (py.typed)."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator

import sqlstream
import sqlstream.aio


@sqlstream.udf(result_type="INT")
def twice(x: int) -> int:
    return 2 * x


@sqlstream.udtf(result_types=["STRING", "INT"])
def words(text: str) -> Iterator[tuple[str, int]]:
    yield text, len(text)


def visits() -> Iterator[dict[str, object]]:
    yield {"page": 1, "ts": datetime.datetime(2024, 1, 1)}


def main() -> None:
    with sqlstream.connect(fetch_timeout=5, options={"execution.runtime-mode": "streaming"}) as connection:
        connection.register("visits", visits, watermark=("ts", datetime.timedelta(seconds=5)), bounded=True)
        cursor: sqlstream.Cursor = connection.execute("SELECT page FROM visits WHERE page = ?", [1])
        row = cursor.fetchone()
        if row is not None:
            print(row[0])
        for kind, *_ in cursor:
            print(kind)
        try:
            cursor.fetchmany(3)
        except sqlstream.FetchTimeout as e:
            hint: str | None = e.hint
            print(hint)
        relation: sqlstream.Relation | None = connection.sql("SELECT 1 AS a")
        if relation is not None:
            names: list[str] = relation.columns
            print(names)
        connection.execute("CREATE TABLE nowhere (page INT) WITH ('connector' = 'blackhole')")
        job: sqlstream.Job = connection.submit("INSERT INTO nowhere SELECT page FROM visits")
        job.wait(timeout=60)
        status: str = job.status
        print(status, job.done)


async def later() -> None:
    async with await sqlstream.aio.connect() as connection:
        async for row in await connection.execute("SELECT 1"):
            print(row)


class Count(sqlstream.ProcessTableFunction):
    result_type = "ROW<n BIGINT>"
    count = sqlstream.ValueStateDescriptor("count", "BIGINT")

    def eval(self, ctx: sqlstream.Context, input: sqlstream.Row) -> Iterator[int]:
        n = (self.count.value() or 0) + 1
        self.count.update(n)
        yield n


if __name__ == "__main__":
    main()
    asyncio.run(later())
