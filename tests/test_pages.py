"""Pages whose commands are run from top to bottom: each prints what is shown."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import pages

from sqlstream.session import Session

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory to work in; jobs that are left there are killed."""
    work, programs = tmp_path / "work", tmp_path / "bin"
    work.mkdir()
    programs.mkdir()
    program = programs / "sqlstream"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m sqlstream "$@"\n')
    program.chmod(0o755)
    yield work
    for status in work.glob(".sqlstream/*/status.json"):
        if (pid := re.search(r'"pid": (\d+)', status.read_text())) is not None:
            _kill(int(pid[1]), tmp_path)


def _kill(pid: int, below: Path) -> None:
    try:
        if os.readlink(f"/proc/{pid}/cwd").startswith(str(below)):
            os.kill(pid, signal.SIGKILL)
    except OSError:
        return


@pytest.mark.parametrize("name", ["tutorial/upgrading.md", "cookbook.md", "migration.md", "deployment.md"])
def test_every_command_does_what_is_shown(name: str, place: Path) -> None:
    page = (DOCS / name).read_text()
    known = {k: v for k, v in os.environ.items() if not k.startswith("SQLSTREAM_")}
    environment = {
        **known, "PATH": f"{place.parent / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(place.parent / "state"),
    }  # fmt: skip
    assert pages.steps(page)
    pages.follow(page, place, environment)


def test_late_and_bad_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables that operations.md has for them, and what it asks them, of a job with one of each."""
    page = (DOCS / "operations.md").read_text().partition("\n## Late and bad rows\n")[2].partition("\n## ")[0]
    tables, questions = re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    events = [("a", "10:00:00"), ("a", "10:02:00"), ("b", "10:00:30"), ("c", "10:02:30")]  # b: its minute is over
    records = [f'{{"k":"{k}","at":"2026-01-01 {at}"}}' for k, at in events]
    (tmp_path / "events.json").write_text("\n".join([*records, '{"k":"d","at":"soon"}']) + "\n")
    job = """
        CREATE TABLE events (k STRING, `at` TIMESTAMP(3), WATERMARK FOR `at` AS `at`) WITH ('connector' = 'filesystem',
          'path' = 'events.json', 'format' = 'json', 'source.bad-records' = 'rejected');
        CREATE TABLE minutes (k STRING, n BIGINT) WITH ('connector' = 'blackhole');
        INSERT INTO minutes SELECT k, COUNT(*) FROM TUMBLE(TABLE events, DESCRIPTOR(`at`), INTERVAL '1' MINUTE)
        GROUP BY window_start, window_end, k;
    """
    said: list[str] = []
    session = Session(options={"execution.runtime-mode": "streaming"}, on_message=said.append)
    list(session.execute(tables))
    list(session.execute(job))
    late, rejected = (
        [row for batch, _ in result.batches() for row in batch.to_pylist()]
        for result in session.execute("SET 'execution.runtime-mode' = 'batch';" + questions)
        if result.bounded and result.schema is not None
    )
    assert [(row["n"], row["seconds_behind"]) for row in late] == [(1, 90)]
    assert "WindowAggregate" in late[0]["late_operator"]
    (bad,) = rejected
    assert (Path(bad["bad_file"]).name, bad["n"], bad["first_line"]) == ("events.json", 1, 5)
    assert "soon is not a TIMESTAMP" in bad["bad_reason"]
