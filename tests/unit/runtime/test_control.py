"""What a running job tells and is told by other processes; whatever they send, it goes on."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sqlstream.checkpoint.lock import JobLock, holder
from sqlstream.clock import SystemClock
from sqlstream.errors import OptionError, RunError
from sqlstream.runtime import client, control, control_socket, jobs
from sqlstream.runtime.client import ask, current, currents, until_ended
from sqlstream.runtime.control import CLIENTS, LONGEST, Control
from sqlstream.runtime.jobs import LOST, JobPlace, find_job, look
from sqlstream.runtime.observer import Observer, Origin
from sqlstream.runtime.progress import Progress
from sqlstream.runtime.registry import entries, home
from sqlstream.runtime.status import FILE, Status, read_status


class Job:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.progress = Progress("RUNNING", 10, 5, checkpoint=3)
        self.told: list[str] = []

        self.savepoints: list[Future[object]] = []

    def stop(self, savepoint: str | None = None, drain: bool = False) -> Future[object] | None:
        self.told.append("stop" if savepoint is None else f"stop {savepoint} {drain}")
        return None if savepoint is None else self.savepoint(savepoint)

    def savepoint(self, directory: str | None = None) -> Future[object]:
        if directory == "/full":
            raise OptionError("no room", hint="another place")
        self.savepoints.append(Future())
        return self.savepoints[-1]

    def checkpoint(self) -> Future[int]:
        return Future()

    def cancel(self) -> None:
        self.told.append("cancel")

    def restart(self) -> None:
        self.told.append("restart")


class Running:
    """A job under control in this process, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.place = JobPlace(directory.name, directory)
        self.job = Job()
        self.said: list[str] = []
        self.lock = JobLock(directory, directory.name).acquire()
        origin = Origin(directory.name, self.lock.owner, "/sql/job.sql")
        self.control = Control(self.lock, self.job, origin, SystemClock(), self.said.append)
        self.control.__enter__()
        (directory / "job.json").write_text(json.dumps({"job": directory.name, "run": "0" * 8, "state": "RUNNING"}))

    def end(self, state: str = "FINISHED", error: BaseException | None = None) -> None:
        self.job.progress.state = state
        record = {"job": self.place.name, "run": "0" * 8, "state": state}
        (self.place.directory / "job.json").write_text(json.dumps(record))
        self.control.__exit__(type(error) if error else None, error, None)
        self.lock.release()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".sqlstream" / "counts").mkdir(parents=True)
    return tmp_path / ".sqlstream" / "counts"


