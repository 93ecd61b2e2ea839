"""The progress line: what it says, that it is on terminals only, and that rows never stand in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_driver import JOB, UNBOUNDED, on_terminal, sqlstream

from sqlstream.batches import NO_WATERMARK
from sqlstream.cli.progress import Watch, instant, next_close
from sqlstream.plan.nodes import WindowSpec
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
    p = Progress("RUNNING", 501_000, 30, 4, 1_436_918_483 * S, 7, 1000.0, late_rows=2)
    assert watch.line(p, 162.5, 1004.2) == (
        "1:02  501,000 rows in (8,065/s)  30 out (0/s)  watermark 2015-07-15 00:01:23  "
        "next window 2015-07-15 00:01:30 (in 7.0 s)  epoch 4  checkpoint 7, 4 s ago  2 late"
    )
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


def test_nothing_of_it_in_pipes(tmp_path: Path) -> None:
    done = sqlstream("-c", JOB.replace("'500'", "'500', 'number-of-rows' = '400'"), cwd=tmp_path)
    assert done.status == 0
    assert "\r" not in done.err and "epoch" not in done.err


@pytest.mark.parametrize(("more", "red"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_errors_are_red_on_terminals_only(more: dict[str, str], red: bool, tmp_path: Path) -> None:
    status, seen = on_terminal("-c", "SELECT x", cwd=tmp_path, **more)
    assert status == 1
    assert seen.startswith("\x1b[31;1merror:\x1b[0m " if red else "error: "), seen
