"""Users' mistakes and bad surroundings, by the command line: what it says, that it exits with 1, and what it leaves.

Never a Python traceback (`kill.Run.wait` looks), and always a state from which the corrected command goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import time
from pathlib import Path

import kill
import pytest
from harness.small_disk import small_disk

INPUT = """
CREATE TABLE t (id INT, name STRING, at TIMESTAMP(3), WATERMARK FOR at AS at)
  WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json');
CREATE TABLE growing WITH ('source.monitor-interval' = '20 ms') LIKE t;
CREATE TABLE o (id INT NOT NULL, name STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
CREATE TABLE changes (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'debezium-json');
"""
INSERT = "INSERT INTO o SELECT id, name FROM t;"
NAMED = ("-D", "pipeline.name=job")
FOLDER = "CREATE TABLE x (id INT, name STRING) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write(tmp_path, [(i, f"n{i}") for i in range(1, 4)])
    return tmp_path


def write(place: Path, rows: list[tuple[int, str]]) -> None:
    at = "2024-01-01 00:00:0"
    lines = [json.dumps({"id": i, "name": name, "at": f"{at}{n % 10}.000"}) for n, (i, name) in enumerate(rows)]
    (place / "in.json").write_text("".join(line + "\n" for line in lines))


def run(place: Path, sql: str, *arguments: str, fault: str | None = None) -> tuple[int, str]:
    """Exit status, and what it wrote (both streams)."""
    (place / "q.sql").write_text(INPUT.strip() + "\n" + sql)
    return kill.run(place, ["run", "q.sql", *arguments], fault)


def rows(place: Path) -> list[int]:
    return sorted(json.loads(line)["id"] for line in kill.lines(place / "out"))


def unnumbered(said: str) -> str:
    """Lines count from 1 behind INPUT."""
    first = INPUT.strip().count("\n") + 1
    return re.sub(r"q\.sql:(\d+):", lambda m: f"q.sql:{int(m[1]) - first}:", said)


# ---- SQL

MISTAKES = {
    "syntax": (
        "SELECT id,\n  name name2 FROM t WHERE;",
        "error: q.sql:2:26: expected an expression, found the end of the statement\n    name name2 FROM t WHERE;\n                           ^",
    ),
    "table": ("SELECT id FROM tt;", "error: q.sql:1:16: there is no table or view 'tt'\n  SELECT id FROM tt;\n"
              "                 ^\nhint: did you mean t?"),
    "column": ("SELECT nam FROM t;", "q.sql:1:8: there is no column 'nam'\n  SELECT nam FROM t;\n         ^\n"
               "hint: did you mean name?"),
    "function": ("SELECT UPER(name) FROM t;", "q.sql:1:8: there is no function 'UPER'\n  SELECT UPER(name) FROM t;\n"
                 "         ^\nhint: did you mean UPPER or POWER?"),
    "table option": ("CREATE TABLE x (a INT) WITH ('connector' = 'filesystem', 'pth' = 'a', 'format' = 'json');",
                     "table x: unknown option 'pth'*hint: did you mean path?"),
    "option": ("SET 'paralelism.default' = '2';", "unknown option 'paralelism.default'*hint: did you mean parallelism.default?"),
    "option value": ("SET 'parallelism.default' = 'two';", "option 'parallelism.default': expected a whole number, not 'two'"),
    "connector": ("CREATE TABLE x (a INT) WITH ('connector' = 'filesytem');",
                  "unknown connector 'filesytem'*hint: did you mean filesystem?"),
    "format": ("CREATE TABLE x (a INT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'jsn');",
               "unknown format 'jsn'*hint: did you mean json?"),
    "insert of another type": (
        "INSERT INTO o SELECT name, id FROM t;",
        "table o: column 'id' is INT, the query gives STRING\n  query: name STRING, id INT\n  table: id INT, name STRING"
        "*hint: CAST(name AS INT)",
    ),
    "insert of too few": ("INSERT INTO o SELECT id FROM t;", "table o: the query gives 1 columns, 2 are needed"),
    "expression": ("SELECT name + 1 FROM t;", "q.sql:1:8: '+' does not take STRING and INT*hint: CAST to a number"),
    "not as a stream": (
        "SELECT * FROM growing ORDER BY name;",
        "ORDER BY without LIMIT needs the whole input: it cannot run as a stream*hint: add LIMIT n",
    ),
    "changes into an append-only format": (
        "INSERT INTO o SELECT CAST(COUNT(*) AS INT), name FROM t GROUP BY name;",
        "table o takes inserts only, and this query's rows can change: GROUP BY*'format' = 'debezium-json'",
    ),
    "the best row into an append-only format": (
        "INSERT INTO o SELECT id, name FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY name ORDER BY id) AS rn FROM t) "
        "WHERE rn = 1;",
        "table o takes inserts only, and this query's rows can change: top-N*'format' = 'debezium-json'*take the best of each "
        "window, over TABLE(TUMBLE(…)): PARTITION BY window_start, window_end, name",
    ),
    "the best rows of a window into an append-only format": (
        "INSERT INTO o SELECT id, name FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_end, name "
        "ORDER BY id) AS rn FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(at), INTERVAL '1' MINUTE))) WHERE rn <= 3;",
        "table o takes inserts only, and this query's rows can change: top-N*'format' = 'debezium-json'*take what a "
        "window gives once, when it ends: PARTITION BY window_start, window_end, name",
    ),
    "behind an unbounded insert": (
        "INSERT INTO o SELECT id, name FROM growing;\nSELECT 1;",
        "q.sql:2:1: the statement before this one reads unbounded input and never ends\n  SELECT 1;\n  ^\n"
        "hint: run both as one job: EXECUTE STATEMENT SET BEGIN",
    ),
    "a column twice": ("CREATE TABLE x (a INT, a INT) WITH ('connector' = 'blackhole');", "the column a is there twice"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(place: Path, name: str) -> None:
    """The place with a caret, what is wrong, a hint. Nothing was run: there is neither a job nor output."""
    sql, message = MISTAKES[name]
    status, said = run(place, sql, *NAMED)
    said = unnumbered(said)
    assert status == 1
    at = 0
    for part in message.split("*"):
        assert part in said[at:], said
        at = said.index(part, at) + len(part)
    assert not (place / ".sqlstream").exists() and not (place / "out").exists()


# ---- values

VALUES = {
    "overflow": ("SELECT id + 2147483646 AS big, name FROM t", "column 'big' = id + 2147483646: overflow: 2 + 2147483646 is out of range for INT"),
    "overflow of BIGINT": ("SELECT CAST(CAST(id AS BIGINT) * 9223372036854775807 AS INT), name FROM t",
                           "* 9223372036854775807 AS INT): overflow: 2 * 9223372036854775807 is out of range for BIGINT"),
    "division by zero": ("SELECT id / (id - 2) AS q, name FROM t", "column 'q' = id / (id - 2): division by zero"),
    "cast": ("SELECT CAST(name AS INT), name FROM t", "CAST(name AS INT): \"n1\" is no INT"),
    "decimal": (
        "SELECT CAST(CAST(99999999999999999999999999999999999.99 AS DECIMAL(38, 2)) * CAST(id * 1000 AS DECIMAL(38, 0)) "
        "AS INT), name FROM t",
        "DECIMAL(38*overflow: 9999999999999999999999999999999999999 * 1000 is out of range for DECIMAL with 38 digits",
    ),
    "condition": ("SELECT id, name FROM t WHERE id / (id - 2) > 0 OR CHAR_LENGTH(name) > 3", "division by zero"),
    "NULL in NOT NULL": ("SELECT NULLIF(id, 2), name FROM t", "table o: NULL for column 'id', which is NOT NULL*hint: filter"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values(place: Path, name: str) -> None:
    """The job fails, shows nothing, and the mended statement runs under a name of its own or with --fresh."""
    query, message = VALUES[name]
    with_name = query.replace(" AS big", " AS id").replace(" AS q", " AS id")
    status, said = run(place, f"INSERT INTO o {with_name};", *NAMED)
    assert status == 1, said
    at = 0
    for part in message.replace("'big'", "'id'").replace("'q'", "'id'").split("*"):
        assert part.strip() in said[at:], said
        at = said.index(part.strip(), at)
    assert rows(place) == []
    state = json.loads((place / ".sqlstream/job/job.json").read_text())
    assert state["state"] == "FAILED" and state["message"] in said
    status, said = run(place, INSERT, *NAMED, "--fresh")
    assert (status, rows(place)) == (0, [1, 2, 3]), said


def test_sum_overflows(place: Path) -> None:
    status, said = run(place, "INSERT INTO changes SELECT SUM(CAST(9223372036854775807 AS BIGINT)) FROM t;")
    assert status == 1 and "SUM(CAST(9223372036854775807 AS BIGINT)) overflows BIGINT" in said
    assert "hint: CAST the argument to DECIMAL(38, 0) or DOUBLE" in said, said


def test_huge_values(place: Path) -> None:
    text = "é" * 2**19 + '"\\\n'
    write(place, [(2**31 - 1, text), (-(2**31), "")])
    status, said = run(place, INSERT, *NAMED, "-D", "execution.runtime-mode=streaming")
    assert status == 0, said
    (first, second) = [json.loads(line) for line in kill.lines(place / "out")]
    assert (first["id"], first["name"], second["id"]) == (2**31 - 1, text, -(2**31))


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_hostile_names(place: Path, mode: str) -> None:
    names = [
        "select",
        '"',
        "'",
        "`",
        "é",
        "A",
        "a",
        "a b",
        "x\ny",
        "_op",
        "c0",
        "$x",
        "%s",
        "{}",
        ";--",
        "op",
        "\U0001f600",
    ]
    columns = ["`" + n.replace("`", "``") + "`" for n in names]
    table = "`select``\nfrom`"
    declared = ", ".join(f"{c} INT" for c in columns)
    for t, path in ((table, "names"), ("back", "back")):
        sql = f"CREATE TABLE {t} ({declared}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');"
        (place / f"{path}.sql").write_text(sql)
    values = ", ".join(str(i) for i in range(len(names)))
    both = (place / "names.sql").read_text() + (place / "back.sql").read_text()
    mode_is = f"SET 'execution.runtime-mode' = '{mode}';\n"
    status, said = run(place, f"{mode_is}{both}\nINSERT INTO {table} SELECT {values};")
    assert status == 0, said
    status, said = run(place, f"{mode_is}{both}\nINSERT INTO back SELECT {', '.join(columns)} FROM {table};")
    assert status == 0, said
    (line,) = kill.lines(place / "back")
    assert json.loads(line) == {n: i for i, n in enumerate(names)}


# ---- files


@pytest.mark.parametrize(
    "line", ['{"id": 4, "name": }', '{"id": 4', '{"id": "x"}', '{"id": 4000000000}', "[4]", "\x00", ""]
)
def test_malformed_line(place: Path, line: str) -> None:
    """File, line, text. Skipped and counted when that is asked for."""
    with open(place / "in.json", "a") as f:
        f.write(line + "\n" + '{"id": 5, "name": "n5"}\n')
    status, said = run(place, INSERT, *NAMED)
    if not line:  # an empty line is none
        assert (status, rows(place)) == (0, [1, 2, 3, 5])
        return
    assert status == 1 and f"{place}/in.json, line 4: malformed record: " in said, said
    if "\x00" not in line:
        assert line in said
    assert "hint: 'json.ignore-parse-errors' = 'true' skips such records" in said
    assert rows(place) == []
    skipping = "CREATE TABLE skipping WITH ('json.ignore-parse-errors' = 'true') LIKE t;\n"
    status, said = run(place, skipping + "INSERT INTO o SELECT id, name FROM skipping;")
    assert (status, rows(place)) == (0, [1, 2, 3, 5]), said
    assert "skipped as malformed: 1 record" in said


def test_mended_line(place: Path) -> None:
    """The job of the malformed line goes on with the mended file."""
    good = (place / "in.json").read_text()
    (place / "in.json").write_text(good + "{\n")
    assert run(place, INSERT, *NAMED)[0] == 1
    (place / "in.json").write_text(good + '{"id": 4, "name": "n4"}\n')
    assert run(place, INSERT, *NAMED)[0] == 0
    assert rows(place) == [1, 2, 3, 4]


def test_control_characters_of_records_are_escaped(place: Path) -> None:
    (place / "in.json").write_text('{"id": \x1b[2J\u202e}\n')
    status, said = run(place, INSERT)
    assert status == 1 and '{"id": \\x1b[2J\\u202e}' in said


def test_missing_file(place: Path) -> None:
    (place / "in.json").unlink()
    status, said = run(place, INSERT, *NAMED)
    assert status == 1 and f"path '{place}/in.json' does not exist" in said and "hint: relative paths start" in said
    write(place, [(1, "a")])
    assert run(place, INSERT, *NAMED)[0] == 0
    assert rows(place) == [1]


def test_file_that_goes_while_the_job_is_down(place: Path) -> None:
    write(place, [(i, "x" * 50) for i in range(2000)])
    slow = (*NAMED, "-D", "execution.epoch.max-rows=20", "-D", "execution.checkpointing.interval=1 ms")
    assert run(place, INSERT, *slow, fault="after-publish:1")[0] == -signal.SIGKILL
    os.rename(place / "in.json", place / "away")
    status, said = run(place, INSERT, *slow)
    assert status == 1 and f"path '{place}/in.json' does not exist" in said, said
    os.rename(place / "away", place / "in.json")
    assert run(place, INSERT, *slow)[0] == 0
    assert rows(place) == list(range(2000))


@pytest.mark.parametrize("path", ["in.json/out", "in.json", "/proc/out", "/dev/null/out"])
def test_sink_that_cannot_be_written(place: Path, path: str) -> None:
    once = ("-D", "restart-strategy.type=none") if path == "/proc/out" else ()  # what is not there might come
    status, said = run(place, FOLDER.format(path) + "INSERT INTO x SELECT id, name FROM t;", *NAMED, *once)
    full = path if path.startswith("/") else f"{place}/{path}"
    assert status == 1 and re.search(rf"{full}\S*: cannot \w+: (Not a directory|No such file or directory)", said), said


@pytest.mark.parametrize("path", ["in.json/chk", "/proc/chk", "/dev/null/chk"])
def test_checkpoints_that_cannot_be_written(place: Path, path: str) -> None:
    status, said = run(place, INSERT, "-D", f"execution.checkpointing.dir={path}")
    full = path if path.startswith("/") else f"{place}/{path}"
    assert status == 1 and f"the job's directory cannot be made: {full}/job-" in said, said
    assert "hint: choose another with 'execution.checkpointing.dir'" in said
    assert rows(place) == []


def test_checkpoints_of_an_unknown_protocol(place: Path) -> None:
    status, said = run(place, INSERT, "-D", "execution.checkpointing.dir=foo://chk")
    assert status == 1 and "cannot use foo://chk/job-" in said and "Protocol not known: foo" in said


# ---- a full disk


@pytest.mark.parametrize("full", ["sink", "checkpoints"])
def test_full_disk(place: Path, full: str) -> None:
    """An error with the path; when there is space again the job goes on, without loss and without repetition."""
    n = 6000
    write(place, [(i, hashlib.sha256(str(i).encode()).hexdigest()) for i in range(n)])
    disk = place / "disk"
    path, chk = ("disk/out", "chk") if full == "sink" else ("out", "disk/chk")
    sql = FOLDER.format(path) + "INSERT INTO x SELECT MAX(id), name FROM t GROUP BY name;"
    sql = sql.replace("'json'", "'debezium-json'")
    arguments = ("-D", f"execution.checkpointing.dir={chk}", "-D", "execution.epoch.max-rows=250")
    arguments += ("-D", "execution.checkpointing.interval=1 ms", "-D", "restart-strategy.type=none")
    with small_disk(disk, "2m"):
        filler = disk / "filler"
        # Some kilobytes of output may come out; not even the first checkpoint may.
        filler.write_bytes(b"x" * (2**21 - (120_000 if full == "sink" else 12_000)))
        status, said = run(place, sql, *arguments)
        assert status == 1, said
        assert f"{disk}/" in said and "No space left on device" in said and "hint: free space on " in said, said
        before = {p: p.read_bytes() for p in kill.published(place / path)}
        status, said = run(place, sql, *arguments, "-D", "parallelism.default=2")  # still full
        assert status == 1 and "No space left on device" in said, said
        filler.unlink()
        status, said = run(place, sql, *arguments)
        assert status == 0, said
        assert {p: p.read_bytes() for p in before} == before
        got = kill.fold(kill.lines(place / path))
        assert sorted(json.loads(r)["id"] for r in got.elements()) == list(range(n))


# ---- jobs


def test_two_processes_on_one_job(place: Path) -> None:
    sql = "INSERT INTO o SELECT id, name FROM growing;"
    (place / "q.sql").write_text(INPUT.strip() + "\n" + sql)
    first = kill.start(place, ["run", "q.sql", *NAMED, "-D", "execution.checkpointing.interval=20 ms"])
    end = time.monotonic() + 20
    while rows(place) != [1, 2, 3]:
        assert first.process.exitcode is None and time.monotonic() < end, first.text()
        time.sleep(0.02)
    for more in ((), ("--fresh",)):
        status, said = kill.run(place, ["run", "q.sql", *NAMED, *more])
        assert status == 1 and f"job job is running already: process {first.process.pid} on " in said, said
        assert "hint: stop it first" in said
    assert first.process.exitcode is None
    assert list((place / ".sqlstream/job/runs").iterdir()).__len__() == 1
    first.signal(signal.SIGINT)
    assert first.wait() == 130
    assert rows(place) == [1, 2, 3]


def test_finished_changed_and_fresh(place: Path) -> None:
    assert run(place, INSERT, *NAMED)[0] == 0
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in kill.published(place / "out")}
    status, said = run(place, INSERT, *NAMED)
    assert status == 0 and "job job has finished: nothing to do (--fresh runs it anew)" in said
    status, said = run(place, "INSERT INTO o SELECT id + 1, name FROM t;", *NAMED)
    assert status == 1 and "the plan of job job is not that of its checkpoint 1" in said
    assert "refused  the output to table o" in said and "run it as it was, give the changed job another" in said, said
    assert kill.published(place / "out") == list(before)
    status, said = run(place, INSERT, *NAMED, "--fresh")
    assert status == 0, said
    assert {
        p: (p.read_bytes(), p.stat().st_mtime_ns) for p in before
    } == before  # published files are nobody's to touch
    assert rows(place) == [1, 1, 2, 2, 3, 3]
    (runs,) = (place / ".sqlstream/job/runs").iterdir()  # the old run's checkpoints went with the new one's first
    assert json.loads((place / ".sqlstream/job/job.json").read_text())["run"] == runs.name


def test_fresh_removes_what_the_run_before_had_staged(place: Path) -> None:
    assert run(place, INSERT, *NAMED, fault="before-manifest")[0] == -signal.SIGKILL
    assert list(place.glob("out/_staging/*/part-*"))
    assert run(place, INSERT, *NAMED, "--fresh")[0] == 0
    assert not list(place.glob("out/_staging/*/part-*"))
    assert rows(place) == [1, 2, 3]


def test_state_of_the_job_cannot_be_read(place: Path) -> None:
    assert run(place, INSERT, *NAMED)[0] == 0
    (place / ".sqlstream/job/job.json").write_text('{"job": ')
    status, said = run(place, INSERT, *NAMED)
    assert status == 1 and f"the job's state cannot be read: {place}/.sqlstream/job/job.json" in said.replace("./", "")
    assert "hint: run with --fresh" in said
    assert run(place, INSERT, *NAMED, "--fresh")[0] == 0


@pytest.mark.parametrize("name", ["a/b", "../../x", "..", ".", "é", "x\ny", "x" * 300, "-D", "%s{}'\"`"])
def test_names_of_jobs(tmp_path: Path, name: str) -> None:
    """Every name gives a directory below .sqlstream, nothing lies elsewhere, and the job is found again."""
    place = tmp_path / "deep" / "er"
    place.mkdir(parents=True)
    write(place, [(1, "a")])
    for expected in ("1 rows into o", "has finished"):
        status, said = run(place, INSERT, "-D", f"pipeline.name={name}")
        assert status == 0 and expected in said, said
    (state,) = place.glob(".sqlstream/*/job.json")
    found = {p.name for p in place.iterdir() if not p.name.startswith("log-")}
    assert found == {"in.json", "q.sql", "out", ".sqlstream"}
    assert [p.name for p in tmp_path.iterdir()] == ["deep"] and [p.name for p in place.parent.iterdir()] == ["er"]
    assert rows(place) == [1]


def test_empty_name(place: Path) -> None:
    status, said = run(place, INSERT, "-D", "pipeline.name= ")
    assert status == 1 and "option 'pipeline.name' is empty" in said


# ---- secrets


def test_secrets(place: Path) -> None:
    """Never in SHOW CREATE, errors, what is logged, manifests or job.json."""
    secret = "hunter2"
    url = f"ftp://me:{secret}@localhost:1/x"
    table = f"CREATE TABLE s (a INT) WITH ('connector' = 'filesystem', 'path' = '{url}', 'format' = 'json');\n"
    statements = [
        table + "SHOW CREATE TABLE s;",
        table + "SELECT * FROM s;",
        table + "INSERT INTO s SELECT id FROM t;",
        table + "DESCRIBE s;",
        f"CREATE TABLE s (a INT) WITH ('connector' = 'filesystem', 'ftp.password' = '{secret}');",
        f"CREATE TABLE s (a INT) WITH ('connector' = 'filesystem', 'x.api_key' = 'it''s {secret}', 'path' = '{url}') oops;",
        f"SET 's3.secret-key' = '{secret}';",
        f"SET 'pipeline.name' = 'b'; SET 'execution.checkpointing.dir' = '{url}'; SET; {INSERT}",
    ]
    for i, sql in enumerate(statements):
        status, said = run(place, sql, *NAMED, "--verbose")
        assert secret not in said, said
        assert status == (0 if i in (0, 3, 6) else 1), said
    for path in place.rglob("*"):
        if path.is_file() and path.name != "q.sql":
            assert secret.encode() not in path.read_bytes(), path