@pytest.fixture
def running(directory: Path) -> Iterator[Running]:
    made = Running(directory)
    yield made
    if made.lock.owner and holder(directory) is not None:
        made.end()


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def send(path: Path, data: bytes) -> bytes:
    """What comes back until the other side closes, or has answered with a line."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as s:
        s.settimeout(10)
        s.connect(str(path))
        s.sendall(data)
        received = b""
        while b"\n" not in received:
            got = s.recv(65536)
            if not got:
                break
            received += got
        return received


def test_asked_and_told(running: Running) -> None:
    view = current(running.place)
    assert view.running and view.holder is not None and view.holder.pid == os.getpid()
    s = view.status
    assert (s.state, s.rows_in, s.rows_out, s.checkpoint, s.file) == ("RUNNING", 10, 5, 3, "/sql/job.sql")
    assert ask(running.place, "stop")["ok"] and ask(running.place, "cancel")["ok"]
    assert running.job.told == ["stop", "cancel"]
    path = running.place.directory / "control.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    running.end("CANCELED")
    assert not path.exists()
    assert until_ended(running.place, view.holder).status.state == "CANCELED"
    with pytest.raises(RunError, match=r"job counts is not running \(CANCELED\)"):
        ask(running.place, "stop")


def test_a_savepoint_is_answered_when_it_is_there(running: Running) -> None:
    job = running.job
    with ThreadPoolExecutor(4) as pool:
        asked = pool.submit(ask, running.place, "savepoint", wait=True, savepoint="/to")
        until(lambda: job.savepoints)
        assert ask(running.place, "status")["ok"] and not asked.done()
        job.savepoints[0].set_result(SimpleNamespace(path="/to/savepoint-counts-1"))
        assert asked.result(20)["savepoint"] == "/to/savepoint-counts-1"
        with pytest.raises(RunError, match="job counts: no room") as refused:
            ask(running.place, "savepoint", savepoint="/full")
        assert refused.value.hint == "another place"
        fails = pool.submit(ask, running.place, "stop", wait=True, savepoint="", drain=True)
        until(lambda: len(job.savepoints) == 2)
        assert job.told == ["stop  True"]
        job.savepoints[1].set_exception(RunError("the store is away"))
        with pytest.raises(RunError, match="the store is away"):
            fails.result(20)
        # a client that goes while it waits, and one that still waits when the job ends
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as gone:
            gone.connect(str(running.place.directory / "control.sock"))
            gone.sendall(json.dumps({"request": "savepoint", "owner": running.lock.owner}).encode() + b"\n")
            until(lambda: len(job.savepoints) == 3)
        until(lambda: not running.control._clients)
        job.savepoints[2].set_result(SimpleNamespace(path="x"))
        waits = pool.submit(ask, running.place, "savepoint", wait=True)
        until(lambda: len(job.savepoints) == 4)
        running.end("CANCELED")
        with pytest.raises(RunError, match=r"the job ended before \(CANCELED\)"):
            waits.result(20)


def test_each_change_is_told_at_once(running: Running) -> None:
    running.job.progress.checkpoint = 4
    until(lambda: (read_status(running.place.directory) or Status("", "")).checkpoint == 4, 0.9)
    running.job.progress.state = "RESTARTING"
    until(lambda: (read_status(running.place.directory) or Status("", "")).state == "RESTARTING", 0.9)


def test_how_it_failed_stays(running: Running) -> None:
    running.end("FAILED", RunError("the disk is full", hint="free space"))
    s = look(running.place).status
    assert (s.state, s.failure) == ("FAILED", "the disk is full") and s.failure_time is not None


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"{}\n",
        b"null\n",
        b"\xff\xfe\n",
        b'{"request": 1}\n',
        b'{"request": "stop"}\n',
        b'{"request": "stop", "owner": "somebody"}\n',
        b'{"request": "status", "owner": "somebody"}\n',
        b'{"request": "stop", "version": 2}\n',
        b'{"request": "rm", "owner": "somebody"}\n',
        b'{"request": "stop", "more": 1}\n',
        b"[" * 60_000 + b"\n",
        b'{"request": ' + b"9" * 60_000 + b"}\n",
        b"x" * (LONGEST + 2),
    ],
    ids=lambda line: repr(line[:40]),
)
def test_what_is_no_request_is_refused(running: Running, line: bytes) -> None:
    answer = json.loads(send(running.place.directory / "control.sock", line))
    assert answer["ok"] is False and answer["error"]
    assert running.job.told == []
    assert ask(running.place, "status")["status"]["state"] == "RUNNING"


def test_slow_silent_and_many_clients_are_in_nobodys_way(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(running.place.directory / "control.sock")
    many = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(CLIENTS + 8)]
    try:
        for s in many:
            s.connect(path)
            with suppress(BrokenPipeError):  # it is shut out already
                s.send(b'{"request"')
        # those beyond the limit are shut out; nobody else gets in while they are there
        until(lambda: len(running.control._clients) == CLIENTS)
        monkeypatch.setattr(control, "PATIENCE", 0.2)
        until(lambda: not running.control._clients)
        assert ask(running.place, "status")["ok"]
    finally:
        for s in many:
            s.close()
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as slow:
        slow.connect(path)
        for byte in b'{"request": "status"}\n':
            slow.send(bytes([byte]))
        slow.settimeout(10)
        assert json.loads(slow.recv(65536))["ok"]


def test_a_deleted_socket_is_made_again(running: Running) -> None:
    path = running.place.directory / "control.sock"
    path.unlink()
    until(lambda: path.is_socket(), 3)
    assert ask(running.place, "status")["ok"]
    path.unlink()
    path.write_text("a file in its place")
    until(lambda: path.is_socket(), 3)
    assert ask(running.place, "status")["ok"]


def test_a_socket_that_a_killed_process_left_is_replaced(directory: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as left:
        left.bind(str(directory / "control.sock"))
    made = Running(directory)
    try:
        assert ask(made.place, "status")["ok"]
    finally:
        made.end()


def test_a_long_path_gets_a_short_socket(tmp_path: Path, directory: Path) -> None:
    long = tmp_path / ("d" * 100) / ("e" * 100)
    long.mkdir(parents=True)
    made = Running(long)
    try:
        found = read_status(long)
        assert found is not None and found.socket.startswith(f"{tmp_path}/sqlstream-{os.geteuid()}/")
        assert stat.S_IMODE(Path(found.socket).parent.stat().st_mode) == 0o700
        assert ask(made.place, "status")["ok"] and not made.said
        (long / FILE).unlink()
        assert ask(made.place, "status")["ok"]  # it can be found without its status
    finally:
        made.end()


def test_a_directory_of_somebody_else_is_no_place_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    shared = tmp_path / f"sqlstream-{os.geteuid()}"
    shared.mkdir()
    shared.chmod(0o777)
    made = control_socket.ControlSocket(tmp_path / ("d" * 120))
    monkeypatch.setattr(control_socket.tempfile, "gettempdir", lambda: str(tmp_path))
    assert not made.open() and "not this user's own" in made.failure


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_another_user_is_not_heard(running: Running) -> None:
    path = running.place.directory / "control.sock"
    path.chmod(0o666)  # though somebody opened it
    for parent in path.parents:
        if parent != Path("/tmp") and str(parent).startswith("/tmp"):
            parent.chmod(0o755)
    code = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        's.sendall(b\'{"request": "status"}\\n\'); print(s.recv(100))'
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "b''\n" or "ConnectionReset" in done.stderr or "BrokenPipe" in done.stderr, done


def test_a_status_that_cannot_be_written_stops_nothing(running: Running) -> None:
    """A directory in the way is as good as a full disk."""
    (running.place.directory / f"{FILE}.tmp").mkdir()
    before = read_status(running.place.directory)
    running.job.progress.rows_in = 77
    until(lambda: current(running.place).status.rows_in == 77)
    assert read_status(running.place.directory) == before
    running.job.progress.rows_in = 78
    (running.place.directory / f"{FILE}.tmp").rmdir()
    until(lambda: (read_status(running.place.directory) or Status("", "")).rows_in == 78)


def test_a_process_that_does_not_answer(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.control._over.set()
    running.control._thread.join()
    with pytest.raises(RunError, match=rf"run by process {os.getpid()} on .*, which does not answer: no answer") as e:
        ask(running.place, "stop", seconds=0.2)
    assert e.value.hint is not None and e.value.hint.startswith(f"kill -TERM {os.getpid()} stops it, with a last")
    view = current(running.place, 0.2)
    assert view.status.state == "RUNNING"  # by its files
    monkeypatch.setattr(client, "STALE_SECONDS", 0.0)  # which say nothing new any more
    view = current(running.place, 0.2)
    assert view.running and "no answer within" in view.silent
    assert view.status.message is not None and f"what is shown is of {view.status.updated}" in view.status.message
    monkeypatch.setattr(client, "SHORT_SECONDS", 0.2)
    (listed,) = currents(running.place.directory.parent.parent)
    assert listed.silent
    with pytest.raises(RunError, match="no answer within 0 s"):  # who waits for something long notices, too
        ask(running.place, "checkpoint", wait=True, seconds=0.2)


def test_what_is_not_asked_any_more_is_not_done(running: Running) -> None:
    """A process that was halted finds requests when it goes on of clients that were told that it does not answer."""
    running.control._over.set()
    running.control._thread.join()
    with pytest.raises(RunError, match="does not answer"):
        ask(running.place, "stop", seconds=0.2)
    running.control._over.clear()
    running.control._thread = threading.Thread(target=running.control._run, daemon=True)
    running.control._thread.start()
    assert ask(running.place, "restart")["ok"]
    assert running.job.told == ["restart"]


def test_who_closes_the_half_that_is_written_to_is_answered(running: Running) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(running.place.directory / "control.sock"))
        s.sendall(b'{"version": 1, "request": "status"}\n')
        s.shutdown(socket.SHUT_WR)
        s.settimeout(10)
        assert s.recv(1 << 16).startswith(b'{"version": 1, "ok": true')


def test_files_that_say_nothing_new_are_not_believed(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that is full: the process itself is asked."""
    (running.place.directory / f"{FILE}.tmp").mkdir()
    running.job.progress.state, running.job.progress.failure = "RESTARTING", "no room"
    monkeypatch.setattr(client, "STALE_SECONDS", 0.0)
    (listed,) = currents(running.place.directory.parent.parent)
    assert (listed.status.state, listed.silent) == ("RESTARTING", "")


