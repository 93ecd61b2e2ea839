"""Option `sink.parallelism` of tables: as many tasks write as it says, and rows of one key stay in their order."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from sqlstream.errors import OptionError
from sqlstream.session import Session

SOURCE = """CREATE TABLE s (k BIGINT, v BIGINT) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json');"""


def session(directory: Path, tasks: int, mode: str = "streaming") -> Session:
    return Session(
        working_directory=str(directory), options={"execution.runtime-mode": mode, "parallelism.default": str(tasks)}
    )


def sink(options: str, key: str = "") -> str:
    return f"CREATE TABLE t (k BIGINT, n BIGINT{key}) WITH ({options});"


def ran(s: Session, script: str) -> None:
    for result in s.execute(script):
        for _ in result.batches():
            pass


def put(directory: Path, files: int = 4, rows: int = 200) -> None:
    (directory / "in").mkdir()
    for f in range(files):
        lines = [json.dumps({"k": n % 10, "v": f * rows + n}) for n in range(rows)]
        (directory / "in" / f"{f}.json").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("tasks", "parallelism", "writing"), [(4, 1, 1), (4, 2, 2), (3, 3, 3), (1, 1, 1)])
def test_so_many_tasks_write(tmp_path: Path, tasks: int, parallelism: int, writing: int) -> None:
    put(tmp_path)
    options = f"'connector' = 'filesystem', 'path' = 'out', 'format' = 'json', 'sink.parallelism' = '{parallelism}'"
    ran(session(tmp_path, tasks), f"{SOURCE} {sink(options)} INSERT INTO t SELECT k, v FROM s;")
    files = [f for f in (tmp_path / "out").iterdir() if f.suffix == ".json"]
    assert len({f.name.split("-")[3] for f in files}) == writing  # part-job-run-task-…
    found = [json.loads(x) for f in files for x in f.read_text().splitlines()]
    assert sorted(r["n"] for r in found) == list(range(800))


@pytest.mark.parametrize("parallelism", [1, 2])
def test_changes_of_a_key_stay_in_their_order(tmp_path: Path, parallelism: int) -> None:
    """Of each key the counts rise by one: with small epochs every change is told, and each begins where the one before ended."""
    put(tmp_path)
    options = (
        f"'connector' = 'filesystem', 'path' = 'out', 'format' = 'debezium-json', 'sink.parallelism' = '{parallelism}'"
    )
    s = session(tmp_path, 4)
    ran(s, f"{SOURCE} {sink(options)} INSERT INTO t SELECT k, COUNT(*) FROM s GROUP BY k;")
    files = [f for f in (tmp_path / "out").iterdir() if f.is_file()]
    held: dict[int, set[int]] = defaultdict(set)
    tasks: dict[int, set[str]] = defaultdict(set)
    for f in files:
        for line in f.read_text().splitlines():
            change = json.loads(line)
            if change["op"] == "c":
                assert not held[change["after"]["k"]]
                held[change["after"]["k"]].add(change["after"]["n"])
            else:
                held[change["before"]["k"]].remove(change["before"]["n"])
            tasks[(change["after"] or change["before"])["k"]].add(f.name.split("-")[3])
    assert held == {k: {80} for k in range(10)}
    assert all(len(t) == 1 for t in tasks.values())


def test_the_exchange_is_shown(tmp_path: Path) -> None:
    put(tmp_path, 1, 1)
    options = "'connector' = 'blackhole', 'sink.parallelism' = '2'"
    results = session(tmp_path, 3).execute(f"{SOURCE} {sink(options)} EXPLAIN INSERT INTO t SELECT k, v FROM s;")
    plan = "\n".join(
        str(v) for result in results for b, _ in result.batches() for r in b.to_pylist() for v in r.values()
    )
    assert "Exchange(tasks=2" in plan


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    put(tmp_path, 1, 1)
    for given, message, hint in (
        ("3", "option 'sink.parallelism' is 3, and the job has 2 tasks", "'parallelism.default' = '3'"),
        ("0", "'sink.parallelism'", ""),
        ("many", "'sink.parallelism'", ""),
    ):
        options = f"'connector' = 'blackhole', 'sink.parallelism' = '{given}'"
        with pytest.raises(OptionError, match=message) as e:
            ran(session(tmp_path, 2), f"{SOURCE} {sink(options)} INSERT INTO t SELECT k, v FROM s;")
        assert hint in (e.value.hint or "")
    # a batch job has one task that writes, whatever it says
    options = "'connector' = 'filesystem', 'path' = 'out', 'format' = 'json', 'sink.parallelism' = '3'"
    ran(session(tmp_path, 2, "batch"), f"{SOURCE} {sink(options)} INSERT INTO t SELECT k, v FROM s;")
    assert len([f for f in (tmp_path / "out").iterdir() if f.is_file()]) == 1
