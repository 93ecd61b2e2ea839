"""A job over files that grow: appended to while it runs, killed, stopped and resumed, with new files and idle ones."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kill
import pytest

SCRIPT = """
SET 'pipeline.name' = 'growing';
SET 'execution.checkpointing.interval' = '50 ms';
SET 'table.exec.source.idle-timeout' = '300 ms';
CREATE TABLE events (k INT, v INT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '5' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json', 'source.monitor-interval' = '20 ms');
CREATE TABLE windows (k INT, w_end TIMESTAMP(3), n BIGINT, total BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'out/windows', 'format' = 'json');
CREATE TABLE totals (k INT, n BIGINT, total BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'out/totals', 'format' = 'debezium-json');
EXECUTE STATEMENT SET BEGIN
INSERT INTO windows SELECT k, window_end, COUNT(*), SUM(v)
  FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(at), INTERVAL '2' SECOND)) GROUP BY k, window_start, window_end;
INSERT INTO totals SELECT k, COUNT(*), SUM(v) FROM events GROUP BY k;
END;
"""


class Place:
    """The job's directory; knows what was appended, and so what must come out."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "in").mkdir()
        (directory / "job.sql").write_text(SCRIPT)
        self.windows: Counter[tuple[int, int]] = Counter()  # (k, end in seconds): rows
        self.totals: Counter[int] = Counter()

    def append(self, name: str, seconds: range, late: bool = False) -> None:
        """Three rows a second of event time; each write ends in the middle of a line."""
        lines = ""
        for s in seconds:
            for k in range(3):
                lines += json.dumps({"k": k, "v": s, "at": stamp(s)}) + "\n"
                self.totals[k] += 1
                if not late:
                    self.windows[k, s // 2 * 2 + 2] += 1
        path = self.directory / "in" / name
        for i in range(0, len(lines), 1000):
            with open(path, "a") as f:
                f.write(lines[i : i + 1000])
            time.sleep(0.005)

    def start(self, parallelism: int) -> kill.Run:
        return kill.start(self.directory, ["run", "job.sql", "-D", f"parallelism.default={parallelism}"])

    def shown(self) -> Counter[tuple[int, int]]:
        out: Counter[tuple[int, int]] = Counter()
        for line in kill.lines(self.directory / "out/windows"):
            row = json.loads(line)
            key = (row["k"], seconds_of(row["w_end"]))
            assert key not in out, f"window {key} was closed twice"
            out[key] = row["n"]
        return out

    def shown_totals(self) -> Counter[int]:
        rows = kill.fold(kill.lines(self.directory / "out/totals"))
        return Counter({row["k"]: row["n"] for row in map(json.loads, rows)})

    def until(self, run: kill.Run, got: Callable[[], Counter[Any]], expected: Counter[Any]) -> None:
        end = time.monotonic() + 30
        while (there := got()) != expected:
            assert run.process.exitcode is None, run.text()
            assert time.monotonic() < end, f"missing {expected - there}, extra {there - expected}; {run.text()}"
            time.sleep(0.05)

    def said(self, run: kill.Run, text: str) -> None:
        end = time.monotonic() + 30
        while text not in run.text():
            assert run.process.exitcode is None and time.monotonic() < end, run.text()
            time.sleep(0.05)

    def closed(self, second: int) -> Counter[tuple[int, int]]:
        return Counter({key: n for key, n in self.windows.items() if key[1] <= second})


def stamp(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_700_000_000 + second)) + ".000"


def seconds_of(text: str) -> int:
    import calendar

    return calendar.timegm(time.strptime(text[:19].replace("T", " "), "%Y-%m-%d %H:%M:%S")) - 1_700_000_000


def interrupted(run: kill.Run, number: int = signal.SIGINT) -> str:
    run.signal(number)
    assert run.wait(20) == 128 + number, run.text()
    return run.text()