# ---- who runs it


KILLED = """
import os, signal, sys
from pathlib import Path
from sqlstream.checkpoint.lock import JobLock
from sqlstream.clock import SystemClock
from sqlstream.runtime.control import Control
from sqlstream.runtime.observer import Origin
from sqlstream.runtime.progress import Progress
class Job:
    progress = Progress("RUNNING", 7)
directory = Path(sys.argv[1])
lock = JobLock(directory, "counts").acquire()
Control(lock, Job(), Origin("counts", lock.owner), SystemClock(), print).__enter__()
print("up", flush=True)
sys.stdin.read()
"""


def test_a_killed_owner_is_known_for_dead(directory: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "up\n"
        place = find_job("counts")
        assert current(place).status.rows_in == 7
        copy = tmp_path / "copy" / "counts"
        shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("*.sock"))
        os.mknod(copy / "control.sock", stat.S_IFSOCK | 0o600)  # as cp -a makes one
        assert look(JobPlace("counts", copy)).status.state == LOST  # a copy of a running job does not run
        with pytest.raises(RunError, match="not running"):
            ask(JobPlace("counts", copy), "stop")
        other.kill()
        other.wait()
        view = current(place)
        assert view.holder is None and view.status.state == LOST
        assert view.status.message is not None and f"process {other.pid} on " in view.status.message


