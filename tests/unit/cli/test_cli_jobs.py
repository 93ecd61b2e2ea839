"""Jobs that run by themselves, and the commands that any terminal has for them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_driver import JOB, UNBOUNDED, Done, environment, on_terminal, sqlstream, start, stopped, until

from sqlstream.cli.of_jobs import size, span
from sqlstream.runtime.status import Status, read_status

OFTEN = ("-D", "execution.checkpointing.interval=200 ms")


class Place:
    """A directory with job.sql, and the user's state beside it; jobs that still run at the end are killed."""

    def __init__(self, path: Path) -> None:
        self.path, self.state = path / "work", path / "state"
        self.path.mkdir()
        self.pids: set[int] = set()
        (self.path / "job.sql").write_text(JOB)

    def __call__(self, *arguments: str, cwd: Path | None = None) -> Done:
        done = sqlstream(*arguments, cwd=cwd or self.path, XDG_STATE_HOME=str(self.state))
        self.pids |= {int(pid) for pid in re.findall(r"runs: process (\d+),", done.out)}
        return done

    def submit(self, *more: str) -> tuple[int, Path]:
        """The process and the directory of the job."""
        done = self("submit", "job.sql", *OFTEN, *more)
        assert done.status == 0, done.err
        found = re.fullmatch(r"job (\S+) runs: process (\d+), log (.*)/log/job\.log\n", done.out)
        assert found, done.out
        return int(found[2]), Path(found[3])

    def status(self, job: str = "job") -> Status:
        done = self("status", job, "--output", "json")
        value = json.loads(done.out)
        del value["running"], value["directory"]
        return Status.of(value)

    def until_checkpoint(self, directory: Path) -> None:
        until(lambda: (read_status(directory) or Status("", "")).checkpoint)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for pid in made.pids:
        if f"{made.path}" in _working_directory(pid):
            os.kill(pid, signal.SIGKILL)


