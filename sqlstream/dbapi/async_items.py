"""Asynchronous iterables for threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import Any

_STEP = 0.1  # seconds between two looks at whether an item is still wanted


class AsyncItems(Iterator[Any]):
    """The items of an asynchronous iterable, for a thread that waits for them. They are asked for in the event loop that
    runs where it is made; where none does, in one of its own."""

    def __init__(self, items: AsyncIterable[Any]) -> None:
        self._items: AsyncIterator[Any] = aiter(items)
        self._closed = threading.Event()
        self._own = False
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._own = True
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._run, name="asynchronous rows", daemon=True).start()

    @property
    def of_this_thread(self) -> bool:
        """Whether who waits for an item here keeps its event loop from making it."""
        return not self._own and asyncio._get_running_loop() is self._loop

    def __next__(self) -> Any:
        if self._closed.is_set():
            raise StopIteration
        item = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        while True:
            try:
                return item.result(_STEP)
            except TimeoutError:
                if item.done():
                    raise
                if self._closed.is_set():
                    item.cancel()
                    raise StopIteration from None
            except StopAsyncIteration:
                self.close()
                raise StopIteration from None

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _next(self) -> Any:
        return await anext(self._items)

    def close(self) -> None:
        """No more items are wanted. From any thread."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._own:
            self._loop.call_soon_threadsafe(self._loop.stop)