def test_a_number_of_a_process_says_nothing(directory: Path) -> None:
    """A process that is gone may have given its number to another one, even to one with the lock of another job."""
    made = Running(directory)
    status = (directory / FILE).read_text()
    lock = (directory / "lock").read_text()
    made.end()
    (directory / FILE).write_text(status)
    (directory / "lock").write_text(lock)
    (directory / "job.json").write_text(json.dumps({"job": "counts", "run": "0" * 8, "state": "RUNNING"}))
    view = look(made.place)
    assert view.holder is None and (view.status.state, view.status.pid) == (LOST, os.getpid())


def test_a_copy_that_runs_too_is_another_job(directory: Path, tmp_path: Path) -> None:
    one = Running(directory)
    other = tmp_path / "copy" / "counts"
    shutil.copytree(directory, other, ignore=shutil.ignore_patterns("*.sock"))
    two = Running(other)
    try:
        status = json.loads((other / FILE).read_text())
        status["socket"] = str(directory / "control.sock")  # as the copy's files had it
        two.control._over.set()
        two.control._thread.join()
        (other / FILE).write_text(json.dumps(status))
        (other / "control.sock").unlink()
        with pytest.raises(RunError, match="meant for another process"):
            ask(two.place, "stop")
        assert one.job.told == two.job.told == []
        with pytest.raises(OptionError, match="there are 2 jobs named 'counts'") as e:
            find_job("counts")
        assert str(directory) in str(e.value) and str(other) in str(e.value) and "(here)" in str(e.value)
        assert find_job(str(other)).directory == other
    finally:
        one.end()
        two.end()


def test_who_asks_does_not_keep_a_job_from_starting(directory: Path) -> None:
    over = threading.Event()
    JobLock(directory, "counts").acquire().release()

    def ask_again_and_again() -> None:
        while not over.is_set():
            holder(directory)

    askers = [threading.Thread(target=ask_again_and_again) for _ in range(3)]
    for a in askers:
        a.start()
    try:
        for _ in range(200):
            with JobLock(directory, "counts"):
                assert holder(directory) is not None
    finally:
        over.set()
        for a in askers:
            a.join()


