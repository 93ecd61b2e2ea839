"""The one door to threads: who works beside others, has a lock while others may wait for it, or waits, comes through here.

    with Threads(4, "upload") as pool:
        future = pool.submit(work, item)
        wait(future)

What stands behind it is the operating system, which runs threads in an order of its own. A `Scheduler` may stand in its
place (`scheduled`): one that runs one thread at a time and chooses which, so that a run can be repeated (decision 046).
A lock that is held for moments, in which nothing waits and no file is touched, needs none of this.

Unlike those of `ThreadPoolExecutor` the threads of `Threads` may be started, and given work, when the main thread of the
program has ended: an INSERT may run in a thread that outlives it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")


class Thread(Protocol):
    """One that runs."""

    def join(self, timeout: float | None = None) -> None:
        """Waits until it has ended; so many seconds at most."""


class Lock(AbstractContextManager[Any], Protocol):
    """One that a thread may take again while it has it."""

    def acquire(self) -> object:
        """Waits until nobody else has it."""

    def release(self) -> None:
        """As often as it was taken."""


class Condition(AbstractContextManager[Any], Protocol):
    """Something that threads wait for, and its lock."""

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Waits, without the lock, until the predicate is true, and gives what it is; so many seconds at most. It is asked
        after each `notify_all`."""

    def notify_all(self) -> None:
        """With the lock: something that predicates look at has changed."""


class Scheduler(Protocol):
    """What runs threads."""

    def start(self, name: str, body: Callable[[], None]) -> Thread:
        """A thread that does not keep the program from ending."""

    def lock(self) -> Lock:
        """A new one."""

    def condition(self) -> Condition:
        """A new one."""

    def wait(self, future: Future[Any], seconds: float | None) -> bool:
        """Until the future is done; so many seconds at most. Whether it is."""


class OperatingSystem:
    """Threads of the system."""

    def start(self, name: str, body: Callable[[], None]) -> Thread:
        """A daemon."""
        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        return thread

    def lock(self) -> Lock:
        """The system's."""
        return threading.RLock()

    def condition(self) -> Condition:
        """The system's."""
        return threading.Condition()

    def wait(self, future: Future[Any], seconds: float | None) -> bool:
        """In real time."""
        return bool(concurrent.futures.wait([future], seconds).done)


_scheduler: Scheduler = OperatingSystem()


@contextlib.contextmanager
def scheduled(scheduler: Scheduler) -> Iterator[None]:
    """Within it all that is made here is the scheduler's, in the whole process."""
    global _scheduler
    before, _scheduler = _scheduler, scheduler
    try:
        yield
    finally:
        _scheduler = before


def start(name: str, body: Callable[[], None]) -> Thread:
    """A thread of its own for `body`. It does not keep the program from ending."""
    return _scheduler.start(name, body)


def lock() -> Lock:
    """A lock, to be held while others wait or files are touched."""
    return _scheduler.lock()


def condition() -> Condition:
    """A condition with a lock of its own."""
    return _scheduler.condition()


def wait(future: Future[Any], seconds: float | None = None) -> bool:
    """Until the future is done; so many seconds at most. Whether it is."""
    return _scheduler.wait(future, seconds)


class Threads:
    """`count` of them, until `close`, which take work from a queue. They do not keep the program from ending."""

    def __init__(self, count: int, name: str) -> None:
        self._changed = condition()
        self._work: deque[Callable[[], None]] = deque()
        self._ended = False
        self._threads = [start(f"{name}-{n}", self._run) for n in range(max(count, 1))]

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Has a thread call `work`; the future has what it gave or raised."""
        future: Future[T] = Future()

        def done() -> None:
            try:
                future.set_result(work(*args, **kwargs))
            except BaseException as e:
                future.set_exception(e)

        with self._changed:
            self._work.append(done)
            self._changed.notify_all()
        return future

    def end(self) -> None:
        """Nothing more will be submitted: they end when all is done."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Waits until all that was submitted is done."""
        self.end()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._work or self._ended)
            return self._work.popleft() if self._work else None


def mapped(count: int, work: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """What `work` gives for each item, on up to `count` threads. Raises what the first one raised, after all are done."""
    given = list(items)
    if count < 2 or len(given) < 2:
        return [work(item) for item in given]
    with Threads(min(count, len(given)), getattr(work, "__name__", "work")) as threads:
        futures = [threads.submit(work, item) for item in given]
    return [f.result() for f in futures]
