"""A session: SQL text in, results out. The whole pipeline, readable from `_query` downwards.

    text -> sql.parser -> plan (bind) -> optimize -+-> batch: DuckDB -> Arrow
                                                   +-> operators.lowering -> runtime.Job -> Arrow or sinks

The shell, the command line and the DB-API sit on this. A session is used by one thread at a time.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlstream import duck, show
from sqlstream.batch.failure import blamed
from sqlstream.batch.render import BatchRenderer, scan_request, source_sql
from sqlstream.catalog.catalog import FILE, Catalog, local
from sqlstream.catalog.objects import Function, Table, View, like
from sqlstream.clock import Clock, SystemClock
from sqlstream.connectors.base import Source
from sqlstream.errors import (
    BindError,
    Canceled,
    DataError,
    NotSupported,
    OptionError,
    RunError,
    SqlStreamError,
    did_you_mean,
)
from sqlstream.functions import user
from sqlstream.operators.target import Target
from sqlstream.optimize import optimize, uses_rowtime
from sqlstream.options import SESSION_OPTIONS, find, shown
from sqlstream.plan import nodes
from sqlstream.plan.insert_binder import bind_insert
from sqlstream.plan.query_binder import QueryBinder, walk
from sqlstream.plan.table_binder import TableBinder, bind_table, connector_of
from sqlstream.results import Result, StreamingRows, table_result
from sqlstream.runtime.progress import Progress
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script
from sqlstream.sql.splitter import substitute
from sqlstream.stores import Stores
from sqlstream.types import Schema, outside

# The streaming half (operators, state, compiled kernels) is imported where a job is made: batch starts without it.
if TYPE_CHECKING:
    import duckdb

    from sqlstream.runtime.directory import JobDirectory
    from sqlstream.runtime.graph import JobGraph
    from sqlstream.runtime.job import Job, JobOptions


@dataclass
class Session:
    """`options`: defaults given from outside (-D); SET wins over them. `path`: where the catalog is kept."""

    path: Path | None = None
    options: dict[str, str] = field(default_factory=dict)
    working_directory: str = field(default_factory=os.getcwd)
    clock: Clock = field(default_factory=SystemClock)
    fresh: bool = False
    on_progress: Callable[[Progress], None] | None = None
    on_message: Callable[[str], None] | None = None
    on_late: Callable[[str, pa.RecordBatch], None] | None = None

    def __post_init__(self) -> None:
        self.catalog = Catalog()
        self._set: dict[str, str] = {}
        self._jobs = 0
        self.current_job: Job | None = None  # the last one that was started
        self._connections: list[duckdb.DuckDBPyConnection] = []  # of the batch queries that run
        self._canceled = threading.Event()
        for k, v in self.options.items():
            self._check_option(k, v)
        if self.path is not None and (self.path / FILE).exists():
            for _ in self.execute((self.path / FILE).read_text(), str(self.path / FILE)):
                pass

    # ---- scripts and statements

    def execute(
        self, text: str, source: str | None = None, variables: dict[str, str] | None = None
    ) -> Iterator[Result]:
        """Runs the statements one after the other, each when the one before was taken. Errors know their place."""
        try:
            if variables is not None:
                text = substitute(text, variables, source)
            statements = parse_script(text, source)
            self._check_order(statements)
            for s in statements:
                result = self.statement(s)
                result.place = (text, source, s.position)
                yield result
        except SqlStreamError as e:
            raise e.located(text, source) from None

    def statement(self, s: st.Statement) -> Result:
        """Runs one statement. Rows of a query come when its result is read; an INSERT has ended on return."""
        handler = _HANDLERS.get(type(s))
        if handler is None:
            raise NotSupported(f"{type(s).__name__} is not supported", position=s.position)
        try:
            return handler(self, s)
        except SqlStreamError as e:
            if e.position is None and not isinstance(e, (DataError, RunError)):  # these have a place of their own
                e.position = s.position
            raise

    def cancel(self) -> None:
        """Ends what runs, from any thread: a job after its epoch with a last checkpoint, a batch query at once.

        What is started later ends at once too, until `resume`.
        """
        self._canceled.set()
        if (job := self.current_job) is not None:
            job.stop()
        duck.interrupt(self._connections)

    def resume(self) -> None:
        """Takes statements again after `cancel`."""
        self._canceled.clear()

    @property
    def canceled(self) -> bool:
        return self._canceled.is_set()

    def option(self, key: str) -> Any:
        """The value of a session option, converted."""
        declared = find(SESSION_OPTIONS, key)
        assert declared is not None, key
        text = self._set.get(key, self.options.get(key))
        return declared.default if text is None else declared.convert(text)

    def _stores(self) -> Stores:
        return Stores(
            self.option("s3.endpoint"),
            self.option("s3.access-key"),
            self.option("s3.secret-key"),
            self.option("s3.path.style.access"),
        )

    def _check_option(self, key: str, value: str) -> None:
        declared = find(SESSION_OPTIONS, key)
        if declared is None:
            raise OptionError(
                f"unknown option '{key}'", hint=did_you_mean(key, [o.key for o in SESSION_OPTIONS], "options")
            )
        declared.convert(value)

    def _check_order(self, statements: list[st.Statement]) -> None:
        """An unbounded INSERT never ends: nothing may stand behind it. Found before anything runs."""
        if not any(isinstance(s, (st.Insert, st.StatementSet, st.CreateTable)) for s in statements[:-1]):
            return
        shadow = Session(None, dict(self.options), self.working_directory, self.clock)
        shadow.catalog = self.catalog.copy()
        shadow._set = dict(self._set)
        for s, following in zip(statements, statements[1:], strict=False):
            try:
                if isinstance(s, st.CreateTable) and s.query is not None:
                    plans = [shadow._bind(s.query)]
                    shadow._create_table(replace(s, query=None, columns=_columns_of(plans[0].schema)))
                elif isinstance(s, (st.CreateTable, st.CreateView, st.CreateFunction, st.Drop, st.SetOption)):
                    shadow.statement(s)
                    continue
                elif isinstance(s, st.Insert):
                    plans = [shadow._bind(s.query)]
                elif isinstance(s, st.StatementSet):
                    plans = [shadow._bind(i.query) for i in s.inserts]
                else:
                    continue
            except SqlStreamError:
                continue  # said with its place when its turn comes
            if not all(bounded(p) for p in plans):
                raise NotSupported(
                    "the statement before this one reads unbounded input and never ends",
                    hint="run both as one job: EXECUTE STATEMENT SET BEGIN INSERT …; INSERT …; END;",
                    position=following.position,
                )

    # ---- queries

    def _bind(self, query: Any, tables: TableBinder | None = None) -> nodes.Node:
        tables = tables or TableBinder(self.catalog, self.option("table.local-time-zone"), self._stores())
        return QueryBinder(self.catalog, tables).query(query)

    def _select(self, s: st.Select) -> Result:
        plan = self._bind(s.query)
        if self._batch(plan):
            return self._batch_rows(plan)
        if isinstance(plan, nodes.Sort) and not plan.order and plan.limit is not None and not plan.offset:
            limited: int | None = plan.limit
            below = plan.input
        else:
            limited, below = None, plan
        graph = self._graph([Target(below, below.schema)])
        if limited is not None and not graph.roots[0].traits.append_only:
            limited = None
            graph = self._graph([Target(plan, plan.schema)])

        def make(receive: Any) -> Job:
            from sqlstream.runtime.job import Job

            job = Job(
                graph,
                replace(self._job_options("query"), interval=0),
                clock=self.clock,
                receive=receive,
                on_epoch=self.on_progress,
                on_late=self.on_late,
                on_message=self.on_message,
            )
            self._started(job)
            return job

        rows = StreamingRows(make, limited)
        return Result(
            "SELECT",
            plan.schema,
            append_only=graph.roots[0].traits.append_only,
            bounded=bounded(plan) or limited is not None,
            streaming=True,
            progress=rows.job.progress,
            _source=lambda: iter(rows),
            _close=rows.close,
        )

    def _batch(self, plan: nodes.Node, select: bool = True) -> bool:
        """Whether the statement runs on DuckDB. Automatic: a plain SELECT over bounded inputs does."""
        mode = self.option("execution.runtime-mode")
        if mode == "batch" and not bounded(plan):
            raise NotSupported(
                "a table of this query is unbounded: batch mode would never end",
                hint="SET 'execution.runtime-mode' = 'streaming'",
            )
        return mode == "batch" or (mode == "automatic" and select and bounded(plan))

    def _batch_rows(self, plan: nodes.Node) -> Result:
        schema = plan.schema
        running: list[duckdb.DuckDBPyConnection] = []

        def rows() -> Iterator[tuple[pa.RecordBatch, None]]:
            try:
                for batch in self._run_batch(plan, running):
                    yield outside(batch, schema), None
            finally:
                progress.skipped_records = skipped_records(plan)

        progress = Progress()
        return Result("SELECT", schema, progress=progress, _source=rows, _close=lambda: duck.interrupt(running))

    def _run_batch(self, plan: nodes.Node, running: list[duckdb.DuckDBPyConnection]) -> Iterator[pa.RecordBatch]:
        """The plan's rows from DuckDB, in the engine's names and types. `running` has its connection meanwhile."""
        zone = self.option("table.local-time-zone")
        con = duck.connect(os.cpu_count() or 1, zone)
        running.append(con)
        self._connections.append(con)
        try:
            if self.canceled:
                raise Canceled("the query was canceled")
            plan = optimize(plan, watermarks=False)
            scans = source_sql(con, self.clock.now())
            sql = BatchRenderer(scans, zone=zone).sql(plan)
            duck.prepare_functions(con, sql)
            want = plan.schema.arrow()
            for batch in con.sql(sql).to_arrow_reader(65536):
                yield pa.RecordBatch.from_arrays(
                    [
                        batch.column(i) if batch.column(i).type == f.type else batch.column(i).cast(f.type)
                        for i, f in enumerate(want)
                    ],
                    schema=want,
                )
        except Exception as e:
            error = duck.translate(e)
            if isinstance(error, Canceled):
                raise error from None
            if (malformed := self._diagnosed(plan)) is not None:
                raise malformed from None
            if isinstance(error, DataError) and not isinstance(e, SqlStreamError):
                error = blamed(error, plan, con, lambda: BatchRenderer(scans, zone=zone))
            raise error from None
        finally:
            running.remove(con)
            self._connections.remove(con)
            con.close()

    def _diagnosed(self, plan: nodes.Node) -> SqlStreamError | None:
        """The malformed record that made a batch query fail, if it was one: file, line and text."""
        for n in walk(plan):
            if isinstance(n, nodes.Scan):
                found = n.source.diagnose(scan_request(n))
                if found is not None:
                    return found
        return None

    # ---- jobs

    def _started(self, job: Job) -> None:
        self.current_job = job
        if self.canceled:
            job.stop()

    def _insert(self, s: st.Insert) -> Result:
        return self._run_inserts((s,))

    def _statement_set(self, s: st.StatementSet) -> Result:
        return self._run_inserts(s.inserts)

    def _targets(self, inserts: tuple[st.Insert, ...]) -> list[Target]:
        zone = self.option("table.local-time-zone")
        tables = TableBinder(self.catalog, zone, self._stores())
        targets = []
        for s in inserts:
            found = self.catalog.relation(s.table, s.position)
            if isinstance(found, View):
                raise BindError(f"'{found.name}' is a view: it cannot be written", position=s.position)
            if s.overwrite:
                raise NotSupported("INSERT OVERWRITE is not supported", hint="INSERT INTO", position=s.position)
            connector, ctx = connector_of(found, zone, self._stores())
            plan, schema = bind_insert(self._bind(s.query, tables), found, s.columns, s.position)
            targets.append(Target(plan, schema, found.name, connector.sink(ctx)))
        return targets

    def _run_inserts(self, inserts: tuple[st.Insert, ...]) -> Result:
        targets = self._targets(inserts)
        started = time.monotonic()
        if all(self._batch(t.plan, select=False) for t in targets):
            progress = self._run_batch_job(targets)
        else:
            progress = self._run_job(targets)
        seconds = time.monotonic() - started
        tables = ", ".join(t.table for t in targets)
        return Result(
            "INSERT",
            message=f"{progress.rows_out:,} rows into {tables} in {seconds:.1f} s ({progress.state})",
            progress=progress,
        )

    def _run_job(self, targets: list[Target]) -> Progress:
        from sqlstream.runtime.job import Job

        graph = self._graph(targets)
        writes = any(t.sink is not None for t in targets)
        name, directory = self._job_directory() if writes else ("query", None)
        if directory is None and not all(bounded(t.plan) for t in targets):
            self._say("this job is not durable: it starts anew each time; SET 'pipeline.name' = '…' makes it resume")
        job = Job(
            graph,
            self._job_options(name),
            directory=directory,
            fresh=self.fresh,
            clock=self.clock,
            receive=lambda batch, kinds: None,  # a query has rows here only when EXPLAIN ANALYZE runs it
            on_epoch=self.on_progress,
            on_late=self.on_late,
            on_message=self.on_message,
        )
        self._started(job)
        return job.run()

    def _run_batch_job(self, targets: list[Target]) -> Progress:
        """DuckDB's rows through the same transactional writers."""
        from sqlstream.runtime.batch_job import BatchJob

        name, directory = self._job_directory()
        job = BatchJob(name, targets, lambda t: self._run_batch(t.plan, []), directory, self.fresh, self._say)
        job.run()
        job.progress.skipped_records = skipped_records(*(t.plan for t in targets))
        return job.progress

    def _job_directory(self) -> tuple[str, JobDirectory | None]:
        """The name of the next job, and its directory when it is durable."""
        from sqlstream.runtime.directory import JobDirectory, locate

        place = locate(
            self.option("pipeline.name"), self.option("execution.checkpointing.dir"), self._jobs, self.working_directory
        )
        self._jobs += 1
        return ("insert", None) if place is None else (place[0], JobDirectory(*place, self._stores()))

    def _say(self, text: str) -> None:
        if self.on_message is not None:
            self.on_message(text)

    def _optimised(self, targets: list[Target], batch: bool = False) -> list[Target]:
        plans = [optimize(t.plan, watermarks=not batch) for t in targets]
        # asked of optimised plans: top-n, which waits for no watermark, comes out of OVER, which does
        if not batch and not any(map(uses_rowtime, plans)):
            plans = [optimize(t.plan, watermarks=False) for t in targets]
        return [replace(t, plan=p) for t, p in zip(targets, plans, strict=True)]

    def _graph(self, targets: list[Target]) -> JobGraph:
        """The physical plan of one job."""
        from sqlstream.operators.lowering import Lowering
        from sqlstream.runtime.graph import JobGraph

        return JobGraph(Lowering(self.option("parallelism.default")).job(self._optimised(targets)))

    def _job_options(self, name: str) -> JobOptions:
        from sqlstream.runtime.job import JobOptions

        interval = self.option("execution.checkpointing.interval")
        return JobOptions(
            name,
            self.option("parallelism.default"),
            10_000_000 if interval is None else interval,
            self.option("execution.checkpointing.num-retained"),
            self.option("table.exec.source.idle-timeout"),
            self.option("table.local-time-zone"),
            self.option("execution.epoch.max-rows"),
            self.option("execution.epoch.random-seed"),
            self.option("execution.checkpointing.mode") == "AT_LEAST_ONCE",
            self.option("scan.watermark.alignment.max-drift"),
            self.option("taskmanager.memory.managed.size"),
            tuple(d.strip() for d in (self.option("io.tmp.dirs") or "").split(",") if d.strip()),
        )

    # ---- DDL

    def _create_table(self, s: st.CreateTable) -> Result:
        if s.like is not None:
            base = self.catalog.relation(s.like.source, s.position)
            if not isinstance(base, Table):
                raise BindError(f"'{base.name}' is a view: LIKE takes a table", position=s.position)
            s = like(base, s)
        name = local(s.name, s.position)
        plan: nodes.Node | None = None
        if s.query is not None:
            if s.columns:
                raise NotSupported(
                    "CREATE TABLE … AS SELECT takes its columns from the query",
                    hint="leave the columns out",
                    position=s.position,
                )
            plan = self._bind(s.query)
            s = replace(s, columns=_columns_of(plan.schema))
        table = Table(
            name,
            s.columns,
            s.watermark,
            s.primary_key,
            s.constraint,
            s.comment,
            s.partitioned_by,
            s.options,
            s.temporary,
            self.working_directory,
        )
        if self.catalog.find(name) is not None and s.if_not_exists:
            return Result("DDL", message=f"table {name} exists already")
        zone = self.option("table.local-time-zone")
        connector, ctx = connector_of(table, zone, self._stores())
        if not s.columns:
            table = self._inferred(table, connector.ddl_columns(ctx))
        # Checks computed columns, key and watermark without opening anything.
        bind_table(table, self.catalog, Source(), zone)
        self.catalog.add(table, s.if_not_exists, s.position)
        self._save()
        if plan is None:
            return Result("DDL", message=f"table {name} created")
        try:
            return self._run_inserts((st.Insert((name,), s.query, position=s.position),))
        except BaseException:
            self.catalog.drop("TABLE", (name,), s.temporary, True, s.position)
            self._save()
            raise

    def _inferred(self, table: Table, body: str | None) -> Table:
        if body is None:
            raise BindError(
                f"table {table.name} has no columns, and its connector knows none",
                hint="CREATE TABLE t (a INT, …) WITH (…)",
            )
        (made,) = parse_script(f"CREATE TABLE t ({body}) WITH ('connector' = 'x')")
        assert isinstance(made, st.CreateTable)
        return replace(table, columns=made.columns, watermark=table.watermark or made.watermark)

    def _create_view(self, s: st.CreateView) -> Result:
        plan = self._bind(s.query)  # finds mistakes now
        if s.columns and len(s.columns) != len(plan.schema):
            raise BindError(f"{len(s.columns)} names for {len(plan.schema)} columns", position=s.position)
        name = local(s.name, s.position)
        view = View(name, s.query, s.query_text, s.columns, s.comment, s.temporary)
        added = self.catalog.add(view, s.if_not_exists, s.position)
        self._save()
        return Result("DDL", message=f"view {name} " + ("created" if added else "exists already"))

    def _create_function(self, s: st.CreateFunction) -> Result:
        if s.language.upper() != "PYTHON":
            raise NotSupported(
                f"functions in {s.language} are not supported",
                hint="LANGUAGE PYTHON, AS 'module.function'",
                position=s.position,
            )
        if self.working_directory not in sys.path:
            sys.path.append(self.working_directory)
        user.resolve(s.path)
        name = local(s.name, s.position)
        self.catalog.add(Function(name, s.path, s.temporary), s.if_not_exists, s.position)
        self._save()
        return Result("DDL", message=f"function {name} created")

    def _drop(self, s: st.Drop) -> Result:
        self.catalog.drop(s.kind, s.name, s.temporary, s.if_exists, s.position)
        self._save()
        return Result("DDL", message=f"{s.kind.lower()} {s.name[-1]} dropped")

    def _save(self) -> None:
        if self.path is not None:
            self.catalog.save(self.path)

    # ---- SET, SHOW, DESCRIBE, EXPLAIN

    def _set_option(self, s: st.SetOption) -> Result:
        if s.key is None:
            merged = {**self.options, **self._set}
            rows: list[list[str | None]] = [[k, v] for k, v in sorted(shown(merged).items())]
            return table_result("SHOW", ["key", "value"], rows)
        assert s.value is not None
        self._check_option(s.key, s.value)
        self._set[s.key] = s.value
        return Result("SET", message=f"{s.key} = {shown({s.key: s.value})[s.key]}")

    def _reset_option(self, s: st.ResetOption) -> Result:
        if s.key is None:
            self._set.clear()
            return Result("SET", message="all options are reset")
        if find(SESSION_OPTIONS, s.key) is None:
            self._check_option(s.key, "")
        self._set.pop(s.key, None)
        return Result("SET", message=f"{s.key} is reset")

    def _show(self, s: st.Show) -> Result:
        if s.kind == "COLUMNS" and s.name:
            return self._described(s.name, s)
        return show.show(self.catalog, s)

    def _describe(self, s: st.Describe) -> Result:
        return self._described(s.name, s)

    def _described(self, name: tuple[str, ...], s: st.Show | st.Describe) -> Result:
        relation = self.catalog.relation(name, s.position)
        only = s if isinstance(s, st.Show) else None
        if isinstance(relation, Table):
            plan = bind_table(relation, self.catalog, Source(), self.option("table.local-time-zone"))
            return show.describe(plan.schema, relation, only)
        return show.describe(self._bind_view(relation).schema, None, only)

    def _bind_view(self, view: View) -> nodes.Node:
        plan = self._bind(view.query)
        if not view.columns:
            return plan
        from sqlstream.plan.query_binder import renamed

        return renamed(plan, list(view.columns), view.query)

    def _explain(self, s: st.Explain) -> Result:
        inner = s.statement
        if isinstance(inner, st.Select):
            plan = self._bind(inner.query)
            targets = [Target(plan, plan.schema)]
        else:
            inserts = inner.inserts if isinstance(inner, st.StatementSet) else (inner,)
            targets = self._targets(inserts)  # type: ignore[arg-type]
        if s.analyze:
            return table_result("EXPLAIN", ["plan"], [[self._analyzed(targets, s)]])
        batch = all(self._batch(t.plan, isinstance(inner, st.Select)) for t in targets)
        logical = "\n".join(nodes.tree(t.plan) for t in targets)
        optimised = self._optimised(targets, batch)
        parts = [
            ("Abstract Syntax Tree", show.syntax_tree(s.statement)),
            ("Logical Plan", logical),
            ("Optimized Logical Plan", "\n".join(nodes.tree(t.plan) for t in optimised)),
        ]
        if batch:
            zone = self.option("table.local-time-zone")
            sql = [BatchRenderer(source_sql(None, 0), zone=zone).sql(t.plan) for t in optimised]
            parts.append(("Physical Plan (batch, DuckDB SQL)", "\n".join(sql)))
        else:
            parts.append(("Physical Plan (streaming)", self._graph(targets).text))
        text = "\n\n".join(f"== {title} ==\n{body}" for title, body in parts)
        return table_result("EXPLAIN", ["plan"], [[text]])

    def _analyzed(self, targets: list[Target], s: st.Explain) -> str:
        """Runs the statement as a stream; what its operators did. Rows of a query are dropped."""
        if not all(bounded(t.plan) for t in targets):
            raise NotSupported(
                "EXPLAIN ANALYZE runs the statement to its end, and a table of it is unbounded",
                hint="make its inputs end: 'number-of-rows' of datagen, 'events.num' of nexmark, no monitor-interval",
                position=s.position,
            )
        self._run_job(targets)
        assert self.current_job is not None
        return self.current_job.timings()


def bounded(plan: nodes.Node) -> bool:
    """Whether every input ends."""
    return all(n.source.bounded for n in walk(plan) if isinstance(n, nodes.Scan))


def skipped_records(*plans: nodes.Node) -> int:
    """Malformed records that batch queries have skipped by option, each source's once."""
    sources = {id(n.source): n.source for p in plans for n in walk(p) if isinstance(n, nodes.Scan)}
    return sum(s.skipped_records for s in sources.values())


def _columns_of(schema: Schema) -> tuple[st.ColumnDef, ...]:
    return tuple(st.ColumnDef(c.name, c.type) for c in schema)


_HANDLERS: dict[type, Callable[[Session, Any], Result]] = {
    st.Select: Session._select,
    st.Insert: Session._insert,
    st.StatementSet: Session._statement_set,
    st.CreateTable: Session._create_table,
    st.CreateView: Session._create_view,
    st.CreateFunction: Session._create_function,
    st.Drop: Session._drop,
    st.SetOption: Session._set_option,
    st.ResetOption: Session._reset_option,
    st.Show: Session._show,
    st.Describe: Session._describe,
    st.Explain: Session._explain,
}
