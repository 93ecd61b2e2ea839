"""What connectors that follow a table's changes have in common: a thread that takes them in, and a reader that gives first what the table
has and then its changes.

Positions are `{"snapshot": where the rows of the beginning are, **place}` and then `{**place, "skip": rows behind it}`, where a place is
the end of a transaction, which epochs may cut.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import pyarrow as pa

from sqlstream import threads
from sqlstream.batches import OP
from sqlstream.connectors.derive import Derivation
from sqlstream.contracts import UNKNOWN, Pending, ScanRequest, SourceBatch, SplitReader
from sqlstream.errors import InternalError, SqlStreamError

Place = dict[str, Any]
WAITING_BYTES, WAITING = 32 << 20, 64  # what may wait to be polled
ASKED = 10.0  # seconds between two questions where the server's log ends


class Part(Protocol):
    """Changes of one transaction that follow each other. `ends`: the transaction does, at this place. Without messages: the stream has
    come so far, and nothing of the table was in between."""

    messages: list[Any]
    ends: Place | None

    @property
    def bytes(self) -> int:
        """About how many."""
        ...


class ChangeStream:
    """A thread that takes changes in, and the parts that wait: in bounded number, so that the server waits, too."""

    def __init__(self, name: str) -> None:
        self._parts: deque[Any] = deque()
        self._condition = threads.condition()
        self.closed = False
        self._error: BaseException | None = None
        self._wake: Callable[[], None] | None = None
        self._thread = threads.start(name, self._run)

    # ---- on the thread

    def work(self) -> None:
        """Takes changes in until `closed`. Override."""
        raise InternalError("ChangeStream.work")

    def hang_up(self) -> None:
        """The thread has ended. Override."""
        raise InternalError("ChangeStream.hang_up")

    def _run(self) -> None:
        try:
            self.work()
        except BaseException as e:  # handed to whoever polls
            self._error = e
        finally:
            self.hang_up()
            self._woken()

    def has_room(self) -> bool:
        """Whether more may wait."""
        with self._condition:
            return len(self._parts) < WAITING and sum(p.bytes for p in self._parts) < WAITING_BYTES

    def put(self, part: Part) -> None:
        """It waits to be polled; where it has only come further, with what waits last."""
        with self._condition:
            if not part.messages and self._parts and not self._parts[-1].messages:
                self._parts[-1].ends = part.ends
            else:
                self._parts.append(part)
        self._woken()

    def _woken(self) -> None:
        with self._condition:
            wake, self._wake = self._wake, None
            self._condition.notify_all()
        if wake is not None:
            wake()

    # ---- on the task's

    def next(self) -> Any:
        """What came first, or None. Raises what ended the stream."""
        with self._condition:
            if self._parts:
                return self._parts.popleft()
        if self._error is not None:
            raise self._error
        return None

    def rest(self, wake: Callable[[], None]) -> bool:
        """`wake` is called when there is something."""
        with self._condition:
            if self._parts or self._error is not None:
                return False
            self._wake = wake
        return True

    def close(self) -> None:
        """Ends the thread."""
        self.closed = True
        self._thread.join(10)


class Snapshot(Protocol):
    """What a table has, rows of the columns that are none of the metadata."""

    def poll(self, max_rows: int) -> SourceBatch | None:
        """None: that was all."""
        ...

    def close(self) -> None:
        """Also in the middle."""
        ...


class ChangeReader(SplitReader):
    """A split's rows: the snapshot, then the stream. `heartbeat`: µs after which the place of a quiet stream is passed on."""

    def __init__(self, request: ScanRequest, first_row: int, heartbeat: int, appends: bool = False) -> None:
        self._request, self._row, self._heartbeat, self._appends = request, first_row, heartbeat, appends
        self._derivation = Derivation(request)
        self._begun = False
        self.place: Place = {}  # of the last whole transaction's end
        self.snapshot: Snapshot | None = None
        self.stream: ChangeStream | None = None
        self.skip = 0  # rows behind the place that were given, and are to be passed
        self._given = 0
        self._found: tuple[pa.RecordBatch, Place | None] | None = (
            None  # rows that were not given yet, and where they end
        )
        self._at = 0
        self._passed_on = time.monotonic()
        self._ended = False
        self._bytes: int | None = None  # of changes
        self._left: Callable[[Place], int | None] | None = None
        self._asking, self._asked = False, float("-inf")

    # ---- of each kind

    def begin(self) -> None:
        """Sets `place`, and `snapshot`, or `skip` and, by `start`, the stream."""
        raise InternalError("ChangeReader.begin")

    def start(self) -> None:
        """Sets `stream`, from `place` on."""
        raise InternalError("ChangeReader.start")

    def scanned(self, got: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of the snapshot with what else the request wants, and their kind."""
        raise InternalError("ChangeReader.scanned")

    def changed(self, part: Any) -> pa.RecordBatch:
        """The rows of a part of the stream, with their kinds."""
        raise InternalError("ChangeReader.changed")

    def nothing(self) -> pa.RecordBatch:
        """No rows."""
        raise InternalError("ChangeReader.nothing")

    def behind(self) -> Callable[[Place], int | None]:
        """Asks the server where its log ends, by a connection of its own, from another thread; what it gives says how many bytes of the
        log are behind a place (None: it cannot)."""
        raise InternalError("ChangeReader.behind")

    def streams(self) -> bool:
        """Whether changes follow the snapshot."""
        return True

    # ---- of all

    @property
    def finished(self) -> bool:
        return self._ended

    @property
    def bytes_read(self) -> int | None:
        return self._bytes

    @property
    def pending(self) -> Pending:
        """As the server said last, which is asked now and then: the stream does not say how far behind it is."""
        if self.stream is None:
            return UNKNOWN
        if not self._asking and time.monotonic() - self._asked >= ASKED:
            self._asking, self._asked = True, time.monotonic()
            threads.start("sqlstream-log-end", self._ask)
        left = None if self._left is None else self._left(self.place)
        return UNKNOWN if left is None else Pending(bytes=max(0, left))

    def _ask(self) -> None:
        try:
            self._left = self.behind()
        except SqlStreamError:  # who reads the stream says what is wrong
            self._left = None
        finally:
            self._asking = False

    def rest(self, wake: Callable[[], None]) -> bool:
        return self.stream is not None and self._found is None and self.stream.rest(wake)

    def poll(self, max_rows: int) -> SourceBatch | None:
        if max_rows <= 0 or self._ended:
            return None
        if not self._begun:
            self.begin()
            self._begun = True
        if self.snapshot is not None:
            got = self.snapshot.poll(max_rows)
            if got is not None:
                return self._batch(self.scanned(got.batch), {**self.place, "snapshot": got.position})
            self.snapshot.close()
            self.snapshot = None
            if not self.streams():
                self._ended = True
                return None
            self.start()
            return self._batch(self.nothing(), {**self.place, "skip": 0}, drained=True)
        if self.stream is None:
            self._ended = True
            return None
        return self._streamed(self.stream, max_rows)

    def _streamed(self, stream: ChangeStream, max_rows: int) -> SourceBatch | None:
        while self._found is None:
            part = stream.next()
            if part is None:
                return None
            if not part.messages:
                if part.ends is not None and (quiet := self._moved(part.ends)) is not None:
                    return quiet
                continue
            rows = self.changed(part)
            self._bytes = (self._bytes or 0) + part.bytes
            passed = min(self.skip, rows.num_rows)
            self.skip -= passed
            self._found, self._at = (rows, part.ends), passed
            if passed == rows.num_rows:
                self._found = None
                if part.ends is not None and (quiet := self._moved(part.ends)) is not None:
                    return quiet
        rows, ends = self._found
        n = min(max_rows, rows.num_rows - self._at)
        piece = rows.slice(self._at, n)
        self._at += n
        self._given += n
        if self._at == rows.num_rows:
            self._found = None
            if ends is not None:
                self.place, self._given = ends, 0
        return self._batch(piece, {**self.place, "skip": self._given})

    def _moved(self, place: Place) -> SourceBatch | None:
        """The stream has come to `place`, without rows. That is passed on behind the rows of a transaction, which are whole now, and
        now and then, so that the server lets go of what is before."""
        behind_rows = self._given > 0
        self.place, self._given, self.skip = place, 0, 0
        if not behind_rows and time.monotonic() - self._passed_on < self._heartbeat / 1e6:
            return None
        return self._batch(self.nothing(), {**self.place, "skip": 0}, drained=True)

    def go_on(self, skip: int) -> None:
        """The stream goes on, behind so many rows of the transaction that follows `place`."""
        self.skip = self._given = skip
        self.start()

    def _batch(self, rows: pa.RecordBatch, position: Any, drained: bool = False) -> SourceBatch:
        self._passed_on = time.monotonic()
        op = rows.column(OP)
        plain = pa.RecordBatch.from_arrays(rows.columns[:-1], names=rows.schema.names[:-1])
        if not plain.num_columns:  # only what is computed is read
            plain = pa.RecordBatch.from_arrays([pa.repeat(pa.scalar(1, pa.int32()), rows.num_rows)], names=["one"])
        out = self._derivation.of(plain)
        if not self._appends:
            out = out.append_column(OP, op)
            out = out.drop_columns(["one"]) if not self._request.columns else out
        made = SourceBatch(out, self._row, position, drained)
        self._row += rows.num_rows
        return made

    def close(self) -> None:
        if self.snapshot is not None:
            self.snapshot.close()
        if self.stream is not None:
            self.stream.close()
