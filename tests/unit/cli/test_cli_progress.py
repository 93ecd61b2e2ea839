"""The progress line: what it says, that it is on terminals only, and that rows never stand in it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_driver import JOB, UNBOUNDED, environment, on_terminal, sqlstream, until

from sqlstream.batches import NO_WATERMARK
from sqlstream.cli.progress import Watch, next_close, next_line
from sqlstream.plan.nodes import WindowSpec
from sqlstream.runtime.observer import instant
from sqlstream.runtime.progress import Progress

S = 1_000_000


@pytest.mark.parametrize(
    ("spec", "watermark", "closes"),
    [
        (WindowSpec("TUMBLE", 10 * S), 0, 10 * S),
        (WindowSpec("TUMBLE", 10 * S), 10 * S, 20 * S),
        (WindowSpec("TUMBLE", 10 * S, offset=3 * S), 12 * S, 13 * S),
        (WindowSpec("HOP", 10 * S, 2 * S), 11 * S, 12 * S),
        (WindowSpec("HOP", 5 * S, 2 * S), 11 * S, 13 * S),  # ends are odd: begins are even
        (WindowSpec("CUMULATE", 6 * S, 2 * S), 3 * S, 4 * S),
        (WindowSpec("TUMBLE", 10 * S), -1, 0),
        (WindowSpec("SESSION", 10 * S), 5 * S, None),
    ],
)
def test_when_the_next_window_closes(spec: WindowSpec, watermark: int, closes: int | None) -> None:
    assert next_close([spec], watermark) == closes


def test_the_line() -> None:
    watch = Watch(frozenset({WindowSpec("TUMBLE", 10 * S)}), 100.0)
    p = Progress("RUNNING", 1000, 10, 3, NO_WATERMARK)
    assert watch.line(p, 100.5, 0) == "0:00  1,000 rows in  10 out  epoch 3"
    p = Progress("RUNNING", 501_000, 30, 4, 1_436_918_483 * S, 7, 1_436_918_500.0, late_rows=2, skipped_records=1)
    assert watch.line(p, 162.5, 1_436_918_504.2) == (
        "1:02  501,000 rows in (8,065/s)  30 out (0/s)  watermark 2015-07-15 00:01:23  lag 21 s  "
        "next window 2015-07-15 00:01:30 (in 7.0 s)  epoch 4  checkpoint 7, 4 s ago  2 late  1 bad"
    )
    p = Progress("RUNNING", 501_000, 30, 4, 1_436_918_483 * S, held_by="in/a.json")
    held = watch.line(p, 162.5, 1_436_918_490.0)
    assert "watermark 2015-07-15 00:01:23 (held by in/a.json)  lag 7.0 s  next window" in held
    p = Progress("RESTARTING", 501_000, 30, 4, checkpoint=7, failed_checkpoints=3, attempt=2, backoff_until=1010.0)
    assert "checkpoint 7  3 failed  attempt 3 in 8 s" in watch.line(p, 162.5, 1002.0)
    assert instant(1_500_000) == "1970-01-01 00:00:01.500"


def test_on_a_terminal_rows_and_line_do_not_mix(tmp_path: Path) -> None:
    sql = UNBOUNDED.replace("'500'", "'5'").replace("blackhole", "print") + (
        "INSERT INTO counted SELECT n, COUNT(*) FROM numbers GROUP BY n"
    )
    status, seen = on_terminal("-c", sql, cwd=tmp_path, until_seen="epoch")
    assert status == 130
    assert "table numbers created\r\n" in seen
    # a progress line is taken away before anything else is written
    for line in re.findall(r"\d:\d\d  [^\r\n]*(?:\r\x1b\[K|\r\n|$)", seen):
        assert line.endswith("\r\x1b[K"), seen
    assert re.search(r"(?:^|\n|\x1b\[K)\+I\[", seen)


def test_the_line_keeps_what_matters_on_a_narrow_terminal() -> None:
    specs = frozenset({WindowSpec("TUMBLE", 10 * S)})
    p = Progress("RUNNING", 12_345_678, 1_234_567, 400, 1_436_918_483 * S, 12, 1000.0, late_rows=1_234)

    def line(width: int) -> str:
        watch = Watch(specs, 100.0)
        watch.line(Progress("RUNNING"), 161.5, 0)
        return watch.line(p, 162.5, 1003.0, width)

    for width in (70, 80, 100, 120, 200):
        got = line(width)
        assert "checkpoint 12" in got and "1,234 late" in got and "12,345,678 rows in" in got
        assert len(got) <= width
    assert "watermark 2015-07-15 00:01:23" in line(100) and "next window" in line(200)


@pytest.mark.parametrize(
    ("passed", "every", "due"),
    [(0, None, 10), (10.2, None, 20), (59, None, 60), (60.3, None, 120), (3700, None, 3720), (0, 30, 30), (31, 30, 60)],
)
def test_when_a_log_gets_a_line(passed: float, every: float | None, due: float) -> None:
    assert next_line(passed, every) == due


def test_a_job_in_the_background_tells_of_itself_in_its_log(tmp_path: Path) -> None:
    (tmp_path / "job.sql").write_text(JOB)
    line = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  j  \d:\d\d  [\d,]+ rows in .*checkpoint \d+", re.M)
    command = [sys.executable, "-m", "sqlstream", "run", "job.sql", "--progress", "100 ms", "-D", "pipeline.name=j",
               "-D", "execution.checkpointing.interval=100 ms"]  # fmt: skip
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=log, stderr=log)
        until(lambda: len(line.findall((tmp_path / "log").read_text())) >= 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    text = (tmp_path / "log").read_text()
    assert "\r" not in text and "\x1b" not in text


def test_nothing_of_it_in_pipes_where_it_is_not_wanted(tmp_path: Path) -> None:
    sql = JOB.replace("'500'", "'500', 'number-of-rows' = '400'")
    done = sqlstream("-c", sql, "--progress", "0", cwd=tmp_path)
    assert done.status == 0 and "epoch" not in done.err
    assert "expected a duration" in sqlstream("-c", sql, "--progress", "often", cwd=tmp_path).err


def test_nothing_of_it_in_pipes_at_first(tmp_path: Path) -> None:
    done = sqlstream("-c", JOB.replace("'500'", "'500', 'number-of-rows' = '400'"), cwd=tmp_path)
    assert done.status == 0
    assert "\r" not in done.err and "epoch" not in done.err


@pytest.mark.parametrize(("more", "red"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_errors_are_red_on_terminals_only(more: dict[str, str], red: bool, tmp_path: Path) -> None:
    status, seen = on_terminal("-c", "SELECT x", cwd=tmp_path, **more)
    assert status == 1
    assert seen.startswith("\x1b[31;1merror:\x1b[0m " if red else "error: "), seen
