"""The contract of connectors as jobs see it: rows that come and go while a job runs, is stopped, killed, or loses its server.

A source is read into files, and a sink is written from files, by a job of two columns, `id` and `name`. What a connector has not (a server, a
password) is said in `unable`, by the name of the case and why, and is skipped with that reason; nothing is left out silently.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
import unittest
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlstream.contracts import Connector
from sqlstream.errors import InternalError, SqlStreamError
from sqlstream.session import Session
from sqlstream.testing.jobs import Process, Running

Row = tuple[int, str]
SOON = 10.0  # seconds in which somebody is told that nobody lets him in
RESCALED = (1, 3, 2)  # tasks, one run after the other
SETTINGS = {
    "pipeline.name": "job",
    "execution.runtime-mode": "streaming",
    "execution.checkpointing.interval": "30 ms",
    "execution.epoch.max-rows": "10",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "1000",
    "restart-strategy.fixed-delay.delay": "100 ms",
}
ENDS = {"restart-strategy.type": "none"}  # what fails is not tried again
BAD = (
    "CREATE TABLE bad (bad_line BIGINT, bad_record STRING, bad_reason STRING, bad_time TIMESTAMP_LTZ(3), bad_table STRING) "
    "WITH ('connector' = 'filesystem', 'path' = 'bad', 'format' = 'json');\n"
)
PLAIN, CHANGES = "json", "debezium-json"


def some(n: int, first: int = 0) -> list[Row]:
    """Rows with ids of their own."""
    return [(i, f"name {i} ü") for i in range(first, first + n)]


class Place:
    """The directory of a job. `tables`: CREATE TABLE of all but the files that are written; `insert`: the statement."""

    def __init__(
        self, directory: Path, connector: type[Connector], tables: str, insert: str, form: str = PLAIN
    ) -> None:
        self.directory, self._connector = directory, connector
        files = f"'connector' = 'filesystem', 'path' = 'o', 'format' = '{form}'"
        self._script = (
            tables.replace("{files}", f"CREATE TABLE files (id BIGINT, name STRING) WITH ({files});") + insert
        )

    def run(self, settings: Mapping[str, str], parallelism: int = 1, slow: float = 0.0) -> Running:
        """The job, on a thread. `settings`: options of its session."""
        options = {**SETTINGS, "parallelism.default": str(parallelism), **settings}
        return Running(self._script, self.directory, options, self._connector, slow)

    def process(self) -> Process:
        """The job, in a process."""
        return Process(self._script, self.directory, SETTINGS, self._connector)

    def seen(self) -> Counter[Row]:
        """The rows of the files that are published; of changes what they come to."""
        found: Counter[Row] = Counter()
        for line in self.lines("o"):
            if "op" not in line:
                found[line["id"], line["name"]] += 1
                continue
            for part, n in (("before", -1), ("after", 1)):
                if line.get(part) is not None:
                    found[line[part]["id"], line[part]["name"]] += n
        return +found

    def lines(self, path: str) -> list[dict[str, Any]]:
        """The records of the files of a table that are published."""
        files = sorted((self.directory / path).glob("part-*"))
        return [json.loads(text) for f in files for text in f.read_text().splitlines()]


class JobContract:
    """`connector`, `columns` (as in CREATE TABLE; `id` and `name` are among them), and what the class beneath wants.

    `once`: each row comes once, whatever happens; else at least once. `changes`: rows are changes, known by a key. `largest`: of one
    name that is tried (bytes). `unable`: cases that are none of this connector's, and why. `settings`: options of the session.
    """

    connector: type[Connector]
    columns: str = "id BIGINT, name STRING"
    once: bool = True
    changes: bool = False
    largest: int = 4 << 20
    unable: Mapping[str, str] = {}
    settings: Mapping[str, str] = {}

    def made(self) -> Mapping[str, str]:
        """The options (as in WITH) of a new table without rows. Called once for each job."""
        raise InternalError("JobContract.made is to be overridden")

    def alone(self) -> AbstractContextManager[object]:
        """While it lasts `made` is on a server that this test may stop."""
        return contextlib.nullcontext()

    def server_stops(self) -> None:
        """It is gone when this returns."""
        raise InternalError("JobContract.server_stops is to be overridden, or 'server' stands in `unable`")

    def server_starts(self) -> None:
        """It is there again, with what it had."""
        raise InternalError("JobContract.server_starts is to be overridden, or 'server' stands in `unable`")

    def refused(self) -> AbstractContextManager[tuple[Mapping[str, str], str]]:
        """Options of a table whose server does not let us in, and the secret among them that nobody may see."""
        raise InternalError("JobContract.refused is to be overridden, or 'credentials' stands in `unable`")

    # ---- what the cases are made of

    def _able(self, case: str) -> None:
        if case in self.unable:
            raise unittest.SkipTest(f"{case}: {self.unable[case]}")

    def _table(self, name: str, options: Mapping[str, str]) -> str:
        given = {"connector": self.connector.name, **options}
        said = ", ".join(f"'{k}' = '{v.replace(chr(39), 2 * chr(39))}'" for k, v in given.items())
        return f"CREATE TABLE {name} ({self.columns}) WITH ({said});\n"

    def _have(self, seen: Counter[Row], rows: Sequence[Row], needed: Sequence[Row] | None = None) -> bool:
        """Whether these have come: once, or at least once, and no others. `needed`: those that must have; others may."""
        wanted = Counter(rows)
        must = wanted if needed is None else Counter(needed)
        if seen.keys() - wanted.keys():
            raise AssertionError(f"rows that nobody has put: {sorted(seen.keys() - wanted.keys())[:5]}")
        if self.once and (twice := [r for r, n in seen.items() if n > wanted[r]]):
            raise AssertionError(f"{len(twice)} rows came twice: {twice[:5]}")
        return must.keys() <= seen.keys()

    def _is_told(self, script: str, directory: Path, secret: str) -> None:
        """That nobody lets us in; and the secret is shown nowhere."""
        begun = time.monotonic()
        job = Running(script, directory, {**SETTINGS, **ENDS}, self.connector)
        error = job.failure(SOON)
        assert time.monotonic() - begun < SOON
        assert isinstance(error, SqlStreamError), f"it is no error of ours: {error!r}"
        shown = f"{error} {error.hint} {job.said} "
        session = Session(working_directory=str(directory))
        create = script.rpartition("INSERT")[0]
        for result in session.execute(create + "SHOW CREATE TABLE t;"):
            shown += str([batch.to_pylist() for batch, _ in result.batches()])
        assert secret not in shown, "the secret is shown"
        assert "table " in error.message, f"it does not say which table: {error.message}"


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sqlstream-contract-", ignore_cleanup_errors=True) as found:
        yield Path(found)


class StreamContract(JobContract):
    """Of a source that a job reads, and that others write to. `keeps`: what is put while no job reads it comes later.
    `named`: what an error of a record says of where it is. `tells`: which metrics it
    has, of "bytes", "pending records", "pending bytes". `slow`: bytes that wait for a slow job, and `memory` what these may add to the
    process."""

    keeps: bool = True
    named: str = "table t"
    tells: frozenset[str] = frozenset()
    slow: int = 8 << 20
    memory: int = 256 << 20

    def put(self, rows: Sequence[Row]) -> None:
        """Rows come into the table."""
        raise InternalError("StreamContract.put is to be overridden")

    def put_bad(self) -> str:
        """A record comes that is malformed: its text."""
        raise InternalError("StreamContract.put_bad is to be overridden, or 'bad records' stands in `unable`")

    @contextlib.contextmanager
    def _place(
        self, insert: str = "INSERT INTO files SELECT id, name FROM t;", more: str = "", **options: str
    ) -> Iterator[Place]:
        given = {**self.made(), **{k.replace("__", "-").replace("_", "."): v for k, v in options.items()}}
        form = CHANGES if self.changes else PLAIN
        with _directory() as directory:
            yield Place(directory, self.connector, self._table("t", given) + "{files}\n" + more, insert, form)

    def test_rows_come_over_restarts_and_rescaling(self) -> None:
        """A job is stopped, and goes on with other tasks; and its metrics are those of the rows."""
        rows: list[Row] = []
        with self._place() as place:
            for n, parallelism in enumerate(RESCALED):
                more = some(30, 100 * n)
                if self.keeps:
                    self.put(more)
                with place.run(self.settings, parallelism) as job:
                    if not self.keeps:
                        self._put_when_read(job, more)
                    rows += more
                    self._come(job, place, rows)
                    self._measured(job, more)
            assert self._have(place.seen(), rows)

    def _come(self, job: Running, place: Place, rows: Sequence[Row], needed: Sequence[Row] | None = None) -> None:
        job.until(lambda: self._have(place.seen(), rows, needed))

    def _put_when_read(self, job: Running, rows: Sequence[Row]) -> None:
        job.until(lambda: job.progress.epoch)
        self.put(rows)

    def _measured(self, job: Running, rows: Sequence[Row]) -> None:
        """Of a run in which these rows came, and were read."""

        def right() -> bool:
            found = job.of_table("t")
            read = sum(o.done.rows_in for o in found)
            size = [o.done.bytes_in for o in found if o.done.bytes_in is not None]
            records = [o.done.pending_records for o in found if o.done.pending_records is not None]
            left = [o.done.pending_bytes for o in found if o.done.pending_bytes is not None]
            told = {"bytes": bool(size), "pending records": bool(records), "pending bytes": bool(left)}
            assert read <= len(rows) or not self.once, f"numRecordsIn is {read}, and {len(rows)} came"
            right = read >= len(rows) and (not size or sum(size) > 0) and not sum(records)
            return right and {k for k, v in told.items() if v} >= self.tells and (self.changes or not sum(left))

        job.until(right)

    def test_killed_it_goes_on(self) -> None:
        """SIGKILL in the middle of its work: nothing is lost, and nothing comes twice where that is promised."""
        self._able("kill")
        before, between, after = some(50), some(50, 100), some(50, 200)
        with self._place() as place:
            if self.keeps:
                self.put(before)
            process = place.process()
            try:
                if not self.keeps:
                    process.until(lambda: (place.directory / ".sqlstream").exists())
                    self._put_patiently(before, process)
                process.until(lambda: len(place.seen()) > 20)
                self.put(between)
            finally:
                process.kill()
            if self.keeps:
                self.put(after)
            with place.run(self.settings, 2) as job:
                if not self.keeps:
                    self._put_when_read(job, after)
                rows = [*before, *between, *after]
                needed = rows if self.keeps else after
                self._come(job, place, rows, needed)
            assert self._have(place.seen(), rows, needed)

    def _put_patiently(self, rows: Sequence[Row], process: Process) -> None:
        """To a job that may not listen yet."""

        def came() -> bool:
            try:
                self.put(rows)
            except OSError:
                return False
            return True

        process.until(came)

    def _bad(self, place: Place, rows: Sequence[Row]) -> tuple[Running, str]:
        """A job that meets a malformed record in the middle of these rows; and its text."""
        said = [""]

        def put() -> None:
            self.put(rows[: len(rows) // 2])
            said[0] = self.put_bad()
            self.put(rows[len(rows) // 2 :])

        if self.keeps:
            put()
        job = place.run({**self.settings, **ENDS})
        if not self.keeps:
            with contextlib.suppress(OSError):  # who listens may have ended before all is sent
                job.until(lambda: job.progress.epoch)
                put()
        return job, said[0]

    def test_a_bad_record_ends_it(self) -> None:
        """With an error that says which table has it, and what it is."""
        self._able("bad records")
        with self._place() as place:
            job, text = self._bad(place, some(20))
            error = job.failure()
            assert isinstance(error, SqlStreamError), f"it is no error of ours: {error!r}"
            assert "malformed record" in error.message and self.named in error.message, error.message
            assert text[:20] in error.message, error.message

    def test_bad_records_are_left_out(self) -> None:
        """'source.bad-records' = 'skip': and counted."""
        self._able("bad records")
        with self._place(source_bad__records="skip") as place:
            rows = some(20)
            job, _ = self._bad(place, rows)
            with job:
                self._come(job, place, rows)
                job.until(lambda: sum(o.done.skipped for o in job.of_table("t")) == 1)

    def test_bad_records_go_to_a_table(self) -> None:
        """'source.bad-records' = 'a table': with place, text, reason and time."""
        self._able("bad records")
        with self._place(more=BAD, source_bad__records="bad") as place:
            rows = some(20)
            job, text = self._bad(place, rows)
            with job:
                self._come(job, place, rows)
                job.until(lambda: place.lines("bad"))
            (line,) = place.lines("bad")
            assert line["bad_record"] == text and line["bad_reason"] and line["bad_time"] and line["bad_table"] == "t"
            assert line["bad_line"] is not None

    def test_the_server_goes_and_comes_back(self) -> None:
        """The job waits for it, and reads on; that a connection was lost is counted."""
        self._able("server")
        rows, more = some(30), some(30, 100)
        with self.alone(), self._place() as place:
            if self.keeps:
                self.put(rows)
            with place.run(self.settings) as job:
                if not self.keeps:
                    self._put_when_read(job, rows)
                self._come(job, place, rows)
                self.server_stops()
                time.sleep(0.2)
                self.server_starts()
                self.put(more)
                self._come(job, place, [*rows, *more])
                assert job.progress.reconnects or job.progress.attempt > 1, "nobody knows that the server was gone"
            assert self._have(place.seen(), [*rows, *more])

    def test_wrong_credentials_are_told(self) -> None:
        """Within seconds, and without them."""
        self._able("credentials")
        with self.refused() as (options, secret), _directory() as directory:
            files = "CREATE TABLE o (id BIGINT) WITH ('connector' = 'blackhole');\n"
            self._is_told(self._table("t", options) + files + "INSERT INTO o SELECT id FROM t;", directory, secret)

    def test_a_slow_job_loses_nothing(self) -> None:
        """What it does not take waits outside, or in a bounded part of memory."""
        self._able("slow")
        size = 8192
        name = "x" * size
        rows = [(i, name) for i in range(self.slow // size)]
        lengths = [(i, str(size)) for i, _ in rows]
        with self._place("INSERT INTO files SELECT id, CAST(CHAR_LENGTH(name) AS STRING) FROM t;") as place:
            if self.keeps:
                self.put(rows)
            before = _resident()
            with place.run({**self.settings, "execution.epoch.max-rows": "50"}, slow=0.002) as job:
                if not self.keeps:
                    self._put_when_read(job, rows)
                job.until(lambda: len(place.seen()) == len(rows))
                assert self._have(place.seen(), lengths)
                assert _resident() - before < self.memory, (
                    f"it takes {(_resident() - before) >> 20} MB for {self.slow >> 20}"
                )
                if "pending records" in self.tells:
                    assert job.unread.records, "that much waits is not told"
                if "pending bytes" in self.tells and not self.changes:
                    assert job.unread.bytes, "that much waits is not told"

    def test_a_huge_record_comes_or_is_named(self) -> None:
        """It is a row, or it ends the job with an error that says which table it is in and how long one may be."""
        self._able("huge")
        rows = [(1, "a"), (2, "x" * self.largest), (3, "b")]
        with self._place("INSERT INTO files SELECT id, CAST(CHAR_LENGTH(name) AS STRING) FROM t;") as place:
            if self.keeps:
                self.put(rows)
            job = place.run({**self.settings, **ENDS})
            try:
                if not self.keeps:
                    self._put_when_read(job, rows)
                job.until(lambda: len(place.seen()) == 3)
                job.stop()
            except SqlStreamError as e:
                assert "table t" in e.message and e.hint is not None, e.message
                return
            assert self._have(place.seen(), [(i, str(len(name))) for i, name in rows])


class DeliveryContract(JobContract):
    """Of a sink that a job writes to. `tells`: whether it has the metric of bytes."""

    tells: bool = True

    def seen(self) -> Sequence[Row]:
        """All that a reader of the table sees now. OSError where it cannot be looked at yet."""
        raise InternalError("DeliveryContract.seen is to be overridden")

    @contextlib.contextmanager
    def _place(self) -> Iterator[Place]:
        with _directory() as directory:
            (directory / "in").mkdir()
            read = "'connector' = 'filesystem', 'path' = 'in', 'format' = 'json', 'source.monitor-interval' = '10 ms'"
            tables = f"CREATE TABLE rows_in (id BIGINT, name STRING) WITH ({read});\n" + self._table("t", self.made())
            yield Place(directory, self.connector, tables, "INSERT INTO t (id, name) SELECT id, name FROM rows_in;")

    def _put(self, place: Place, rows: Sequence[Row]) -> None:
        new = place.directory / f"{rows[0][0]}.json"
        new.write_text("".join(json.dumps({"id": i, "name": name}) + "\n" for i, name in rows))
        os.rename(new, place.directory / "in" / new.name)

    def _has(self, rows: Sequence[Row]) -> bool:
        try:
            return self._have(Counter(self.seen()), rows)
        except OSError:
            return False

    def _arrive(self, job: Running, rows: Sequence[Row]) -> None:
        job.until(lambda: self._has(rows))

    def _measured(self, job: Running, rows: int) -> None:
        """Of a run that has written these rows."""

        def right() -> bool:
            found = job.of_table("t")
            sent, failed = sum(o.done.sent for o in found), sum(o.done.send_errors for o in found)
            size = [o.done.bytes_sent for o in found if o.done.bytes_sent is not None]
            assert sent <= rows and not failed, f"numRecordsSend is {sent} of {rows}, numRecordsSendErrors {failed}"
            timed = any(o.done.send_time is not None for o in found)
            # bytes of files are known when these are whole
            return sent == rows and timed and bool(size) == self.tells and (not size or sum(size) > 0)

        job.until(right)

    def test_rows_go_over_restarts_and_rescaling(self) -> None:
        """A job is stopped, and goes on with other tasks; and its metrics are those of the rows."""
        rows: list[Row] = []
        with self._place() as place:
            for n, parallelism in enumerate(RESCALED[:2]):
                more = some(30, 100 * n)
                self._put(place, more)
                rows += more
                with place.run(self.settings, parallelism) as job:
                    self._arrive(job, rows)
                    self._measured(job, len(more))
            assert self._has(rows)

    def test_killed_it_goes_on(self) -> None:
        """SIGKILL in the middle of its work: nothing is lost, and nothing is there twice where that is promised."""
        self._able("kill")
        rows = some(200)
        with self._place() as place:
            process = place.process()
            try:
                process.until(lambda: (place.directory / ".sqlstream").exists())
                self._put(place, rows[:100])
                process.until(self._some)
                self._put(place, rows[100:])
            finally:
                process.kill()
            with place.run(self.settings, 2) as job:
                self._arrive(job, rows)
            assert self._has(rows)

    def _some(self) -> bool:
        try:
            return len(set(self.seen())) > 20
        except OSError:
            return False

    def test_the_server_goes_and_comes_back(self) -> None:
        """The job waits for it, and writes on."""
        self._able("server")
        rows, more = some(30), some(30, 100)
        with self.alone(), self._place() as place:
            self._put(place, rows)
            with place.run(self.settings) as job:
                self._arrive(job, rows)
                self.server_stops()
                self._put(place, more)
                time.sleep(0.2)
                self.server_starts()
                self._arrive(job, [*rows, *more])
            assert self._has([*rows, *more])

    def test_wrong_credentials_are_told(self) -> None:
        """Within seconds, and without them."""
        self._able("credentials")
        with self.refused() as (options, secret), _directory() as directory:
            script = self._table("t", options) + "INSERT INTO t (id, name) VALUES (1, 'a');"
            self._is_told(script, directory, secret)

    def test_a_huge_row_goes_or_is_named(self) -> None:
        """It is there, or it ends the job with an error that says which table does not take it."""
        self._able("huge")
        rows = [(1, "a"), (2, "x" * self.largest), (3, "b")]
        with self._place() as place:
            self._put(place, rows)
            job = place.run({**self.settings, **ENDS})
            try:
                self._arrive(job, rows)
                job.stop()
            except SqlStreamError as e:
                assert "table t" in e.message, e.message


def _resident() -> int:
    """Bytes of memory that the process has."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # another system
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