def test_the_moment_in_which_a_lock_is_given_back(running: Running) -> None:
    (running.place.directory / "lock").write_text("")
    view = look(running.place)
    assert view.holder is not None and (view.holder.owner, view.status.state) == ("", "RUNNING")
    held = view.holder
    seen: list[str] = []

    def each(view: jobs.JobView) -> None:
        seen.append(view.status.state)
        if len(seen) == 2:
            running.end("CANCELED")

    assert until_ended(running.place, replace(held, owner=running.lock.owner), each).status.state == "CANCELED"
    assert seen == ["RUNNING", "RUNNING"]


@pytest.mark.parametrize("text", ["", "null", "[]", "{", '{"job": 1, "state": []}', '{"job": "x"}', "[" * 100_000])
def test_a_status_that_makes_no_sense(running: Running, text: str) -> None:
    running.control._over.set()
    running.control._thread.join()
    path = running.place.directory / FILE
    path.write_text(text)
    assert read_status(running.place.directory) is None
    assert look(running.place).status.state == "CREATED"
    path.write_text(json.dumps({"job": "x", "state": "RUNNING", "of_a_later_version": {}}))
    assert read_status(running.place.directory) == Status("x", "RUNNING")


# ---- clocks


class SetClock:
    """A machine's clock that is set, and what is monotonic."""

    def __init__(self) -> None:
        self.wall, self.passed = 1_700_000_000.0, 0.0

    def now(self) -> int:
        return int(self.wall * 1e6)

    def rows(self, split: int, first: int, count: int) -> object:
        raise NotImplementedError

    def monotonic(self) -> float:
        return self.passed


def test_a_clock_that_is_set_changes_neither_rates_nor_ages(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SetClock()
    monkeypatch.setattr("sqlstream.runtime.observer.time.time", lambda: clock.wall)
    p = Progress("RUNNING", watermark=1_700_000_000_000_000)
    observer = Observer(Origin("j"), p, clock)  # type: ignore[arg-type]
    for second in range(1, 8):
        clock.passed = float(second)
        clock.wall += -86_400 if second == 4 else 1
        p.rows_in += 100
        if second == 5:
            p.checkpoint, p.checkpoint_time, p.checkpoint_moment = 1, clock.wall, clock.passed
        s = observer.look()
        assert s.uptime == second
        assert s.rows_in_rate == (100 if second > 1 else 0)
    assert s.checkpoint_age == 2
    assert s.lag is not None and round(s.lag) == -86_394


def test_two_who_ask_at_once_count_a_restart_once() -> None:
    """Seen in CI: the first one read "no restart", the second one added "1", the first one added what it had read."""

    class Interrupted(Progress):
        """Restarts while somebody counts, and somebody else asks in that moment."""

        @property
        def late_rows(self) -> int:  # type: ignore[override]
            if self.attempt == 1:
                self.attempt = 2
                other.start()
                other.join(0.3)
            return 0

        @late_rows.setter
        def late_rows(self, value: int) -> None: ...

    progress = Interrupted("RUNNING")
    observer = Observer(Origin("j"), Progress("RUNNING"), SetClock())  # type: ignore[arg-type]
    observer._progress = progress
    other = threading.Thread(target=observer.look)
    observer.look()
    other.join()
    assert observer.look().window_restarts == 1


# ---- the user's jobs


def test_the_registry_is_a_hint(running: Running, tmp_path: Path) -> None:
    assert [(e.job, e.directory) for e in entries()] == [("counts", str(running.place.directory))]
    (home() / "hostile.json").write_text('{"directory": "/etc", "job": "passwd"}')
    (home() / "relative.json").write_text('{"directory": "etc", "job": "x"}')
    (home() / "torn.json").write_text("{")
    (home() / "gone.json").write_text(json.dumps({"directory": str(tmp_path / "gone"), "job": "gone"}))
    assert [p.name for p in jobs.jobs()] == ["counts"]
    assert sorted(p.name for p in home().glob("*.json") if p.stem in ("relative", "torn", "gone")) == []


def test_a_registry_that_cannot_be_written_is_said(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    made = Running(directory)
    made.end()
    assert len(made.said) == 1 and "does not list this job" in made.said[0] and "set XDG_STATE_HOME" in made.said[0]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("count", "did you mean counts"),
        ("", "is no job's name"),
        ("a\0b", "is no job's name"),
        ("./nowhere", "no job in"),
    ],
)
def test_names_that_are_none(running: Running, name: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        find_job(name)
