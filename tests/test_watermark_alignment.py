"""Tables of one group wait for one another: none is read further than it may be ahead of the slowest."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sqlstream.errors import SqlStreamError
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

BEGIN = datetime(2024, 1, 1)
TABLE = """CREATE TABLE {name} (v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH (
  'connector' = 'filesystem', 'path' = '{name}.json', 'format' = 'json'{more});"""
WATCHED = ", 'source.monitor-interval' = '1 ms'"
ALIGNED = ", 'scan.watermark.alignment.group' = '{}', 'scan.watermark.alignment.max-drift' = '10 s'"
INSERT = "INSERT INTO o SELECT v FROM fast UNION ALL SELECT v FROM slow UNION ALL SELECT v FROM other;"
QUIET = 4  # epochs without rows, after which nothing more comes


def write(place: Path, name: str, seconds: range) -> None:
    with open(place / f"{name}.json", "a") as f:
        f.writelines(json.dumps({"v": s, "ts": str(BEGIN + timedelta(seconds=s))}) + "\n" for s in seconds)


def session(
    place: Path, more: dict[str, str], options: dict[str, str], on_progress: Callable[[Progress], None] | None = None
) -> Session:
    made = Session(
        options={"execution.runtime-mode": "streaming", "execution.epoch.max-rows": "1", **options},
        working_directory=str(place),
        on_progress=on_progress,
    )
    tables = "".join(TABLE.format(name=n, more=more.get(n, "")) for n in ("fast", "slow", "other"))
    for _ in made.execute(f"{tables} CREATE TABLE o (v INT) WITH ('connector' = 'blackhole');"):
        pass
    return made


def stages(
    place: Path, more: dict[str, str], options: dict[str, str], then: list[Callable[[], None]], sql: str = INSERT
) -> list[int]:
    """The rows that were read when nothing more came: at first, and after each of `then`."""
    seen: list[int] = []
    last, quiet = 0, 0

    def watch(p: Progress) -> None:
        nonlocal last, quiet
        last, quiet = p.rows_in, quiet + 1 if p.rows_in == last else 0
        if quiet < QUIET:
            return
        quiet = 0
        seen.append(last)
        if len(seen) <= len(then):
            then[len(seen) - 1]()
        else:
            assert made.current_job is not None
            made.current_job.stop()

    made = session(place, more, options, watch)
    for _ in made.execute(sql):
        pass
    return seen


def one_group(group_of_slow: str = "g", watched: str = WATCHED) -> dict[str, str]:
    return {
        "fast": watched + ALIGNED.format("g"), "slow": watched + ALIGNED.format(group_of_slow), "other": watched,
    }  # fmt: skip


@pytest.mark.parametrize("parallelism", ["1", "2"])
def test_the_fast_one_waits_for_the_slow_one(tmp_path: Path, parallelism: str) -> None:
    for name, seconds in (("fast", range(100)), ("slow", range(1)), ("other", range(50))):
        write(tmp_path, name, seconds)
    then = [lambda: write(tmp_path, "slow", range(20, 21)), lambda: write(tmp_path, "slow", range(200, 201))]
    # of `fast` what is no further than 10 s ahead, and the row that shows that it is
    expected = [12 + 1 + 50, 32 + 2 + 50, 100 + 3 + 50]
    assert stages(tmp_path, one_group(), {"parallelism.default": parallelism}, then) == expected


def test_by_hints_and_with_the_interval_that_flink_has(tmp_path: Path) -> None:
    for name, seconds in (("fast", range(30)), ("slow", range(1)), ("other", range(1))):
        write(tmp_path, name, seconds)
    hint = "/*+ OPTIONS('scan.watermark.alignment.group' = 'g', 'scan.watermark.alignment.max-drift' = '5 s', 'scan.watermark.alignment.update-interval' = '1 s') */"  # fmt: skip
    sql = f"INSERT INTO o SELECT v FROM fast {hint} UNION ALL SELECT v FROM slow {hint}"
    assert stages(tmp_path, dict.fromkeys(("fast", "slow"), WATCHED), {}, [], sql) == [7 + 1]


def test_groups_do_not_wait_for_each_other(tmp_path: Path) -> None:
    for name, seconds in (("fast", range(100)), ("slow", range(1)), ("other", range(50))):
        write(tmp_path, name, seconds)
    assert stages(tmp_path, one_group("another"), {}, []) == [151]


def test_nobody_waits_for_an_idle_table(tmp_path: Path) -> None:
    for name, seconds in (("fast", range(40)), ("slow", range(1)), ("other", range(2))):
        write(tmp_path, name, seconds)
    assert stages(tmp_path, one_group(), {"table.exec.source.idle-timeout": "50 ms"}, [])[-1] == 43


def test_a_table_has_an_idle_timeout_of_its_own(tmp_path: Path) -> None:
    for name, seconds in (("fast", range(40)), ("slow", range(1)), ("other", range(2))):
        write(tmp_path, name, seconds)
    own = {n: f"{more}, 'scan.watermark.idle-timeout' = '50 ms'" for n, more in one_group().items()}
    assert stages(tmp_path, own, {"table.exec.source.idle-timeout": "1 h"}, [])[-1] == 43
    never = {n: f"{more}, 'scan.watermark.idle-timeout' = '0'" for n, more in one_group().items()}
    assert stages(tmp_path, never, {"table.exec.source.idle-timeout": "50 ms"}, []) == [
        12 + 1 + 2
    ]  # the first row that is too far ahead is seen, too


def test_nobody_waits_for_a_table_that_has_ended(tmp_path: Path) -> None:
    for name, seconds in (("fast", range(40)), ("slow", range(3)), ("other", range(2))):
        write(tmp_path, name, seconds)
    read = 0

    def look(p: Progress) -> None:
        nonlocal read
        read = p.rows_in

    for _ in session(tmp_path, one_group(watched=""), {}, look).execute(INSERT):
        pass
    assert read == 45


def test_it_may_be_another_when_a_job_goes_on(tmp_path: Path) -> None:
    for name, seconds in (("fast", range(40)), ("slow", range(3)), ("other", range(2))):
        write(tmp_path, name, seconds)
    options = {"pipeline.name": "j", "execution.checkpointing.interval": "1 ms"}

    def stop(p: Progress) -> None:
        if p.epoch == 5:
            assert made.current_job is not None
            made.current_job.stop()

    made = session(tmp_path, one_group(watched=""), options, stop)
    for _ in made.execute(INSERT):
        pass
    written = 0
    for r in session(tmp_path, {n: "" for n in ("fast", "slow", "other")}, options).execute(INSERT):
        assert r.progress is not None
        written = r.progress.rows_out
    assert 0 < written <= 45


@pytest.mark.parametrize(
    ("more", "watermark", "message"),
    [
        ("'scan.watermark.alignment.group' = 'g'", True, "without 'scan.watermark.alignment.max-drift'"),
        ("'scan.watermark.alignment.max-drift' = '1 s'", True, "without 'scan.watermark.alignment.group'"),
        ("'scan.watermark.alignment.group' = 'g', 'scan.watermark.alignment.max-drift' = '1 s'", False, "no watermark"),
        ("'scan.watermark.alignment.max-drift' = 'soon'", True, "expected a duration"),
        ("'scan.watermark.alignment.grup' = 'g'", True, "unknown option"),
    ],
)
def test_what_is_refused(tmp_path: Path, more: str, watermark: bool, message: str) -> None:
    made = Session(options={"execution.runtime-mode": "streaming"}, working_directory=str(tmp_path))
    mark = ", WATERMARK FOR ts AS ts" if watermark else ""
    (tmp_path / "t.json").write_text("")
    with pytest.raises(SqlStreamError, match=message) as e:
        for r in made.execute(
            f"CREATE TABLE t (ts TIMESTAMP(3){mark}) WITH ('connector' = 'filesystem', 'path' = 't.json', 'format' = 'json', {more});"
            "SELECT * FROM t"
        ):
            for _ in r.batches():
                pass
    assert e.value.hint
    if "grup" in more:
        assert "scan.watermark.alignment.group" in e.value.hint
