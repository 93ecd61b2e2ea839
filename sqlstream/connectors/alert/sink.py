"""Rows as notifications: sent as each epoch ends, so many a minute, and what was told already, or is too much, is held back and counted.

At least once: after a failure those since the last checkpoint are told again. What was told, and how often, is remembered by the process
alone.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import Kind
from sqlstream.connectors.messages.clients import Backoff, Unreachable, library
from sqlstream.connectors.print import column_text
from sqlstream.connectors.templates import Template
from sqlstream.contracts import Committable, Sink, SinkTask, SinkWriter, TableContext

MINUTE = 60.0
KEYS = 100_000  # that are remembered; those that were told longest ago go


@dataclass(frozen=True)
class Alerting:
    """What is told, and how. `body`: None: all columns; `key`: what is the same is told once in `interval` s."""

    table: TableContext
    urls: tuple[str, ...]
    title: Template
    body: Template | None
    kind: str
    key: Template | None
    interval: float
    most: int
    retries: int
    skips: bool


class AlertSink(Sink):
    """Of rows that come, and of what rows become: a row that goes is not told."""

    changelog = True
    update_before = False

    def __init__(self, alerting: Alerting) -> None:
        self.alerting = alerting

    def writer(self, task: SinkTask) -> SinkWriter:
        return AlertWriter(self.alerting)


class AlertWriter(SinkWriter):
    """Sends on the task's thread: who writes faster than services take waits for them."""

    def __init__(self, alerting: Alerting) -> None:
        self._at = alerting
        self._library = library("apprise", "alert", "alert")
        self._services = self._library.Apprise()
        for url in alerting.urls:
            self._services.add(url)
        self._seconds = alerting.table.seconds
        self._waiting: list[tuple[str, str, str | None]] = []
        self._sent: deque[float] = deque()  # when, in the last minute
        self._told: dict[str, float] = {}  # when, by key
        self._held = self._same = self._failed = 0
        self._since = 0.0

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        if kinds is not None:
            come = (kinds == Kind.INSERT) | (kinds == Kind.UPDATE_AFTER)
            batch = batch.filter(pa.array(come))
        n = batch.num_rows
        if not n:
            return
        at = self._at
        texts = {c.name: column_text(batch.column(i), c.type) for i, c in enumerate(at.table.schema)}
        titles = at.title.texts(texts, n).to_pylist()
        if at.body is not None:
            bodies = at.body.texts(texts, n).to_pylist()
        else:
            columns = [v.to_pylist() for v in texts.values()]
            bodies = [
                "\n".join(f"{c}: {v}" for c, v in zip(texts, row, strict=True)) for row in zip(*columns, strict=True)
            ]
        keys = [None] * n if at.key is None else at.key.texts(texts, n).to_pylist()
        for title, body, key in zip(titles, bodies, keys, strict=True):
            self._take(title, body, key)

    def _take(self, title: str, body: str, key: str | None) -> None:
        now = self._seconds()
        if key is not None and (last := self._told.get(key)) is not None and now - last < self._at.interval:
            self._same += 1
            return
        if len(self._sent) + len(self._waiting) >= self._at.most and not self._room(now):
            if not self._held:
                self._since = now
            self._held += 1
            return
        self._waiting.append((title, body, key))
        if key is not None:  # not before: what is held back was not told
            self._told.pop(key, None)
            self._told[key] = now
            if len(self._told) > KEYS:
                del self._told[next(iter(self._told))]

    def _room(self, now: float) -> bool:
        while self._sent and now - self._sent[0] >= MINUTE:
            self._sent.popleft()
        return len(self._sent) + len(self._waiting) < self._at.most

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for title, body, key in waiting:
            if not self._send(title, body) and key is not None:
                self._told.pop(key, None)
        now = self._seconds()
        if (self._held or self._failed) and self._room(now) and now - self._since >= MINUTE:
            self._summarise()

    def prepare(self, checkpoint: int) -> list[Committable]:
        self.flush()
        return []

    def _summarise(self) -> None:
        held, failed, same = self._held, self._failed, self._same
        self._held = self._failed = self._same = 0
        name = self._at.table.name
        parts = [
            f"{held:,} were held back, as there were more than {self._at.most} in a minute" if held else "",
            f"{failed:,} could not be sent" if failed else "",
            f"{same:,} repeated what had been told" if same else "",
        ]
        self._send(f"Alerts of {name} that were not sent", "; ".join(p for p in parts if p))

    def _send(self, title: str, body: str) -> bool:
        """Whether it was; Unreachable where that ends the job."""
        backoff = Backoff(0.5)
        for attempt in range(self._at.retries + 1):
            # what apprise says of it may hold the URL: it goes nowhere
            done: Any = self._services.notify(
                body=body or title or " ", title=title if body else "", notify_type=self._at.kind
            )
            if done:
                self._sent.append(self._seconds())
                return True
            if attempt < self._at.retries:
                time.sleep(backoff.rest())
        if not self._at.skips:
            raise Unreachable(
                f"table {self._at.table.name}: a notification could not be sent to all of the {len(self._at.urls)} services",
                hint="'on-failure' = 'skip' goes on without it; the command apprise -vv, with the same URL, says why",
            )
        if not (self._held or self._failed):
            self._since = self._seconds()
        self._failed += 1
        return False

    def close(self) -> None:
        """What is held back when the job ends is said."""
        if self._held:
            held, self._held = self._held, 0
            self._services.notify(
                body=f"{held:,} were held back, as there were more than {self._at.most} in a minute",
                title=f"Alerts of {self._at.table.name} that were not sent", notify_type=self._at.kind,
            )  # fmt: skip
