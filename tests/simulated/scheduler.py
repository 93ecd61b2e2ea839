"""Threads that run one at a time, in an order that follows from a seed, under a clock that stands still while they run.

A thread goes on until it waits (for a lock, a condition, a future, time), or passes an *effect*: a fault point or an
operation of the store or the disk. There the scheduler chooses who is next, among all that could go on. When none can,
time moves to where one can; when that never comes, the run is stuck, and says where each thread stands.

A *crash* ends a process that lives in here: from then on each effect raises `Killed` in the thread that comes to it, so that
all of them unwind. What they do on the way is nobody's business: the disk and the store were set aside before.
"""

from __future__ import annotations

import random
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

START = 1_700_000_000  # seconds since 1970


class Killed(BaseException):
    """The process is over."""


class Stuck(AssertionError):
    """Nothing can go on, or nothing ends."""


class Task:
    """A thread. `ready`: whether it can go on; None: it can. `deadline`: when it does so in any case."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number
        self.turn = threading.Semaphore(0)
        self.ready: Callable[[], Any] | None = None
        self.deadline: float | None = None
        self.why = "start"
        self.ended = False
        self.forced = False  # it is stuck in a process that is over
        self.outside = False  # it belongs to the world, and to no process
        self.thread: threading.Thread | None = None
        self.priority = 0.0


class Scheduler:
    """`sqlstream.threads.Scheduler` and `sqlstream.clock.Clock` in one. `limit`: virtual seconds after which the run
    counts as hanging; `steps`: choices after which it does."""

    def __init__(self, seed: int, limit: float, steps: int, keep: bool = False) -> None:
        self.random = random.Random(f"scheduler {seed}")
        self.time = 0.0
        self.limit, self.steps, self.step = limit, steps, 0
        self.tasks: list[Task] = []
        self.trace: list[str] = []
        self.keep = keep
        self.dead = False  # the process is over: effects raise
        self.crash_at: int | None = None  # when so many effects have passed
        self.on_crash: Callable[[], None] = lambda: None
        self.effects = 0
        self.failure: BaseException | None = None
        self._number = 0
        self._current: Task | None = None
        self._done = threading.Event()
        kind = self.random.random()
        self._switching = self.random.choice([0.02, 0.1, 0.3])  # of the places where nobody has to wait
        self._priorities = kind < 0.4  # who has the highest goes on until it waits, as if the others were slow
        self._work = self.random.choice([0.001, 0.002, 0.005])  # seconds between two choices, at most
        self.slow = self.random.choice([0.0, 0.0, 0.001, 0.02])  # of the choices after which time moves by itself

    # ---- the world's side

    def run(self, body: Callable[[], None]) -> None:
        """Runs `body` as the first thread, until all have ended. Raises what made the run fail."""
        first = self.start("world", body, outside=True)
        first.turn.release()
        self._current = first
        self._done.wait()
        for task in self.tasks:
            if task.thread is not None and task.thread is not threading.current_thread():
                task.thread.join(20)
                assert not task.thread.is_alive(), f"thread {task.name} does not end"
        if self.failure is not None:
            raise self.failure

    def note(self, text: str) -> None:
        """A line of the trace."""
        name = self._current.name if self._current is not None else "-"
        self.trace.append(f"{self.time:12.6f} {name:12} {text}")
        if self.keep:
            print(self.trace[-1], file=sys.stderr)

    def sleep(self, seconds: float) -> None:
        """Of the thread that calls it."""
        self._pause(f"sleep {seconds:.3f}", lambda: False, self.time + seconds)

    def until(self, ready: Callable[[], Any], seconds: float | None = None) -> bool:
        """Waits until it is true, so long at most."""
        self._pause("until", ready, None if seconds is None else self.time + seconds)
        return bool(ready())

    def revive(self) -> None:
        """The process is gone; another one may begin."""
        self.dead = False

    @property
    def inside(self) -> list[Task]:
        """Threads of the process that have not ended."""
        return [t for t in self.tasks if not t.outside and not t.ended]

    # ---- what the process meets

    def effect(self, name: str) -> None:
        """It does something that others see: here it may be killed, and others may go first."""
        task = self._current
        if threading.current_thread() is not (task and task.thread):
            return  # of the machinery: an import, a finalizer
        assert task is not None
        if task.outside:
            return
        if self.dead:
            raise Killed
        self.effects += 1
        self.note(name)
        if self.crash_at is not None and self.effects >= self.crash_at:
            self.crash()
            raise Killed
        self._pause(name)
        if self.dead:
            raise Killed

    def crash(self) -> None:
        """The process is over, as of now."""
        self.crash_at = None
        self.note("CRASH")
        self.on_crash()
        self.dead = True

    # ---- sqlstream.threads.Scheduler

    def start(self, name: str, body: Callable[[], None], outside: bool | None = None) -> Task:
        """A thread that can go on from now."""
        self._number += 1
        task = Task(f"{name}#{self._number}", self._number)
        task.outside = bool(outside)
        task.priority = self.random.random()

        def run() -> None:
            task.turn.acquire()
            try:
                if self.failure is None:
                    body()
            except Killed:
                pass
            except BaseException as e:
                if self.failure is None:
                    self.failure = e
            finally:
                task.ended = True
                self._leave()

        task.thread = threading.Thread(target=run, name=task.name, daemon=True)
        task.join = lambda timeout=None: self._joined(task, timeout)  # type: ignore[attr-defined]
        self.tasks.append(task)
        task.thread.start()
        return task

    def _joined(self, task: Task, timeout: float | None) -> None:
        self._pause(f"join {task.name}", lambda: task.ended, None if timeout is None else self.time + timeout)

    def lock(self) -> SimulatedLock:
        """A lock whose waiters the scheduler knows."""
        return SimulatedLock(self)

    def condition(self) -> SimulatedCondition:
        """A condition whose waiters the scheduler knows."""
        return SimulatedCondition(self)

    def wait(self, future: Future[Any], seconds: float | None) -> bool:
        """In virtual time."""
        if self._current_ends():
            raise Killed
        if not future.done():
            self._pause("future", future.done, None if seconds is None else self.time + max(seconds, 0.0))
        if not future.done() and self._current_ends():
            raise Killed
        return future.done()

    # ---- sqlstream.clock.Clock

    def now(self) -> int:
        """µs since 1970."""
        return int((START + self.time) * 1e6)

    def rows(self, split: int, first: int, count: int) -> np.ndarray:
        """The time of the call."""
        return np.full(count, self.now(), np.int64)

    def monotonic(self) -> float:
        """Seconds."""
        return self.time

    def clock_wait(self, event: threading.Event, seconds: float) -> bool:
        """In virtual time."""
        if self._current_ends():
            raise Killed
        self._pause(f"wait {seconds:.3f}", event.is_set, self.time + max(seconds, 0.0))
        if self._current_ends():
            raise Killed
        return event.is_set()

    def _current_ends(self) -> bool:
        return self.dead and self._current is not None and not self._current.outside

    # ---- who is next

    def maybe(self, why: str) -> None:
        """Another thread may go first, where nobody has to wait."""
        ours = self._current is not None and threading.current_thread() is self._current.thread
        if ours and self.random.random() < self._switching:
            self._pause(why)

    def _pause(self, why: str, ready: Callable[[], Any] | None = None, deadline: float | None = None) -> None:
        task = self._current
        assert task is not None and task.thread is threading.current_thread(), "a thread that nobody knows waits"
        if self.failure is not None:
            raise Killed
        task.why, task.ready, task.deadline = why, ready, deadline
        self._next()
        task.turn.acquire()
        if self.failure is not None:
            raise Killed
        task.ready = task.deadline = None
        if task.forced:
            task.forced = False
            raise Killed

    def _leave(self) -> None:
        self._next()

    def _next(self) -> None:
        """Gives the turn to somebody."""
        alive = [t for t in self.tasks if not t.ended]
        if self.failure is not None or not alive:
            self._done.set()
            for t in alive:
                t.turn.release()
            return
        try:
            chosen = self._chosen(alive)
        except BaseException as e:
            self.failure = e
            self._done.set()
            for t in alive:
                t.turn.release()
            return
        self._current = chosen
        chosen.turn.release()

    def _chosen(self, alive: list[Task]) -> Task:
        self.step += 1
        if self.step > self.steps:
            raise Stuck(f"no end after {self.steps:,} steps, at {self.time:.3f} s\n{self.stacks()}")
        if self.slow and self.random.random() < self.slow:
            self.time += self.random.choice([0.001, 0.01, 0.1, 0.5])
        self.time += self.random.random() * self._work
        while True:
            ready = [t for t in alive if self._can_go(t)]
            if ready:
                break
            times = [t.deadline for t in alive if t.deadline is not None]
            if times:
                self.time = max(self.time, min(times))
            elif self.dead and (stuck := [t for t in alive if not t.outside]):
                stuck[0].forced, stuck[0].ready = True, None
            else:
                raise Stuck(f"nothing can go on, at {self.time:.3f} s\n{self.stacks()}")
            if self.time > self.limit:
                raise Stuck(f"no end after {self.limit:,.0f} s\n{self.stacks()}")
        if len(ready) == 1:
            return ready[0]
        if self._priorities:
            if self.random.random() < 0.05:
                self.random.choice(ready).priority = self.random.random()
            return max(ready, key=lambda t: t.priority)
        return self.random.choice(ready)

    def _can_go(self, task: Task) -> bool:
        if task.ready is None or (task.deadline is not None and self.time >= task.deadline):
            return True
        return bool(task.ready())

    def stacks(self) -> str:
        """Where each thread stands."""
        frames = sys._current_frames()
        out = []
        for t in self.tasks:
            if t.ended or t.thread is None:
                continue
            frame = frames.get(t.thread.ident or 0)
            stack = "" if frame is None else "".join(traceback.format_stack(frame)[-8:])
            out.append(f"{t.name}: {t.why}\n{stack}")
        return "\n".join(out)


class SimulatedClock:
    """The scheduler's time as a clock of a session."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.now, self.rows, self.monotonic = scheduler.now, scheduler.rows, scheduler.monotonic
        self.wait = scheduler.clock_wait