def _working_directory(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""


def gone(pid: int) -> bool:
    """Whether a process that nobody waits for has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_three_terminals(place: Place, tmp_path: Path) -> None:
    """Submitted here, watched there, stopped elsewhere, and gone on with."""
    pid, directory = place.submit()
    assert directory == place.path / ".sqlstream" / "job"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place.until_checkpoint(directory)

    listed = place("jobs", cwd=elsewhere)
    head, line = listed.out.splitlines()
    assert head.split()[:3] == ["name", "state", "since"] and line.split()[:2] == ["job", "RUNNING"]
    assert line.endswith(str(directory))
    (found,) = (json.loads(v) for v in place("jobs", "--output", "json", cwd=elsewhere).out.splitlines())
    assert found["pid"] == pid and found["running"] and found["directory"] == str(directory)
    assert found["rows_in"] > 0 and found["rows_in_rate"] > 0

    shown = place("status", "job", cwd=elsewhere)
    assert shown.status == 0 and re.search(rf"^process +{pid} on ", shown.out, re.M)
    assert re.search(rf"^file +{place.path}/job\.sql$", shown.out, re.M)

    end = place("stop", "job", cwd=elsewhere)
    assert end.status == 0 and re.fullmatch(
        r"job job: CANCELED at checkpoint \d+, [\d,]+ rows in, [\d,]+ out\n", end.err
    )
    until(lambda: gone(pid))
    log = place("logs", "job", cwd=elsewhere).out
    assert "(CANCELED)\n" in log and "stopped at checkpoint" in log
    assert place("status", "job").status == 3
    before = place.status()
    assert before.state == "CANCELED"

    again, _ = place.submit()
    assert again != pid
    until(lambda: f"resumes from checkpoint {before.checkpoint} " in place("logs", "job").out)
    until(lambda: place.status().rows_in > before.rows_in)
    assert place("cancel", "job").status == 0
    until(lambda: gone(again))
    assert place("jobs", "--running", cwd=elsewhere).err == "no job runs\n"


def test_a_killed_job_is_lost_and_goes_on(place: Place, tmp_path: Path) -> None:
    pid, directory = place.submit()
    place.until_checkpoint(directory)
    # a copy of the directory of a running job is no running job, whatever stands in it
    shutil.copytree(directory, tmp_path / "copy" / "job", ignore=shutil.ignore_patterns("*.sock", "work", "runs"))
    copied = place("status", str(tmp_path / "copy" / "job"))
    assert copied.status == 3 and re.search(r"^state +LOST$", copied.out, re.M) and "this is a copy" in copied.out
    assert place("stop", str(tmp_path / "copy" / "job")).status == 1
    assert not gone(pid)
    # its socket deleted: there again a moment later
    (directory / "control.sock").unlink()
    until((directory / "control.sock").exists, 5)
    assert place.status().state == "RUNNING"

    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid))
    lost = place("status", "job")
    assert lost.status == 3 and f"process {pid} on " in lost.out and "it was killed" in lost.out
    assert "LOST" in place("jobs").out
    for command in ("stop", "cancel", "restart"):
        done = place(command, "job")
        assert done.status == 1 and "error: job job is not running (LOST)" in done.err
    again, _ = place.submit()
    assert place.status().pid == again
    assert place("stop", "job").status == 0


COUNTED = """
CREATE TABLE numbers (n INT) WITH ('connector' = 'datagen', 'rows-per-second' = '500', 'fields.n.kind' = 'sequence',
  'fields.n.start' = '1', 'fields.n.end' = '1000000');
CREATE TABLE kept (n INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
INSERT INTO kept SELECT n FROM numbers;
"""


def test_savepoints_from_another_terminal(place: Place) -> None:
    (place.path / "job.sql").write_text(COUNTED)
    pid, directory = place.submit()
    place.until_checkpoint(directory)
    taken = place("savepoint", "job", "saved")
    assert taken.status == 0, taken.err
    first = Path(taken.out.strip())
    assert first.parent == place.path / "saved" and (first / "_metadata").exists()
    assert not gone(pid)
    refused = place("savepoint", "job")
    assert refused.status == 1 and "where is the savepoint to be written?" in refused.err
    assert place("stop", "job", "--drain").status == 1 and not gone(pid)

    end = place("stop", "job", "--savepoint", "saved")
    assert end.status == 0, end.err
    second = Path(end.out.strip())
    assert second.parent == place.path / "saved" and second != first
    until(lambda: gone(pid))
    assert place.status().state == "FINISHED"  # as in Flink

    again = place("savepoint", "job", "saved")  # of the last checkpoint, since it does not run
    assert again.status == 0 and (Path(again.out.strip()) / "_metadata").exists(), again.err
    other = place("submit", "job.sql", "--name=other", *OFTEN, "-D", f"execution.state-recovery.path={second}")
    assert other.status == 0, other.err
    assert place("stop", "other").status == 0
    numbers = [
        json.loads(line)["n"] for f in (place.path / "out").glob("part-*") for line in f.read_text().splitlines()
    ]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_checkpoints_and_a_new_attempt(place: Place) -> None:
    (place.path / "job.sql").write_text(
        COUNTED.replace("kept SELECT n FROM numbers", "kept SELECT DISTINCT n FROM numbers")
    )
    pid, directory = place.submit("-D", "execution.checkpointing.interval=1 h")
    assert place("checkpoints", "job").out.splitlines()[1:] == []
    now = place("checkpoints", "job", "--now")
    assert now.status == 0, now.err
    assert now.err == "1 completed, 0 failed, 0 times gone on from one\n"
    head, line = now.out.splitlines()
    assert head.split()[:3] == ["id", "status", "triggered"] and line.split()[:2] == ["1", "COMPLETED"]
    (record,) = (json.loads(v) for v in place("checkpoints", "job", "--output", "json").out.splitlines())
    assert record["id"] == 1 and record["state_size"] > 0
    details = place("checkpoints", "job", "--id", "1").out
    assert re.search(r"^id +1$", details, re.M) and re.search(r" 0 +\d+ ms +\d+ ms ", details)
    assert "no record of checkpoint 7" in place("checkpoints", "job", "--id", "7").err
    assert place("checkpoints", "job", "-n", "x").status == 2

    until(lambda: place.status().rows_in > 100)
    again = place("restart", "job")
    assert again.status == 0 and again.err == "job job: attempt 2 runs from checkpoint 1\n", again.err
    status = place.status()
    assert (status.attempt, status.pid, status.failure) == (2, pid, None)
    assert "1 times gone on from one" in place("checkpoints", "job").err
    assert place("stop", "job").status == 0
    numbers = [
        json.loads(line)["n"] for f in (place.path / "out").glob("part-*") for line in f.read_text().splitlines()
    ]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_jobs_in_sql(place: Place) -> None:
    place.submit("--name=counts")
    shown = place("-c", "SHOW JOBS LIKE 'c%'", "--output", "json")
    (job,) = (json.loads(line) for line in shown.out.splitlines())
    assert (job["job name"], job["status"]) == ("counts", "RUNNING")
    described = place("-c", "DESCRIBE JOB 'counts'", "--output", "json")
    values = {v["name"]: v["value"] for v in map(json.loads, described.out.splitlines())}
    assert values["state"] == "RUNNING" and values["directory"] == job["directory"]
    assert place("-c", "SHOW JOBS LIKE 'x%'", "--output", "json").out == ""
    assert "no job 'count'" in place("-c", "DESCRIBE JOB 'count'").err
    assert place("stop", "counts").status == 0


def test_errors_come_to_the_terminal_that_submits(place: Place) -> None:
    for text, says in [
        ("SELEC 1;", "error: job.sql:1:1: SELEC begins no statement"),
        (UNBOUNDED + "INSERT INTO counted SELECT x, 1 FROM numbers;", "error: job.sql:"),
        (UNBOUNDED + "SELECT n FROM numbers LIMIT 1;", "nobody reads the rows of a query"),
        ("RESET 'pipeline.name'; SET 'pipeline.name' = ' ';" + JOB, "option 'pipeline.name' is empty"),
    ]:
        (place.path / "job.sql").write_text(text)
        done = place("submit", "job.sql")
        assert (done.status, done.out) == (1, "") and says in done.err, done.err
    assert place("submit", "nowhere.sql").status == 2
    assert place("submit", "job.sql", "-D", "pipeline.nam=x").status == 2
    done = place("submit", "-")
    assert done.status == 2 and "--name" in done.err
    assert place("jobs").err == "no jobs\n"


def test_one_that_runs_already_is_left_alone(place: Place) -> None:
    pid, _ = place.submit()
    done = place("submit", "job.sql")
    assert done.status == 1 and f"job job is running already: process {pid} on " in done.err
    assert "already" not in place("logs", "job").out
    assert place("stop", "job").status == 0


def test_what_is_said_of_a_drained_job(place: Place) -> None:
    """Nothing goes on from there."""
    (place.path / "job.sql").write_text(COUNTED)
    pid, directory = place.submit()
    place.until_checkpoint(directory)
    assert place("stop", "job", "--savepoint", "saved", "--drain").status == 0
    until(lambda: gone(pid))
    said = place("logs", "job").out
    assert "drained at checkpoint" in said and "resumes there" not in said
    assert "job job has finished: nothing to do" in place("submit", "job.sql").err + place("logs", "job").out


def test_a_job_that_ends_at_once(place: Place) -> None:
    (place.path / "job.sql").write_text(JOB.replace("'500'", "'50000', 'number-of-rows' = '100'"))
    done = place("submit", "job.sql")
    assert done.status == 0, done.err
    until(lambda: place.status().state == "FINISHED")
    assert place("status", "job").status == 0
    until(lambda: "rows into counted" in place("logs", "job").out)  # what it says last
    assert place("stop", "job").err == "error: job job is not running (FINISHED)\n"


@pytest.mark.parametrize(
    "name", ['it\'s "quoted"', "a\nb", "名前 ✓", "n" * 5000, "../up", "-f", "\x1b[31mred", "a b;rm -rf"]
)
def test_hostile_names(place: Place, name: str) -> None:
    pid, directory = place.submit(f"--name={name}")
    assert directory.parent == place.path / ".sqlstream" and len(directory.name) < 80
    listed = place("jobs").out
    assert len(listed.splitlines()) == 2 and listed.isprintable() is False and "\x1b" not in listed
    assert place("status", "--", name).status == 0
    assert place("stop", "--", name).status == 0
    until(lambda: gone(pid))


def test_jobs_that_are_not_there(place: Place) -> None:
    place.submit("--name=counts")
    for command in ("status", "stop", "cancel", "savepoint", "checkpoints", "restart", "logs"):
        done = place(command, "count")
        assert (done.status, done.err) == (1, "error: no job 'count'\nhint: did you mean counts?\n")
        assert place(command).status == 2
        assert "examples:" in place(command, "--help").out
    assert place("stop", "counts").status == 0


def test_one_name_in_two_places(place: Place) -> None:
    place.submit()
    other = place.path / "other"
    other.mkdir()
    (other / "job.sql").write_text(JOB)
    assert place("submit", "job.sql", cwd=other).status == 0
    done = place("stop", "job")
    assert done.status == 1 and "there are 2 jobs named 'job'" in done.err
    assert str(other / ".sqlstream/job") in done.err and str(place.path / ".sqlstream/job (here)") in done.err
    assert place("stop", "./other/.sqlstream/job").status == 0
    assert place("stop", "./.sqlstream/job").status == 0


def test_the_log_has_lines_and_is_rotated(place: Place) -> None:
    (place.path / "job.sql").write_text(JOB.replace("blackhole", "print"))
    more = ("log.format=json", "log.interval=100 ms", "log.max-size=3 kb", "log.max-files=2")
    _, directory = place.submit(*(a for m in more for a in ("-D", m)))
    files = directory / "log"
    until(lambda: (files / "job.log.2").exists() and (files / "job.out.2").exists())
    until(lambda: '"checkpoint": null' not in place("logs", "job", "-n", "1").out)
    lines = [json.loads(line) for line in place("logs", "job", "-n", "4").out.splitlines()]
    assert len(lines) == 4  # of three files, of which the newest may have none yet
    last = lines[-1]
    assert last["level"] == "status" and last["job"] == "job" and last["state"] == "RUNNING"
    assert last["rows_in"] > 0 and "rows in" in last["message"] and last["checkpoint"] >= 1
    assert re.search(r"^\+U\[\d, \d+\]$", (files / "job.out.1").read_text(), re.M)
    # somebody moves the log away: it is begun anew
    (files / "job.log").rename(files / "moved.log")
    until((files / "job.log").exists)
    assert place("stop", "job").status == 0
    assert len(list(files.glob("job.log*"))) <= 3
    assert all((files / name).stat().st_size <= 3 << 10 for name in ("job.log.1", "job.log.2"))


def test_no_row_of_print_reaches_the_terminal(place: Place) -> None:
    """Each is in job.out, the first ones too, which came before the job had its log; and a reader of a pipe is let go."""
    (place.path / "job.sql").write_text(
        "CREATE TABLE g (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000', 'fields.n.kind' = 'sequence',"
        " 'fields.n.start' = '1', 'fields.n.end' = '1000000');"
        "CREATE TABLE p (n BIGINT) WITH ('connector' = 'print');"
        "INSERT INTO p SELECT n FROM g;"
    )
    _, directory = place.submit()
    out = directory / "log" / "job.out"
    until(lambda: out.exists() and out.read_text().count("\n") >= 100)
    assert place("stop", "job").status == 0
    rows = out.read_text().splitlines()
    assert rows == [f"+I[{n}]" for n in range(1, len(rows) + 1)]


def test_submitting_without_standard_streams(place: Place) -> None:
    command = f"{sys.executable} -m sqlstream submit job.sql <&- >&- 2>&-"
    variables = environment(XDG_STATE_HOME=str(place.state))
    assert subprocess.run(command, shell=True, cwd=place.path, env=variables, timeout=60).returncode == 0
    assert place.status().state == "RUNNING"
    assert place("stop", "job").status == 0


def test_a_log_that_cannot_be_written_stops_nothing(place: Place) -> None:
    directory = place.path / ".sqlstream" / "job"
    directory.mkdir(parents=True)
    (directory / "log").write_text("a file")
    done = place("submit", "job.sql")
    assert done.status == 0 and f"warning: the job has no log: {directory}/log/job.log: " in done.err
    assert "job job runs: process" in done.out and place.status().state == "RUNNING"
    assert place("stop", "job").status == 0


def test_following_a_log_goes_on_across_rotations(place: Place) -> None:
    place.submit("-D", "log.interval=50 ms", "-D", "log.max-size=1 kb")
    process = start("logs", "job", "-f", "-n", "0", cwd=place.path, XDG_STATE_HOME=str(place.state))
    until(lambda: (place.path / ".sqlstream/job/log/job.log.5").exists())
    assert place("stop", "job").status == 0
    until(lambda: "stopped at checkpoint" in place("logs", "job").out)
    log = place.path / ".sqlstream/job/log"
    until(lambda: _offset(process.pid, log / "job.log") == (log / "job.log").stat().st_size)
    done = stopped(process)
    assert done.status == 130 and done.err == ""
    spans = [float(s) for s in re.findall(r"RUNNING  ([\d.]+) s", done.out)]
    assert spans == sorted(spans) and len(spans) > 30 and "stopped at checkpoint" in done.out


def _offset(pid: int, path: Path) -> int:
    """How far a process has read a file."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        if os.path.realpath(fd) == str(path):
            return int(Path(f"/proc/{pid}/fdinfo/{fd.name}").read_text().split()[1])
    return -1


def test_a_job_without_a_log_says_so(place: Place) -> None:
    process = start(
        "run", "job.sql", *OFTEN, "-D", "pipeline.name=job", cwd=place.path, XDG_STATE_HOME=str(place.state)
    )
    directory = place.path / ".sqlstream/job"
    place.until_checkpoint(directory)
    done = place("logs", "job")
    assert done.status == 1 and "job job has no log" in done.err and "sqlstream submit" in done.err
    assert place("stop", "job").status == 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and b"stopped at checkpoint" in err  # as it was asked to: no failure


def test_a_stopped_job_does_not_let_the_script_go_on(place: Place) -> None:
    slow = JOB.replace("'500'", "'500', 'number-of-rows' = '1000000'")
    (place.path / "job.sql").write_text(slow + "INSERT INTO counted SELECT n, 1 FROM numbers;")
    for how in ([], ["--savepoint", "saved"]):
        pid, _ = place.submit()
        assert place("stop", "job", *how).status == 0
        until(lambda pid=pid: gone(pid))
        assert len(place("jobs").out.splitlines()) == 2


def test_a_batch_job_is_stopped_too(place: Place) -> None:
    rows = "(SELECT a.x FROM (VALUES (1), (2)) AS a(x))"
    many = " CROSS JOIN ".join(f"{rows} AS t{i}" for i in range(34))
    (place.path / "job.sql").write_text(
        "SET 'execution.runtime-mode' = 'batch'; CREATE TABLE o (n BIGINT) WITH ('connector' = 'blackhole');"
        f"INSERT INTO o SELECT SUM(t0.x) FROM {many};"
    )
    done = place("submit", "job.sql")
    assert done.status == 0, done.err
    assert place.status().state == "RUNNING"
    end = place("stop", "job")
    assert end.status == 0 and "job job: CANCELED" in end.err, end.err


def test_ctrl_c_ends_the_waiting_and_not_the_job(place: Place) -> None:
    """A fault point holds the job in its last checkpoint."""
    done = sqlstream(
        "submit", "job.sql", "-D", "execution.checkpointing.interval=1 h", cwd=place.path,
        XDG_STATE_HOME=str(place.state), SQLSTREAM_FAULT="before-manifest:1:wait",
    )  # fmt: skip
    assert done.status == 0, done.err
    pid = place.status().pid
    place.pids.add(pid)
    waiter = start("stop", "job", cwd=place.path, XDG_STATE_HOME=str(place.state))
    until(lambda: _last_epoch(place))
    ended = stopped(waiter)
    assert ended.status == 130 and "no longer waiting; what was asked of the job goes on" in ended.err
    assert not gone(pid) and place.status().state == "CANCELLING"


def _last_epoch(place: Place) -> bool:
    """Whether the job has stopped reading."""
    before = place.status().rows_in
    return before > 0 and place.status().rows_in == before


def test_on_a_terminal(place: Place) -> None:
    place.submit()
    status, seen = on_terminal("jobs", cwd=place.path, XDG_STATE_HOME=str(place.state))
    assert status == 0 and "RUNNING" in seen
    status, seen = on_terminal("stop", "job", cwd=place.path, XDG_STATE_HOME=str(place.state))
    assert status == 0 and "CANCELED at checkpoint" in seen


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (59, "59 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d"), (-300, "-5 min")],
)  # fmt: skip
def test_times_for_people(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_sizes_for_people() -> None:
    assert [size(n) for n in (None, 0, 1023, 1536, 5 << 20, 3 << 30)] == [
        "", "0 bytes", "1023 bytes", "1.5 kB", "5.0 MB", "3.0 GB",
    ]  # fmt: skip


GROUPED = (
    COUNTED.replace("kept (n INT)", "kept (k INT, s BIGINT, PRIMARY KEY (k) NOT ENFORCED)")
    .replace("SELECT n FROM numbers", "SELECT n % 7, SUM(n) FROM numbers GROUP BY n % 7")
    .replace("'json')", "'debezium-json')")
)


def test_the_state_of_a_job(place: Place) -> None:
    (place.path / "job.sql").write_text(GROUPED)
    _, directory = place.submit()
    place.until_checkpoint(directory)

    def look(*more: str) -> list[dict[str, object]]:
        done = place("state", *more, "--output", "json")
        assert done.status == 0, done.err
        return [json.loads(line) for line in done.out.splitlines()]

    until(lambda: [v["rows"] for v in look("job")] == [7])  # while it runs
    assert place("stop", "job").status == 0
    (found,) = look("job")
    assert found["state"] == "groups" and found["rows"] == 7 and found["growth"] == 0
    assert all(isinstance(found[key], int) and found[key] > 0 for key in ("memory_bytes", "disk_bytes"))
    text = place("state", "job").out
    assert "GroupAggregate" in text and "groups" in text and " 7 " in text, text
    saved = place("savepoint", "job", "saved").out.strip()
    (there,) = look(saved)
    assert (there["rows"], there["growth"], there["columns"]) == (7, None, found["columns"])
    missing = place("state", "job", "--checkpoint", "99999")
    assert missing.status == 1 and "checkpoint 99999 of job job is not kept" in missing.err
    assert place("state", "nothing").status == 1


def test_a_job_is_not_named_by_nothing(place: Place) -> None:
    done = place("submit", "job.sql", "--name", "")
    assert done.status == 2 and "--name is empty" in done.err and "hint: give the job one with --name" in done.err
    assert not (place.path / ".sqlstream").exists()
