"""What the tests of tables of lakes share: statements run, queries that follow a table, rows written as a task does."""

from __future__ import annotations

import datetime
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sqlstream.contracts import Connector, SinkTask, TableContext
from sqlstream.errors import SqlStreamError
from sqlstream.session import Session


def run(directory: Path, *statements: str, mode: str = "batch") -> list[Any]:
    """The rows of the last statement, as they are in the end."""
    session = Session(working_directory=str(directory), options={"execution.runtime-mode": mode})
    rows: list[Any] = []
    for result in session.execute(";\n".join(statements)):
        rows = []
        for batch, kinds in result.batches():
            changed = [tuple(r.values()) for r in batch.to_pylist()]
            for n, row in enumerate(changed):
                if kinds is not None and kinds[n] in (1, 3):
                    rows.remove(row)
                else:
                    rows.append(row)
    return rows


def create(columns: str, options: dict[str, str], name: str = "t", partitioned: str = "") -> str:
    """CREATE TABLE."""
    said = ", ".join(f"'{k}' = '{v}'" for k, v in options.items())
    by = f"PARTITIONED BY ({partitioned})" if partitioned else ""
    return f"CREATE TABLE {name} ({columns}) {by} WITH ({said})"


def plain(v: Any) -> Any:
    """A value such that those of one meaning are equal: rows and maps as tuples, moments in UTC."""
    if isinstance(v, dict):
        return tuple(plain(x) for x in v.values()) if "x" in v else sorted(v.items())
    if isinstance(v, tuple | list):
        return tuple(map(plain, v)) if v and not isinstance(v[0], tuple) else list(v)
    return v if not isinstance(v, datetime.datetime) or v.tzinfo is None else v.astimezone(datetime.UTC)


def write(
    connector: type[Connector], t: TableContext, rows: dict[str, Any], task: SinkTask, checkpoint: int
) -> list[Any]:
    """As a task does; the checkpoint's committables."""
    writer = connector().sink(t).writer(task)
    columns = {c.name: pa.array(rows[c.name], c.type.arrow_outside()) for c in t.schema}
    writer.write(pa.record_batch(columns), None)
    writer.flush()
    prepared: list[Any] = json.loads(json.dumps(writer.prepare(checkpoint)))
    writer.close()
    return prepared


def wrong(directory: Path, statement: str, *tables: str, mode: str = "batch") -> SqlStreamError:
    """The error that a statement is."""
    with pytest.raises(SqlStreamError) as e:
        run(directory, *tables, statement, mode=mode)
    return e.value


class Following:
    """A query over a table that grows, in a thread; `rows` are those that came."""

    def __init__(self, directory: Path, table: str, query: str) -> None:
        self.rows: list[Any] = []
        self.error: BaseException | None = None
        self._session = Session(working_directory=str(directory), options={"execution.runtime-mode": "streaming"})
        list(self._session.execute(table))
        self._thread = threading.Thread(target=self._run, args=(query,))
        self._thread.start()

    def _run(self, query: str) -> None:
        try:
            for result in self._session.execute(query):
                for batch, _ in result.batches():
                    self.rows += [tuple(r.values()) for r in batch.to_pylist()]
        except BaseException as e:
            self.error = e

    def until(self, wanted: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not wanted():
            if self.error is not None:
                raise self.error
            assert time.monotonic() < end, self.rows
            time.sleep(0.01)

    def close(self) -> None:
        self._session.cancel()
        self._thread.join()

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
