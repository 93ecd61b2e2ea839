"""The control of a running job: what other processes ask of it, and what it tells them without being asked.

    with directory.locked() as lock, Control(lock, job, Origin(name, lock.owner), clock, say):
        …                                   # whoever holds the lock, for as long

A thread of its own listens on the job's socket (`control_socket.py`), writes `status.json` about once a second and at each
change, and makes the socket again when somebody has deleted it. While the job's directory is away, it writes nothing there:
what stands in its place may be another process's. Nothing that a client does reaches the job but a request
that is whole, of a version that is known, meant for this owner of the lock, and of somebody who still waits.

One request a line, one answer a line, JSON, in UTF-8:

    {"version": 1, "request": "savepoint", "owner": "…", "savepoint": "/backup"}
    {"version": 1, "ok": true, "job": "counts", "pid": 4711, "savepoint": "/backup/savepoint-counts-7"}
    {"version": 1, "ok": false, "error": "…", "hint": "…"}

`stop`, `cancel` and `restart` are answered when the job knows of them; that it ended, the lock tells.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Protocol

from sqlstream import faults
from sqlstream.checkpoint.lock import JobLock
from sqlstream.clock import Clock
from sqlstream.errors import RunError, SqlStreamError, did_you_mean
from sqlstream.own_files import from_json
from sqlstream.runtime.control_socket import ControlSocket, gone, trusted
from sqlstream.runtime.observer import Observer, Origin
from sqlstream.runtime.progress import Progress
from sqlstream.runtime.registry import register
from sqlstream.runtime.status import Status, write_status
from sqlstream.secrets import redacted

VERSION = 1
TICK = 0.2  # seconds between two looks at the job
EVERY = 1.0  # seconds after which the status is written anew
LONGEST = 64 << 10  # bytes of a request
CLIENTS = 32  # at the same time
PATIENCE = 30.0  # seconds for a request to come, and for its answer to be taken


class Controlled(Protocol):
    """A job as it is controlled. All of it is called from another thread and returns at once.

    Futures have what they name when it is complete, or the error. `savepoint`: a directory; "" is the default one.
    """

    progress: Progress

    def stop(self, savepoint: str | None = None, drain: bool = False) -> Future[Any] | None:
        """It ends after a last checkpoint, or a savepoint, which the future has."""

    def savepoint(self, directory: str | None = None) -> Future[Any]:
        """A savepoint is taken while it runs on."""

    def checkpoint(self) -> Future[int]:
        """A checkpoint is taken now."""

    def cancel(self) -> None:
        """It ends at once, without a checkpoint."""

    def restart(self) -> None:
        """It goes on from its last checkpoint in a new attempt, in this process."""


@dataclass(frozen=True)
class Request:
    """One line of a client. `owner`: whom it means; a status may be asked of anybody."""

    request: str
    version: int = VERSION
    owner: str | None = None
    savepoint: str | None = None
    drain: bool = False


@dataclass
class _Client:
    connection: socket.socket
    since: float
    received: bytearray = field(default_factory=bytearray)
    answer: bytes = b""
    waits: Future[Any] | None = None
    named: str = ""  # what the future gives, in the answer


class Control:
    """Of one job, for as long as its lock is held."""

    def __init__(
        self, lock: JobLock, job: Controlled, origin: Origin, clock: Clock, say: Callable[[str], None]
    ) -> None:
        self.directory, self.origin = lock.path.parent, origin
        self._lock, self._away = lock, False
        self._job, self._say = job, say
        self._observer = Observer(origin, job.progress, clock)
        self._socket = ControlSocket(self.directory)
        self._selector = selectors.DefaultSelector()
        self._clients: dict[int, _Client] = {}
        self._over = threading.Event()
        self._woken, self._wakes = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._written = 0.0
        self._told: tuple[object, ...] | None = None
        self._requests: dict[str, Callable[[Request], dict[str, Any] | tuple[str, Future[Any]]]] = {
            "status": lambda r: {"status": self.status().value()},
            "stop": self._stop,
            "cancel": self._cancel,
            "savepoint": lambda r: ("savepoint", self._job.savepoint(r.savepoint)),
            "checkpoint": lambda r: ("checkpoint", self._job.checkpoint()),
            "restart": self._restart,
            "logs": lambda r: {"log": self.origin.log},
        }

    def __enter__(self) -> Control:
        for s in (self._woken, self._wakes):
            s.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._register()
        if self._listen():
            self._tell()
        else:
            self._say(f"warning: this job cannot be controlled from other terminals: no socket: {self._socket.failure}")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Says how the job ended, to files and to clients that wait."""
        if value is not None and self._job.progress.state == "FAILED":
            self._job.progress.failure = str(value).split("\n")[0] or type(value).__name__
            self._job.progress.failure_time = time.time()
        self._over.set()
        self._wake()
        self._thread.join()
        self._tell()
        for client in list(self._clients.values()):
            self._with(client, self._answer_now)
            self._drop(client)
        self._socket.close()
        self._selector.close()
        self._woken.close()
        self._wakes.close()

    def status(self) -> Status:
        """The job as it is now."""
        return self._observer.look(self._socket.path)

    # ---- the thread

    def _run(self) -> None:
        looked = time.monotonic()
        while not self._over.is_set():
            try:
                ready = self._selector.select(TICK)
                now = time.monotonic()
                for key, _ in ready:
                    self._serve(key.data, now)
                for client in list(self._clients.values()):
                    self._with(client, partial(self._look_at, now=now))
                self._tell_changes(now)
                if now - looked >= EVERY:
                    looked = now
                    self._look_after_files()
            except OSError:  # no files left, or the like: the job goes on, and this tries again
                self._over.wait(TICK)

    def _register(self) -> None:
        if (problem := register(self.directory, self.origin.job)) is not None:
            hint = "set XDG_STATE_HOME to a directory that can be written"
            self._say(f"note: `sqlstream jobs` does not list this job: {problem}; {hint}")

    def _look_after_files(self) -> None:
        away = not self._lock.held
        if away and not self._away:
            self._say(f"warning: {self._lock.lost().message}")
        elif self._away and not away:
            self._register()  # who listed the jobs meanwhile has taken it off the list
        self._away = away
        if not away and not self._socket.reachable:
            self._listen()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wakes.send(b"x")

    def _listen(self) -> bool:
        if self._socket.socket is not None:
            self._selector.unregister(self._socket.socket)
        if not self._socket.open():
            return False
        assert self._socket.socket is not None
        self._selector.register(self._socket.socket, selectors.EVENT_READ)
        return True

    def _tell_changes(self, now: float) -> None:
        p = self._job.progress
        told = (p.state, p.attempt, p.checkpoint, p.failed_checkpoints, p.failure, p.backoff_until, self._socket.path)
        if told != self._told or now - self._written >= EVERY:
            self._told, self._written = told, now
            self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: the next second's is as good
            if self._lock.held:
                write_status(self.directory, self.status())

    # ---- clients

    def _serve(self, client: _Client | None, now: float) -> None:
        if client is not None:
            self._with(client, self._receive)
            return
        with contextlib.suppress(OSError):
            while self._woken.recv(4096):
                continue
        listening = self._socket.socket
        if listening is None:
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = listening.accept()
                connection.setblocking(False)
                if len(self._clients) >= CLIENTS or not trusted(connection):
                    connection.close()
                    continue
                made = _Client(connection, now)
                self._clients[connection.fileno()] = made
                self._selector.register(connection, selectors.EVENT_READ, made)

    def _with(self, client: _Client, act: Callable[[_Client], None]) -> None:
        """What goes wrong with one client costs its connection, and nothing else."""
        try:
            act(client)
        except Exception:
            self._drop(client)

    def _receive(self, client: _Client) -> None:
        try:
            data = client.connection.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        if client.waits is not None or client.answer:
            return  # one at a time: what comes before the answer was taken is not read
        client.received += data
        line, newline, _ = client.received.partition(b"\n")
        if newline or len(client.received) > LONGEST:
            client.received.clear()
            if gone(client.connection):  # it was told that nobody answers, when this process stood still
                self._drop(client)
                return
            self._handle(client, bytes(line))

    def _handle(self, client: _Client, line: bytes) -> None:
        try:
            if len(line) > LONGEST:
                raise RunError(f"a request has more than {LONGEST:,} bytes")
            request = _request(line)
            faults.point("request-read")
            self._check(request)
            faults.point("before-request")
            outcome = self._requests[request.request](request)
        except SqlStreamError as e:
            self._answer(client, _refusal(e))
        except Exception as e:  # of the job, which goes on
            self._answer(client, _refusal(RunError(f"{type(e).__name__}: {e}")))
        else:
            if isinstance(outcome, dict):
                self._answer(client, outcome)
                return
            client.named, client.waits = outcome
            client.waits.add_done_callback(lambda future: self._wake())

    def _check(self, request: Request) -> None:
        if request.version > VERSION:
            raise RunError(
                f"this job speaks version {VERSION} of the control, not {request.version}",
                hint="use the sqlstream that runs it, or stop the job and start it with this one",
            )
        if request.request not in self._requests:
            raise RunError(
                f"there is no request {request.request!r}",
                hint=did_you_mean(request.request, self._requests, "requests"),
            )
        if request.owner != self.origin.owner and (request.owner is not None or request.request != "status"):
            raise RunError(
                "this request is meant for another process than the one that runs the job here",
                hint="`sqlstream jobs` lists the jobs and where they are",
            )

    def _look_at(self, client: _Client, now: float) -> None:
        if client.waits is not None and client.waits.done():
            self._answer_now(client)
            client.since = now
        if client.answer:
            self._send(client)
        if client.waits is None and now - client.since > PATIENCE:
            self._drop(client)

    def _answer_now(self, client: _Client) -> None:
        """What it waits for, if it is there; else that it never will be."""
        future, client.waits = client.waits, None
        if future is None:
            return
        if not future.done():
            self._answer(client, _refusal(RunError(f"the job ended before ({self._job.progress.state})")))
            return
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            given = error if isinstance(error, SqlStreamError) else RunError(str(error) if error else "it was canceled")
            self._answer(client, _refusal(given))
        else:
            value = future.result()
            self._answer(client, {client.named: getattr(value, "path", value)})

    def _answer(self, client: _Client, fields: dict[str, Any]) -> None:
        faults.point("before-answer")
        head = {"version": VERSION, "ok": True, "job": self.origin.job, "pid": os.getpid()}
        client.answer = json.dumps({**head, **fields}, default=str).encode() + b"\n"
        client.since = time.monotonic()
        self._send(client)

    def _send(self, client: _Client) -> None:
        try:
            sent = client.connection.send(client.answer)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        client.answer = client.answer[sent:]

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.connection.fileno(), None) is not None:
            self._selector.unregister(client.connection)
            client.connection.close()

    # ---- requests

    def _cancel(self, request: Request) -> dict[str, Any]:
        self._job.cancel()
        return {}

    def _restart(self, request: Request) -> dict[str, Any]:
        attempt = self._job.progress.attempt
        self._job.restart()
        return {"attempt": attempt}

    def _stop(self, request: Request) -> dict[str, Any] | tuple[str, Future[Any]]:
        future = self._job.stop(request.savepoint, request.drain)
        return {} if future is None else ("savepoint", future)


def _request(line: bytes) -> Request:
    try:
        request: Request = from_json(Request, json.loads(line.decode()))
        return request
    except (ValueError, RecursionError) as e:
        raise RunError(f"this is no request: {e}"[:500]) from None


def _refusal(error: SqlStreamError) -> dict[str, Any]:
    return {"ok": False, "error": redacted(error.message), "hint": error.hint}
