"""A server as a process of the tests: on a free loopback port, its data in a temporary directory, stopped by its process id.

    with Redis() as server:          # answers when the block begins
        server.kill()                # SIGKILL: what it had not written is lost
        server.start()               # same data, same port

A small guard process watches over each: a server whose owner (this process; of a shared one the whole test run) has died
is stopped, and its directory goes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

LOOPBACK = "127.0.0.1"

# Waits until the server or its owner is gone, then sees to it that the server is gone too, and its directory.
_GUARD = """
owner=$1 server=$2 directory=$3 signal=$4
while kill -0 $owner && kill -0 $server; do sleep 0.5; done
kill -0 $owner && exit
kill -$signal $server
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 $server || break; sleep 0.5; done
kill -KILL -$server
rm -rf "$directory"
"""


class ServerError(Exception):
    """A server did not start, or is not there; says what it logged, or what to install."""


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return int(found.getsockname()[1])


def program(name: str, *places: str) -> str | None:
    """The path of an executable: on PATH, or in directories that Debian does not put there."""
    return shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


class Server:
    """One server process. A subclass says how it is begun (`command`), and when it answers (`answers`).

    `directory`: its data, log and configuration. `port`: where it listens. `user`: who it runs as when the tests are root.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]  # Debian's
    client: ClassVar[str | None] = None  # the module by which its tests speak to it, if that is of an extra
    user: ClassVar[str | None] = None
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    patience: ClassVar[float] = 60.0  # seconds, to start and to stop; a busy machine is slow

    def __init__(self) -> None:
        if (missing := self.missing()) is not None:
            raise ServerError(missing)
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"sqlstream-{self.name}-"))
        self.owner = os.getpid()  # when that ends, so does the server
        self.shared = False
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        try:
            self.give(self.directory)
            self.prepare()
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    # ---- what a server says

    @classmethod
    def missing(cls) -> str | None:
        """What is not installed, and how it is; None: all is there."""
        raise NotImplementedError

    @classmethod
    def install(cls) -> None:
        """Beside Debian's packages: what is downloaded or made once for all runs."""

    def prepare(self) -> None:
        """Makes the data directory, once, before the first start."""

    def command(self) -> list[str]:
        """The process's arguments; it stays in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What its environment has beside ours."""
        return {}

    def answers(self) -> bool:
        """Whether it takes requests. OSError is a no."""
        raise NotImplementedError

    @classmethod
    def not_installed(cls) -> str:
        """What `missing` says when Debian's packages are not there."""
        return f"{cls.name} is not installed: python -m tests.harness.servers install {cls.name}"

    # ---- its life

    @property
    def address(self) -> str:
        """host:port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, "not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Begins the process and waits until it answers. ServerError, with the end of its log, when it does not."""
        self._own()
        assert not self.running, "it runs already"
        command = self.as_user(self.command())
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, **self.environment()},
                start_new_session=True,  # Ctrl-C is for the tests
            )
        guard = [str(self.owner), str(self.pid), str(self.directory), str(int(self.stop_signal))]
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", *guard],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        end = time.monotonic() + self.patience
        while not self._answers():
            if not self.running or time.monotonic() > end:
                how = (
                    f"ended ({self._process.returncode})"
                    if not self.running
                    else f"did not answer in {self.patience:g} s"
                )
                log_end = self.log()[-3000:]
                self.kill()
                raise ServerError(f"{self.name} {how}: {' '.join(command)}\n{log_end}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return self.answers()
        except OSError:
            return False

    def log(self) -> str:
        """All that it has printed."""
        return (self.directory / "log").read_text(errors="replace")

    def stop(self) -> None:
        """Ends it in good order, and waits for that; kills it after `patience`."""
        self._own()
        self._end(self.stop_signal)

    def kill(self) -> None:
        """SIGKILL; returns when it and its children are gone."""
        self._own()
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """`stop` and `start`."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """It is there and does not answer (SIGSTOP), until `resume`."""
        self._own()
        for pid in [self.pid, *_children(self.pid)]:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Ends `pause`."""
        for pid in [*_children(self.pid), self.pid]:
            os.kill(pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
            self._guard = None
        if self._process is None:
            return
        children = _children(self._process.pid)
        if self._process.poll() is None:
            self._process.send_signal(how)
            for pid in children if how == signal.SIGKILL else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, how)
            try:
                self._process.wait(self.patience)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        with suppress(ProcessLookupError):  # what else it has begun
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process = None
        end = time.monotonic() + self.patience
        while any(_alive(p) for p in children) and time.monotonic() < end:
            time.sleep(0.01)

    def close(self) -> None:
        """Ends it; its data goes."""
        if self._process is not None:
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _own(self) -> None:
        assert not self.shared, f"this {self.name} is the whole test run's: a test that stops one starts its own"

    def detach(self) -> None:
        """It is the test run's (`shared.py`) from now on: nothing here waits for it, its guard ends it."""
        self.shared = True
        for process in (self._process, self._guard):
            if process is not None:
                process.returncode = 0  # else Popen warns of a process that it leaves behind
        self._process = self._guard = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # ---- as another user

    @classmethod
    def as_user(cls, command: list[str]) -> list[str]:
        """`command`, run by `user` if we are root."""
        if cls.user is None or os.getuid() != 0:
            return command
        return ["setpriv", f"--reuid={cls.user}", f"--regid={cls.user}", "--clear-groups", *command]

    @classmethod
    def give(cls, path: Path) -> None:
        """`path` belongs to `user` if we are root."""
        if cls.user is not None and os.getuid() == 0:
            who = pwd.getpwnam(cls.user)
            os.chown(path, who.pw_uid, who.pw_gid)

    def run(self, *command: str) -> str:
        """A command of the server's own tools, to its end: what it prints. ServerError with that if it fails."""
        done = subprocess.run(
            self.as_user(list(command)),
            capture_output=True,
            text=True,
            cwd=self.directory,
            env={**os.environ, **self.environment()},
        )
        if done.returncode:
            raise ServerError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout


@contextmanager
def connected(port: int, seconds: float = 5.0) -> Iterator[socket.socket]:
    """A TCP connection to a loopback port."""
    with socket.create_connection((LOOPBACK, port), timeout=seconds) as connection:
        yield connection


def asked(port: int, request: bytes, size: int = 4) -> bytes:
    """The first bytes (at most `size`) that come back for a request; b"" when the server hangs up."""
    with connected(port) as connection:
        if request:
            connection.sendall(request)
        return connection.recv(size)


def _alive(pid: int) -> bool:
    """Whether a process is there, and not only what is left of it until its parent looks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    """The processes that `pid` has begun and that are there."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found
