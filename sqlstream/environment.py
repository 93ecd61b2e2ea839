"""What a session's statements run in: the catalog, the options, the clock, whom to tell, and what runs now."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlstream.batch.query import BatchQuery
from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.objects import Table
from sqlstream.clock import Clock
from sqlstream.errors import BindError, Canceled
from sqlstream.options import SessionOptions, note_of, over
from sqlstream.plan import nodes
from sqlstream.plan.current_watermark import placed
from sqlstream.plan.query_binder import QueryBinder
from sqlstream.plan.state_binder import StateCall
from sqlstream.plan.table_binder import TableBinder
from sqlstream.runtime.allowed import Allowed
from sqlstream.runtime.progress import Progress
from sqlstream.secrets import learn, redacted
from sqlstream.sql.foreign.names import respelled, tables_of
from sqlstream.stores import Stores

if TYPE_CHECKING:
    from sqlstream.runtime.batch_job import BatchJob
    from sqlstream.runtime.job import Job
    from sqlstream.runtime.jobs import JobView
    from sqlstream.runtime.state_tables import StateTable


@dataclass
class Environment:
    """`given`: options from outside (-D); `changed`: those of SET, which win. `path`: where the catalog is kept."""

    path: Path | None
    given: dict[str, str]
    working_directory: str
    clock: Clock
    fresh: bool = False
    on_progress: Callable[[Progress], None] | None = None
    on_message: Callable[[str], None] | None = None
    on_late: Callable[[str, pa.RecordBatch], None] | None = None
    on_job: Callable[[Job | BatchJob], None] | None = None
    allowed: Allowed = Allowed()  # what changed jobs may lose
    checks: bool = False  # jobs do not run: it is said what would become of them
    dry: bool = False  # statements are planned, and nothing runs
    catalog: Catalog = field(default_factory=Catalog)
    changed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.noted: set[str] = set()  # options without effect of which that was said
        self.file: str | None = None  # the script that runs, if it is a file
        self.refused = False  # whether a job could not go on, of those that were looked at
        self.jobs = 0  # how many a script has started: the second one of a name is <name>-2
        self.job: Job | None = None  # the last one that was started
        self.queries: list[BatchQuery] = []  # those that run
        self._canceled = threading.Event()
        for k, v in self.given.items():
            self.check_option(k, v)

    # ---- options

    @property
    def settings(self) -> SessionOptions:
        """The options as they are now: those given from outside, those that were SET, else the defaults."""
        return SessionOptions.of(over(self.given, self.changed))

    def check_option(self, key: str, value: str) -> None:
        """OptionError where there is no such option, or `value` is none of its values. A note, once, where it is one
        of Flink's without effect here."""
        learn(key, value)
        why = note_of(key, value)
        if why is not None and key not in self.noted:
            self.noted.add(key)
            self.say(f"note: option '{key}' has no effect here: {why}")

    @property
    def time_zone(self) -> str:
        """The session's."""
        return self.settings.time_zone

    @property
    def stores(self) -> Stores:
        """How the session reaches object stores."""
        o = self.settings
        return Stores(
            o.s3_endpoint, o.s3_access_key, o.s3_secret_key, o.s3_path_style, o.gs_endpoint, o.gs_key_file, o.azure_account, o.azure_key,
            o.azure_connection,
        )  # fmt: skip

    # ---- names

    def tables(self) -> TableBinder:
        """Tables as plans. Statements of one job share one, since each table then is one source."""
        return TableBinder(self.catalog, self.time_zone, self.stores, self._state, self.clock.monotonic)

    def _state(self, call: StateCall) -> StateTable:
        from sqlstream.runtime.state_tables import stored_of, table

        stored = stored_of(
            call.job, call.checkpoint, self.job_named, self.settings, self.stores, self.working_directory
        )
        return table(stored, call.operator, call.state)

    def job_named(self, name: str) -> JobView:
        """A job from outside: the session's own one of that name before any other. OptionError when there is none."""
        from sqlstream.runtime.directory import locate
        from sqlstream.runtime.jobs import JobPlace, find_job, is_job, look

        found = locate(name, self.settings.checkpoint_dir, 0, self.working_directory)
        if found is not None and is_job(found[1]):
            return look(JobPlace(found[0], found[1].resolve()))
        return look(find_job(name, Path(self.working_directory)))

    def bind(self, query: Any, tables: TableBinder | None = None, within: str | None = None) -> nodes.Node:
        """The logical plan of a query's tree. `within`: the database of names that say none, if it is not the current one."""
        catalog = self.catalog if within is None else self.catalog.at(within)
        return placed(QueryBinder(catalog, tables or self.tables()).query(self.spelled(query)))

    def spelled(self, query: Any) -> Any:
        """The tree of a query, with the names of one in a dialect that folds case as the catalog spells them."""
        if "dialect" not in query.meta:
            return query
        catalog = self.catalog
        there = [f for n in catalog.names() if (f := catalog.find(n)) is not None]
        names, columns = {f.local_name for f in there} | set(catalog.databases()), set[str]()
        tree = respelled(query, names)
        for name in tables_of(tree):
            found = catalog.find(catalog.identity(name)) if catalog.knows(name[:-1]) else None
            if isinstance(found, Table):
                columns |= {c.name for c in found.columns}
            elif found is not None:
                columns |= set(found.columns or self.bind(found.query, within=found.within).schema.names)
        if both := sorted(c for c in columns if c.lower() in query.meta["aliases"]):
            raise BindError(
                f"{both[0]} in GROUP BY, HAVING or QUALIFY is a column and the name of an item of SELECT",
                hint="write the item's expression, or give it another name",
            )
        return respelled(query, names | columns)

    def save(self) -> None:
        """Keeps the catalog, where it has a place."""
        if self.path is not None:
            self.catalog.save(self.path)

    # ---- what runs

    def say(self, text: str) -> None:
        """A message for the user beside the results."""
        if self.on_message is not None:
            self.on_message(redacted(text))

    def started(self, job: Job) -> None:
        """A job is about to run; it ends at once where the session was canceled."""
        self.job = job
        if self.canceled:
            job.stop()

    def begins(self, job: Job | BatchJob) -> None:
        """Tells who wants to know that a job that writes is about to run."""
        if self.on_job is not None:
            self.on_job(job)

    def check_canceled(self) -> None:
        """Raises Canceled after `cancel`."""
        if self.canceled:
            raise Canceled("the query was canceled")

    @property
    def canceled(self) -> bool:
        """Whether `cancel` was called, and not `resume` since."""
        return self._canceled.is_set()

    def cancel(self) -> None:
        """Ends what runs, from any thread: a job after its epoch with a last checkpoint, a batch query at once.

        What is started later ends at once too, until `resume`.
        """
        self._canceled.set()
        if (job := self.job) is not None:
            job.stop()
        self.interrupt()

    def interrupt(self) -> None:
        """Ends the batch queries that run, from any thread."""
        for query in list(self.queries):
            query.interrupt()

    def resume(self) -> None:
        """Takes statements again after `cancel`."""
        self._canceled.clear()
