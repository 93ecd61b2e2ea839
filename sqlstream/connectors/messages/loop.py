"""A loop of asyncio on a thread of its own, for libraries that are asynchronous, used by threads that are not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from sqlstream.errors import Canceled
from sqlstream.threads import start

T = TypeVar("T")
CLOSING = 1.0  # s that what runs may take to end
STEP = 0.05  # s between two looks at whether somebody still waits


class Loop:
    """From any thread but its own."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = start(f"sqlstream-{name}", self._run)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """What it gives, or raises. TimeoutError where it takes longer; it is canceled then."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise

    def begin(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """It runs until it ends, or the loop is closed."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, function: Callable[[], object]) -> None:
        """On the loop's thread, soon; not at all when it is closed."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function)

    def close(self) -> None:
        """What still runs is canceled."""
        if self._loop.is_closed():
            return
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(_cancel(), self._loop).result(CLOSING)
        self.call(self._loop.stop)
        self._thread.join(CLOSING)


class Patience:
    """Of who waits for answers: it ends when they are wanted no more, and when that of `other` does. From any thread; a copy in another
    process begins anew."""

    def __init__(self, other: Patience | None = None) -> None:
        self._until, self._other = math.inf, other

    def give_up(self, within: float = 0.0) -> None:
        """What is under way may take so many seconds more."""
        self._until = min(self._until, time.monotonic() + within)

    def renew(self, within: float) -> None:
        """There was an answer: if it ends, it ends so many seconds from now."""
        if self._until < math.inf:
            self._until = time.monotonic() + within

    @property
    def over(self) -> bool:
        """Whether nobody waits any more."""
        return time.monotonic() >= self._until or self._other is not None and self._other.over

    def run(self, loop: Loop, work: Coroutine[Any, Any, T]) -> T:
        """What it gives, or raises. Canceled, and so is the work, when patience is over first; then it does not begin, either."""
        if self.over:
            work.close()
            raise Canceled("the answer is not waited for")
        future = loop.begin(work)
        while not concurrent.futures.wait((future,), STEP).done:
            if self.over:
                future.cancel()
                raise Canceled("the answer is not waited for")
        return future.result()

    def __reduce__(self) -> tuple[Any, ...]:
        return Patience, ()


async def _cancel() -> None:
    left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
