"""INSERT OVERWRITE and INSERT … PARTITION: what is replaced, what stays, and what a kill in the middle leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import kill
import pytest

from sqlstream import faults
from sqlstream.errors import BindError, DataError, NotSupported, RunError, SqlStreamError
from sqlstream.session import Session

PARTS = """
CREATE TABLE parts (a INT, dt DATE, k STRING) PARTITIONED BY (dt, k)
  WITH ('connector' = 'filesystem', 'path' = 'parts', 'format' = 'json');
"""
WHOLE = "CREATE TABLE whole (a INT) WITH ('connector' = 'filesystem', 'path' = 'whole', 'format' = 'json');"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = Session(working_directory=str(tmp_path))
    run(made, f"SET 'execution.runtime-mode' = 'batch'; {PARTS} {WHOLE}")
    return made


def run(session: Session, sql: str) -> None:
    for result in session.execute(sql):
        for _ in result.batches():
            pass


def rows(session: Session, sql: str) -> list[tuple[object, ...]]:
    out = [tuple(row.values()) for r in session.execute(sql) for batch, _ in r.batches() for row in batch.to_pylist()]
    return sorted(out, key=repr)


def parts(session: Session) -> list[tuple[object, ...]]:
    return rows(session, "SELECT a, CAST(dt AS STRING), k FROM parts")


FILLED = (
    "INSERT INTO parts VALUES (1, DATE '2026-01-01', 'x'), (2, DATE '2026-01-01', 'y'), (3, DATE '2026-01-02', 'x')"
)


def test_a_whole_table(session: Session) -> None:
    run(session, "INSERT INTO whole VALUES (1), (2); INSERT INTO whole VALUES (3)")
    run(session, "INSERT OVERWRITE whole SELECT a + 10 FROM whole WHERE a > 1")  # itself
    assert rows(session, "SELECT a FROM whole") == [(12,), (13,)]
    run(session, "INSERT OVERWRITE whole SELECT a FROM whole WHERE a > 100")
    assert rows(session, "SELECT a FROM whole") == []


def test_only_the_partitions_that_rows_come_for(session: Session) -> None:
    run(session, FILLED)
    run(session, "INSERT OVERWRITE parts VALUES (4, DATE '2026-01-01', 'y'), (5, DATE '2026-01-03', 'x')")
    assert parts(session) == [
        (1, "2026-01-01", "x"),
        (3, "2026-01-02", "x"),
        (4, "2026-01-01", "y"),
        (5, "2026-01-03", "x"),
    ]
    run(session, "INSERT OVERWRITE parts SELECT * FROM parts WHERE a > 100")  # none: no partition is named
    assert len(parts(session)) == 4


def test_a_partition_that_is_named(session: Session) -> None:
    run(session, FILLED)
    run(session, "INSERT INTO parts PARTITION (k = 'z', dt = '2026-01-01') SELECT 6")
    run(session, "INSERT OVERWRITE parts PARTITION (dt = DATE '2026-01-01') (k, a) SELECT 'x', 7")
    assert parts(session) == [
        (2, "2026-01-01", "y"),
        (3, "2026-01-02", "x"),
        (6, "2026-01-01", "z"),
        (7, "2026-01-01", "x"),
    ]
    # one that is named whole is replaced by nothing, too
    run(session, "INSERT OVERWRITE parts PARTITION (dt = '2026-01-02', k = 'x') SELECT a FROM parts WHERE a > 100")
    assert parts(session) == [(2, "2026-01-01", "y"), (6, "2026-01-01", "z"), (7, "2026-01-01", "x")]


def test_what_is_not_the_tables_stays(session: Session, tmp_path: Path) -> None:
    run(session, FILLED)
    run(session, "INSERT INTO whole VALUES (1)")
    whole = tmp_path / "whole"
    keep = [whole / "_SUCCESS", whole / ".hidden", whole / "_staging/other/part-1.json", tmp_path / "other.json"]
    for path in keep:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"a": 99}\n')
    (whole / "below").mkdir()
    (whole / "below/mine.json").write_text('{"a": 5}\n')  # a reader takes it for the table's
    run(session, "INSERT OVERWRITE whole SELECT 2")
    assert rows(session, "SELECT a FROM whole") == [(2,)]
    assert [p.read_text() for p in keep] == ['{"a": 99}\n'] * len(keep)
    assert len(parts(session)) == 3
    (whole / "link.json").symlink_to(tmp_path / "other.json")
    with pytest.raises(RunError, match=r"link\.json is a symbolic link"):
        run(session, "INSERT OVERWRITE whole SELECT 3")
    (whole / "link.json").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.json").write_text('{"a": 1}\n')
    (whole / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="linked is a symbolic link"):
        run(session, "INSERT OVERWRITE whole SELECT 3")
    os.unlink(whole / "linked")
    assert rows(session, "SELECT a FROM whole") == [(2,)] and (tmp_path / "elsewhere/x.json").exists()


def test_a_failure_leaves_the_table_as_it_was(session: Session) -> None:
    run(session, FILLED)
    before = parts(session)
    with pytest.raises(DataError):
        run(session, "INSERT OVERWRITE parts SELECT CAST(k AS INT), dt, k FROM parts")
    assert parts(session) == before


@pytest.mark.parametrize("sql", ["INSERT OVERWRITE parts", "INSERT INTO parts"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_what_cannot_be_published_whole_is_taken_back(session: Session, tmp_path: Path, sql: str, n: int) -> None:
    """Of a query that is not durable nobody would do the rest; and run again, it would repeat what is there."""
    run(session, FILLED)
    before = parts(session)
    success = PARTS.replace("'json')", "'json', 'sink.partition-commit.policy.kind' = 'success-file')")
    run(session, f"DROP TABLE parts; {success}")
    values = ", ".join(f"({a}, DATE '2026-01-0{a}', 'x')" for a in (1, 2, 4))
    faults.arm(f"mid-publish:{n}:raise")
    try:
        with pytest.raises(RunError, match="mid-publish"):
            run(session, f"{sql} VALUES {values}")
    finally:
        faults.arm(None)
    assert parts(session) == before
    shutil.rmtree(tmp_path / "parts/dt=2026-01-04", ignore_errors=True)
    (tmp_path / "parts/dt=2026-01-04").write_text("")  # in the way
    with pytest.raises(RunError, match="cannot publish"):
        run(session, f"{sql} VALUES {values}")
    (tmp_path / "parts/dt=2026-01-04").unlink()
    assert parts(session) == before
    assert not [p for p in (tmp_path / "parts/_staging").rglob("*") if p.is_file()]
    assert not list((tmp_path / "parts").rglob("_SUCCESS"))


@pytest.mark.parametrize(
    ("sql", "error", "text"),
    [
        ("INSERT INTO parts PARTITION (a = 1) SELECT 1, 'x'", BindError, "'a' is no partition column"),
        ("INSERT INTO whole PARTITION (a = 1) SELECT 1", BindError, "it has none"),
        ("INSERT INTO parts PARTITION (k = UPPER('x')) SELECT 1, DATE '2026-01-01'", BindError, "no constant"),
        ("INSERT INTO parts PARTITION (k = 'x') (a, k) SELECT 1, 'y'", BindError, "has a value by PARTITION"),
        ("INSERT INTO parts PARTITION (k = 'x') SELECT 1, DATE '2026-01-01', 'y'", BindError, "gives 3 columns, 2"),
        ("INSERT OVERWRITE parts PARTITION (dt = 'no date', k = 'x') SELECT 1", SqlStreamError, "no date"),
        (
            "EXECUTE STATEMENT SET BEGIN INSERT OVERWRITE whole SELECT 1; INSERT INTO whole SELECT 2; END",
            BindError,
            "written by two",
        ),
        ("SET 'execution.runtime-mode' = 'streaming'; INSERT OVERWRITE whole SELECT 1", NotSupported, "a stream adds"),
    ],
)
def test_refused(session: Session, sql: str, error: type[SqlStreamError], text: str) -> None:
    with pytest.raises(error, match=text):
        run(session, sql)


def test_it_is_batch_by_itself(session: Session) -> None:
    run(
        session,
        "SET 'execution.runtime-mode' = 'automatic'; INSERT OVERWRITE whole SELECT 1; INSERT OVERWRITE whole SELECT 2",
    )
    assert rows(session, "SELECT a FROM whole") == [(2,)]


JOB = f"""
SET 'execution.runtime-mode' = 'batch';
CREATE TABLE given (a INT, dt DATE, k STRING) WITH ('connector' = 'filesystem', 'path' = 'given', 'format' = 'json');
{PARTS.replace("'json')", "'json', 'sink.partition-commit.policy.kind' = 'success-file')")}
INSERT OVERWRITE parts SELECT * FROM given;
"""


@pytest.mark.share(4)
@pytest.mark.parametrize("point", ["after-prepare", "before-manifest", "after-manifest", "mid-publish:1", "mid-publish:2",
                                   "mid-publish:3", "mid-publish:4", "mid-publish:5", "before-finished"])  # fmt: skip
@pytest.mark.parametrize("durable", [True, False])
def test_killed_in_the_middle(tmp_path: Path, point: str, durable: bool) -> None:
    """Run again, it heals: the new rows alone, and what others put there meanwhile."""
    if not durable and point in ("before-manifest", "after-manifest", "before-finished"):
        pytest.skip("only a durable job passes it")
    (tmp_path / "given").mkdir()
    given = [{"a": i, "dt": f"2026-01-0{1 + i % 2}", "k": "x"} for i in range(10)]
    (tmp_path / "given/0.json").write_text("".join(json.dumps(r) + "\n" for r in given))
    for dt in ("2026-01-01", "2026-01-02", "2026-01-03"):
        (tmp_path / f"parts/dt={dt}/k=x").mkdir(parents=True)
        for n in range(2):
            (tmp_path / f"parts/dt={dt}/k=x/old-{n}.json").write_text('{"a": -1}\n')
    (tmp_path / "job.sql").write_text(JOB)
    arguments = ["run", "job.sql", *(["-D", "pipeline.name=over"] if durable else [])]
    status, said = kill.run(tmp_path, arguments, point)
    assert status == -signal.SIGKILL, said
    there = {p.name for p in (tmp_path / "parts/dt=2026-01-01").rglob("*.json")}
    assert there & {"old-0.json", "old-1.json"} or any(n.startswith("part-") for n in there)  # never neither
    status, said = kill.run(tmp_path, arguments)
    assert status == 0, said
    found = {
        dt: sorted(
            json.loads(line)["a"]
            for p in (tmp_path / f"parts/dt={dt}/k=x").glob("*.json")
            for line in p.read_text().splitlines()
        )
        for dt in ("2026-01-01", "2026-01-02", "2026-01-03")
    }
    assert found == {"2026-01-01": [0, 2, 4, 6, 8], "2026-01-02": [1, 3, 5, 7, 9], "2026-01-03": [-1, -1]}
    assert len(list((tmp_path / "parts").rglob("_SUCCESS"))) == 2
