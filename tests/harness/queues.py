"""What tests of message systems have in common: tables of them, queries both ways, jobs that die, and the pages that show them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

ROOT = Path(__file__).parents[2]


def declared(name: str, columns: str, connector: str, options: Mapping[str, str], **more: str) -> str:
    """CREATE TABLE. `more`: options too, with _ for the dots and __ for the dashes of their names."""
    given = {"connector": connector, **options, **{k.replace("__", "-").replace("_", "."): v for k, v in more.items()}}
    return f"CREATE TEMPORARY TABLE {name} ({columns}) WITH ({', '.join(f'{k!r} = {quoted(v)}' for k, v in given.items())})"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def rows_of(cursor: Any) -> list[Any]:
    """The rows that a query's changes come to, sorted."""
    rows = cursor.fetchall()
    if cursor.description[0][0] == "op":
        left = Counter(r[1:] for r in rows if r[0] in ("+I", "+U"))
        left.subtract(r[1:] for r in rows if r[0] in ("-D", "-U"))
        rows = list(left.elements())
    return sorted(rows, key=repr)


def both_ways(connection: Any, sql: str) -> list[Any]:
    """The rows of a query, in batch and streaming the same ones."""
    found = []
    for mode in ("batch", "streaming"):
        connection.execute(f"SET 'execution.runtime-mode' = '{mode}'")
        found.append(rows_of(connection.execute(sql)))
    assert found[0] == found[1]
    return found[0]


def error_of(connection: Any, *statements: str) -> str:
    """What is said when one of them fails."""
    try:
        for sql in statements:
            cursor = connection.execute(sql)
            if cursor.description is not None:
                cursor.fetchall()
    except Exception as e:
        return f"{e}\n{e.__cause__ or ''}"
    raise AssertionError("it did not fail")


def fetching(connection: Any, sql: str) -> Future[list[Any]]:
    """The rows of a query, which runs meanwhile."""
    found: Future[list[Any]] = Future()

    def run() -> None:
        try:
            found.set_result(connection.execute(sql).fetchall())
        except BaseException as e:
            found.set_exception(e)

    Thread(target=run, daemon=True).start()
    return found


class Job:
    """A script in a directory, run by the command, in a process of its own. `fault`: where that dies (`sqlstream/faults.py`)."""

    def __init__(self, directory: Path, *statements: str, **options: str) -> None:
        self.directory = directory
        usual = {
            "pipeline.name": "job",
            "execution.runtime-mode": "streaming",
            "execution.epoch.max-rows": "100",
            **{k.replace("__", "-").replace("_", "."): v for k, v in options.items()},
        }
        self.script = directory / "job.sql"
        settings = [f"SET {k!r} = {v!r}" for k, v in usual.items()]
        self.script.write_text(";\n".join([*settings, *statements]) + ";\n")

    def start(self, fault: str = "") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sqlstream", "run", str(self.script)], cwd=self.directory, text=True,
            env={**os.environ, **({"SQLSTREAM_FAULT": fault} if fault else {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, fault: str = "", seconds: float = 60) -> int:
        """Its exit status; what it said is in `said`."""
        process = self.start(fault)
        try:
            out, self.said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, self.said = process.communicate()
            raise AssertionError(f"it does not end:\n{self.said}") from None
        self.out = out
        return process.returncode

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """The job's process, which is stopped in the end if it is still there."""
        process = self.start()
        try:
            yield process
            assert process.poll() in (None, 0, -signal.SIGINT, 130), process.communicate()[1]
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                self.out, self.said = process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                self.out, self.said = process.communicate()


def until(true: Callable[[], object], seconds: float = 40) -> None:
    """Waits for it."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)


def page_of(name: str, tmp_path: Path, replaced: Mapping[str, str], seconds: float = 60) -> tuple[str, str]:
    """What the SQL of a page of docs/connectors/ prints, run as one script, and what the page shows. `replaced`: what stands there
    for what is here."""
    page = (ROOT / "docs" / "connectors" / f"{name}.md").read_text()
    script = "\n".join(re.findall(r"```sql\n(.*?)```", page, re.S))
    (shown,) = re.findall(r"```\n(\+--.*?)```", page, re.S)
    for there, here in replaced.items():
        assert there in script, there
        script = script.replace(there, here)
    path = tmp_path / "page.sql"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "sqlstream", "run", str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), shown.strip()
