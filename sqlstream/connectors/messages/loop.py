"""A loop of asyncio on a thread of its own, for libraries that are asynchronous, used by threads that are not."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from sqlstream.threads import start

T = TypeVar("T")
CLOSING = 1.0  # s that what runs may take to end


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

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """It runs until it ends, or the loop is closed."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

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


async def _cancel() -> None:
    left = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
