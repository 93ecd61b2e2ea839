"""A directory of many files: what a look costs is counted in names and states asked for, not in seconds."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sqlstream.connectors.paths import Root
from sqlstream.connectors.watch import ROUND, SHARE, Watch
from sqlstream.stores import ENVIRONMENT

FILES = 5000


def watched(directory: Path) -> tuple[Watch, list[float]]:
    now = [0.0]
    watch = Watch(Root(str(directory), "/"), ENVIRONMENT, 1.0, lambda: now[0])
    watch.begin((), {}, ())
    return watch, now


def test_a_look_costs_what_changed(tmp_path: Path) -> None:
    for i in range(FILES):
        (tmp_path / f"{i:05}.json").write_text("{}\n")
    watch, now = watched(tmp_path)
    assert len(watch.new()) == FILES
    for _ in range(130):  # they were changed lately, and are looked at each time
        now[0] += 1
        watch.look()
    watch.stats, watch._listing.entries = 0, 0
    looks = 100
    for i in range(looks):
        now[0] += 1
        if i % 10 == 0:
            (tmp_path / f"new{i:05}.json").write_text("{}\n")
            os.utime(tmp_path, ns=(i, i))  # long ago: what changed just now is listed again, for it may change again
        watch.look()
    assert len(watch.new()) == 10
    assert watch.stats < looks * (FILES / ROUND + 2) + 10 * 61  # each once a round, and what is new each time
    assert watch._listing.entries <= 10 * (FILES + 10)


def test_a_directory_that_does_not_change_is_not_listed(tmp_path: Path) -> None:
    for i in range(100):
        (tmp_path / f"{i}.json").write_text("{}\n")
    os.utime(tmp_path, ns=(1, 1))
    watch, now = watched(tmp_path)
    for _ in range(10):
        now[0] += 1
        watch.look()
    assert watch._listing.entries == 100


def test_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    watch, now = watched(tmp_path)
    for i in range(300):
        path = tmp_path / f"{i}.json"
        path.write_text("")
        now[0] += 1
        watch.look()
        path.unlink()
    now[0] += 1
    watch.look()
    for split in watch.new():
        watch.done(watch.files[split.id]) if split.id in watch.files and watch.files[split.id].ended else None
    assert len(watch.files) < 10 and len(watch._others) + len(watch._fresh) < 10


def test_a_look_that_takes_long_is_taken_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, now = watched(tmp_path)
    spent = iter([0.0, 0.6])  # of the processor's time, at the begin of a look and at its end
    monkeypatch.setattr(time, "thread_time", lambda: next(spent))
    now[0] += 1
    watch.look()
    (tmp_path / "a.json").write_text("")
    now[0] += 0.6 / SHARE - 1
    watch.look()
    assert watch.new() == []
    monkeypatch.undo()
    now[0] += 1
    watch.look()
    assert len(watch.new()) == 1