def test_files_that_grow(tmp_path: Path) -> None:
    place = Place(tmp_path)
    watcher = kill.Watcher(tmp_path / "out", {})
    with watcher:
        place.append("a.json", range(0, 10))
        run = place.start(1)
        place.until(run, place.shown_totals, place.totals)
        # A file that is new while the other one goes on. Its rows are not late.
        place.append("b.json", range(10, 14))
        place.until(run, place.shown_totals, place.totals)
        place.append("a.json", range(10, 20))
        place.until(run, place.shown_totals, place.totals)
        place.append("b.json", range(16, 20))
        place.until(run, place.shown, place.closed(14))
        run.process.kill()
        assert run.wait() == -signal.SIGKILL
        # More while nobody runs; b is idle from now on, and a alone closes windows.
        place.append("a.json", range(20, 30))
        run = place.start(2)
        place.until(run, place.shown, place.closed(24))
        said = interrupted(run)
        assert "stopped at checkpoint" in said and "the same command resumes there" in said
        state = json.loads((tmp_path / ".sqlstream/growing/job.json").read_text())
        assert state["state"] == "CANCELED"
        # b wakes up with rows of windows that a closed before the stop: too late, also after it.
        place.append("b.json", range(20, 23), late=True)
        run = place.start(1)
        place.until(run, place.shown_totals, place.totals)
        place.append("a.json", range(30, 40))
        place.append("c.json", range(36, 40))
        place.until(run, place.shown_totals, place.totals)
        place.append("a.json", range(100, 101))
        place.until(run, place.shown, place.closed(40))
        interrupted(run, signal.SIGTERM)
    assert not watcher.problems, watcher.problems
    assert place.shown() == place.closed(40)
    assert not [p for p in tmp_path.rglob("_staging/*/*")]


def test_stopped_at_once_and_resumed_with_nothing_new(tmp_path: Path) -> None:
    """A signal while it starts, and starts that have nothing to do, publish nothing twice."""
    place = Place(tmp_path)
    place.append("a.json", range(0, 10))
    for parallelism in (1, 2, 3):
        run = place.start(parallelism)
        place.until(run, place.shown_totals, place.totals)
        interrupted(run)
    before = sorted((tmp_path / "out").rglob("*.json"))
    run = place.start(1)
    place.said(run, "resumes from checkpoint")
    interrupted(run)
    assert sorted((tmp_path / "out").rglob("*.json")) == before


def test_a_file_that_is_replaced(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.append("a.json", range(0, 10))
    run = place.start(1)
    place.until(run, place.shown_totals, place.totals)
    (tmp_path / "in/a.json").write_text("")  # copytruncate, without the copy: all of it was read
    place.append("a.json", range(10, 12))
    place.until(run, place.shown_totals, place.totals)
    (tmp_path / "in/a.json").rename(tmp_path / "in/a.json.1")
    run.process.kill()
    run.wait()
    place.append("a.json", range(12, 14))
    place.append("a.json.1", range(14, 15))
    run = place.start(2)
    place.until(run, place.shown_totals, place.totals)
    with open(tmp_path / "in/a.json", "a") as f:
        f.write('{"k": 1, "v"')
    place.append("b.json", range(15, 16))
    place.until(run, place.shown_totals, place.totals)  # so the half line was seen, too
    (tmp_path / "in/a.json").unlink()
    place.said(run, "a.json was deleted or replaced before it was read to its end: the last 12 of its")
    interrupted(run)


@pytest.mark.parametrize("text", ['{"k": 1, "v": nonsense}\n', '{"k": 1\n', "\x00\n"])
def test_a_malformed_line_is_appended(tmp_path: Path, text: str) -> None:
    """The job ends with the line's number, and goes on when the line is mended."""
    place = Place(tmp_path)
    place.append("a.json", range(0, 10))
    run = place.start(1)
    place.until(run, place.shown_totals, place.totals)
    with open(tmp_path / "in/a.json", "a") as f:
        f.write(text)
    assert run.wait(20) == 1
    assert "a.json" in run.text() and "line 31" in run.text(), run.text()
    size = (tmp_path / "in/a.json").stat().st_size
    os.truncate(tmp_path / "in/a.json", size - len(text))
    place.append("a.json", range(10, 12))
    run = place.start(1)
    place.until(run, place.shown_totals, place.totals)
    interrupted(run)