class SimulatedLock:
    """A lock that its owner may take again."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.owner: Task | None = None
        self.count = 0

    def acquire(self) -> bool:
        """Waits for it."""
        me = self._scheduler._current
        if self.owner is not me:
            if self.owner is not None:
                self._scheduler._pause("lock", lambda: self.owner is None)
            else:
                self._scheduler.maybe("lock")
                if self.owner is not None:
                    self._scheduler._pause("lock", lambda: self.owner is None)
            self.owner = me
        self.count += 1
        return True

    def release(self) -> None:
        """As often as it was taken."""
        self.count -= 1
        if not self.count:
            self.owner = None

    def __enter__(self) -> SimulatedLock:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


class SimulatedCondition(SimulatedLock):
    """With the lock of its own. Who waits is asked again only after `notify_all`: one that is missing shows."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(scheduler)
        self._told = 0

    def notify_all(self) -> None:
        """Something has changed."""
        self._told += 1

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Waits without the lock."""
        s = self._scheduler
        deadline = None if timeout is None else s.time + timeout
        while not (found := predicate()) and (deadline is None or s.time < deadline):
            count, seen = self.count, self._told
            self.count, self.owner = 0, None

            def ready(seen: int = seen) -> bool:
                return self._told != seen and self.owner is None

            try:
                s._pause("condition", ready, deadline)
                if self.owner is not None:
                    s._pause("lock", lambda: self.owner is None)
            finally:
                self.owner, self.count = s._current, count
        return found
