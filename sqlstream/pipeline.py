"""The pipeline: a query's tree is bound and optimised, then runs as one batch query or as a stream.

    tree -> bind -> logical plan -> optimise -+-> batch: DuckDB (batch/query.py)   -> rows, or the sinks of a BatchJob
                                              +-> stream: lowering -> graph -> Job -> rows, or sinks

`select` gives rows as they come; `insert` runs its job to the end (or until it is stopped).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlstream.batch.query import BatchQuery
from sqlstream.catalog.objects import Table, View
from sqlstream.environment import Environment
from sqlstream.errors import BindError, NotSupported, OptionError
from sqlstream.expressions import Expr
from sqlstream.operators.target import Target
from sqlstream.optimize import FORMER_RULES, RULES, Rule, Step, optimize, rules_with, uses_rowtime
from sqlstream.options import SessionOptions, duration_text
from sqlstream.plan import nodes
from sqlstream.plan.emission import settled
from sqlstream.plan.insert_binder import bind_insert, bind_partition, enforced, writable
from sqlstream.plan.nodes import Emission
from sqlstream.plan.sources import bounded, flows, scans, skipped_records
from sqlstream.plan.table_binder import TableBinder, connector_of
from sqlstream.results import Result, StreamingRows
from sqlstream.runtime.progress import Progress
from sqlstream.sql import statements as st
from sqlstream.types import INT, Column, outside

# The streaming half (operators, state, compiled kernels) is imported where a job is made: batch starts without it.
if TYPE_CHECKING:
    from sqlstream.check import Planned
    from sqlstream.operators.late_rows import LateTable
    from sqlstream.runtime.batch_job import BatchJob
    from sqlstream.runtime.directory import JobDirectory
    from sqlstream.runtime.graph import JobGraph
    from sqlstream.runtime.job import Job

FORMERLY = 4  # ways in which versions before, and other settings, made plans
JOINS = {
    1: "false",
    2: "true",
}  # 'table.optimizer.multi-join.enabled', where it is AUTO: which one a job began with, it goes on with


# ---- statements


def select(env: Environment, s: st.Select) -> Result:
    """Its rows are computed when they are read."""
    plan = bound(env, s.query)
    at_once = env.settings.runtime_mode == "automatic" and flows(plan)
    batch = runs_as_batch(env, plan) and not at_once
    if env.dry:
        if batch:
            batch_sql(env, [Target(plan, plan.schema)])
        else:
            _limited(env, plan)
        return Result("DRY", message="planned")
    return batch_rows(env, plan) if batch else streaming_rows(env, plan)


def insert(env: Environment, inserts: tuple[st.Insert, ...], following: st.Statement | str | None = None) -> Result:
    """One job of one or more INSERTs, run to its end. `following`: what stands behind it in a script, or the next script."""
    targets = bind_targets(env, inserts)
    if following is not None and not all(bounded(t.plan) for t in targets):
        if isinstance(following, str):
            raise NotSupported(
                f"this statement reads unbounded input and never ends, and {following} is to run after it",
                hint="name its file last, or submit it",
            )
        raise NotSupported(
            "the statement before this one reads unbounded input and never ends",
            hint="run both as one job: EXECUTE STATEMENT SET BEGIN INSERT …; INSERT …; END;",
            position=following.position,
        )
    started = time.monotonic()
    batch = runs_in_batch(env, targets)
    if env.dry:
        return _dry_job(env, targets, batch)
    if env.checks:
        from sqlstream.check import check  # of those who want it: it loads what reads checkpoints

        return check(env, batch_job(env, targets, "", None) if batch else planned(env, targets))
    progress = run_batch_job(env, targets) if batch else run_job(env, targets).progress
    tables = ", ".join(t.table for t in targets)
    return Result(
        "INSERT",
        message=f"{progress.rows_out:,} rows into {tables} in {time.monotonic() - started:.1f} s ({progress.state})",
        progress=progress,
    )


def _dry_job(env: Environment, targets: list[Target], batch: bool) -> Result:
    """All that is done before a job begins, but for what touches its directory."""
    from sqlstream.runtime.directory import locate

    o = env.settings
    locate(o.name, o.checkpoint_dir, env.jobs, env.working_directory)
    env.jobs += 1
    if batch:
        batch_sql(env, targets)
    else:
        job_graph(env, targets)
    return Result("DRY", message=f"planned: {', '.join(t.table for t in targets)}")


# ---- bind and optimise


def bound(env: Environment, query: Any, tables: TableBinder | None = None) -> nodes.Node:
    """The plan of a statement's query, with what the options say of its windows. In batch each has one result anyway."""
    options = Emission() if env.settings.runtime_mode == "batch" else emission_of(env.settings)
    return settled(env.bind(query, tables), options)


def emission_of(o: SessionOptions) -> Emission:
    """What `table.exec.emit.*` say. OptionError where they do not go together, as in Flink."""
    if o.late_fire and not o.lateness:
        raise OptionError(
            "option 'table.exec.emit.late-fire.enabled': no row may be late",
            hint="SET 'table.exec.emit.allow-lateness' = '…': how late",
        )
    if o.late_fire and o.late_delay > o.lateness:
        raise OptionError(
            f"option 'table.exec.emit.late-fire.delay' is {duration_text(o.late_delay)}, more than "
            f"'table.exec.emit.allow-lateness', {duration_text(o.lateness)}",
            hint="late results come before the window is forgotten",
        )
    late = o.late_delay if o.late_fire else None
    return Emission(o.early_delay if o.early_fire else None, late, o.lateness if o.late_fire else 0)


def bind_targets(env: Environment, inserts: tuple[st.Insert, ...]) -> list[Target]:
    """The plans of INSERTs, with their sinks."""
    tables = env.tables()
    targets = []
    for s in inserts:
        found = env.catalog.relation(s.table, s.position)
        if isinstance(found, View):
            raise BindError(
                f"'{found.name}' is a view: it cannot be written",
                hint="INSERT INTO the table that it reads",
                position=s.position,
                subject=found.name,
            )
        connector, context = connector_of(found, env.time_zone, env.stores, env.clock.monotonic)
        sink = connector.sink(context)
        partition = bind_partition(s.partition, found, env.catalog, s.position)
        plan, schema = bind_insert(bound(env, s.query, tables), found, s.columns, s.position, partition)
        plan = enforced(plan, env.settings.not_null == "DROP", env.settings.type_length == "TRIM_PAD")
        if s.overwrite:
            whole = found.partitioned_by and len(partition) == len(found.partitioned_by)
            sink = sink.overwriting(_constants(env, partition) if whole else None)
        used = {**tables.used(), found.name: found.option_map}
        target = Target(plan, schema, found.name, sink, used, s.overwrite, s.conflict)
        target.refuse_conflict(env.settings.upsert_materialize)
        targets.append(target)
    _refuse_overwriting_twice(targets)
    return targets + bad_record_targets(env, tables, targets)


def bad_record_targets(env: Environment, tables: TableBinder, targets: list[Target]) -> list[Target]:
    """The tables that get malformed records of the tables that are read, behind all else."""
    made = []
    for name, source in tables.sources.items():
        if source.bad_table is None:
            continue
        where = f"table {name}: option 'source.bad-records'"
        looked_up = (n.lookup for t in targets for n in t.plan.walk() if isinstance(n, nodes.LookupJoin))
        if any(s.source is source for lookup in looked_up for s in scans(lookup)):
            raise NotSupported(
                f"{where} = '{source.bad_table}': it is looked up, and so read again and again",
                hint="for tables that are looked up: 'source.bad-records' = 'skip', or 'fail'",
            )
        found = outside_table(env, source.bad_table, where)
        if found.name == name:
            raise BindError(f"{where}: a table cannot take its own malformed records")
        chosen = writable(found).names
        known = [c.name for c in nodes.BAD_COLUMNS]
        unknown = next((c for c in chosen if c not in known), None)
        if unknown is not None:
            raise BindError(
                f"{where}: table {found.name} has column '{unknown}', which is not known of malformed records",
                hint=f"its columns are some of {', '.join(known)}",
            )
        records = nodes.keep(nodes.BadRecords(name, source), [known.index(c) for c in chosen])
        try:
            plan, schema = bind_insert(records, found, tuple(chosen))
        except BindError as e:
            raise BindError(f"{where}: {e.message}", hint=e.hint) from None
        connector, context = connector_of(found, env.time_zone, env.stores)
        made.append(Target(plan, schema, found.name, connector.sink(context), {found.name: found.option_map}))
    return made


def outside_table(env: Environment, name: str, where: str) -> Table:
    """The table that an option names; BindError, which says `where`, when there is none."""
    try:
        found = env.catalog.relation(tuple(name.split(".")))
    except BindError as e:
        raise BindError(f"{where}: {e.message}", hint=e.hint) from None
    if isinstance(found, View):
        raise BindError(f"{where}: '{found.name}' is a view: it cannot be written")
    return found


def _constants(env: Environment, values: dict[str, Expr]) -> pa.RecordBatch:
    """Constants as a row of columns of these names."""
    rows = nodes.Values((Column("one", INT),), ((1,),))
    plan = nodes.Project(rows, tuple(values.values()), tuple(Column(n, e.type) for n, e in values.items()))
    (batch,) = BatchQuery(plan, env.time_zone, env.clock).rows()
    return outside(batch, plan.schema)


def _refuse_overwriting_twice(targets: list[Target]) -> None:
    names = [t.table for t in targets]
    twice = next((t.table for t in targets if t.overwrite and names.count(t.table) > 1), None)
    if twice is not None:
        raise BindError(
            f"table {twice} is written by two statements of the set, and INSERT OVERWRITE replaces it",
            hint="INSERT OVERWRITE … SELECT … UNION ALL SELECT …",
        )


def optimised(
    targets: list[Target],
    batch: bool = False,
    former: int = 0,
    traces: list[list[Step]] | None = None,
    reorder: bool = False,
    buckets: int = 0,
) -> list[Target]:
    """The same results, cheaper. In a stream watermarks stay where an operator of the statement waits for them: what one
    statement reads does not depend on the others. `traces` gets what the rules did to each plan. `reorder`, `buckets`: of a stream
    (`rules_with`).

    `former`: as versions before did it, whose jobs keep their plans. From 3 on without the rules that came later; 4: watermarks are
    those of the statements together, too."""
    chosen = (reorder or buckets) and not batch
    rules = FORMER_RULES if former > max(JOINS) else rules_with(reorder, buckets) if chosen else RULES
    made = [_optimised(t.plan, not batch, rules) for t in targets]
    # asked of optimised plans: top-n, which waits for no watermark, comes out of OVER, which does
    if not batch and not (former == FORMERLY and any(uses_rowtime(p) for p, _ in made)):
        made = [
            m if uses_rowtime(m[0]) or t.waits_for_watermark else _optimised(t.plan, False, rules)
            for m, t in zip(made, targets, strict=True)
        ]
    if traces is not None:
        traces += [trace for _, trace in made]
    return [replace(t, plan=p) for t, (p, _) in zip(targets, made, strict=True)]


def _optimised(plan: nodes.Node, watermarks: bool, rules: tuple[Rule, ...]) -> tuple[nodes.Node, list[Step]]:
    trace: list[Step] = []
    return optimize(plan, watermarks, rules, trace), trace


def runs_as_batch(env: Environment, plan: nodes.Node, rows: bool = True) -> bool:
    """Whether it runs on DuckDB. In the automatic mode a query for rows over bounded inputs does."""
    mode = env.settings.runtime_mode
    if mode == "batch" and not bounded(plan):
        raise NotSupported(
            "a table of this query is unbounded: batch mode would never end",
            hint="SET 'execution.runtime-mode' = 'streaming'",
        )
    streams = next((n for n in plan.walk() if not n.runs_as_batch), None)
    if mode == "batch" and streams is not None:
        raise NotSupported(
            f"{type(streams).__name__}({streams.details()}) runs as a stream only",
            hint="SET 'execution.runtime-mode' = 'streaming'; a job over bounded tables ends by itself",
        )
    return mode == "batch" or (mode == "automatic" and rows and bounded(plan) and streams is None)


def runs_in_batch(env: Environment, targets: list[Target]) -> bool:
    """Whether a job of INSERTs does. In the automatic mode it is a stream, unless it overwrites."""
    overwrite = next((t for t in targets if t.overwrite), None)
    conflict = next((t for t in targets if t.conflict), None)
    if conflict is not None and env.settings.runtime_mode == "batch":
        raise NotSupported(
            f"ON CONFLICT DO {conflict.conflict}: in batch no row of table {conflict.table} comes before another one",
            hint="SET 'execution.runtime-mode' = 'streaming'; a job over bounded tables ends by itself",
        )
    batch = all(runs_as_batch(env, t.plan, rows=overwrite is not None) for t in targets)
    if overwrite is not None and not batch:
        raise NotSupported(
            f"INSERT OVERWRITE {overwrite.table}: a stream adds to a table for as long as it runs: it replaces nothing",
            hint="over tables that end, SET 'execution.runtime-mode' = 'batch'; or INSERT INTO",
        )
    return batch


# ---- batch


def batch_sql(env: Environment, targets: list[Target]) -> list[str]:
    """The queries of DuckDB's that these are, to be read: their tables are not opened."""
    from sqlstream.rendering.relations import BatchRenderer
    from sqlstream.rendering.scans import source_sql

    return [BatchRenderer(source_sql(None, 0), zone=env.time_zone).sql(t.plan) for t in optimised(targets, True)]


def batch_rows(env: Environment, plan: nodes.Node) -> Result:
    """A query's rows from DuckDB."""
    query = BatchQuery(plan, env.time_zone, env.clock)
    progress = Progress()

    def rows() -> Iterator[tuple[pa.RecordBatch, None]]:
        try:
            for batch in _run(env, query, env.check_canceled):
                yield outside(batch, plan.schema), None
        finally:
            progress.skipped_records = skipped_records(plan)

    return Result("SELECT", plan.schema, progress=progress, _source=rows, _close=query.interrupt)


def run_batch_job(env: Environment, targets: list[Target]) -> Progress:
    """DuckDB's rows through the same transactional writers."""
    job = batch_job(env, targets, *job_directory(env))
    env.begins(job)
    job.run()
    job.progress.skipped_records = skipped_records(*(t.plan for t in targets))
    return job.progress


def batch_job(env: Environment, targets: list[Target], name: str, directory: JobDirectory | None) -> BatchJob:
    """A job in batch mode."""
    from sqlstream.runtime.batch_job import BatchJob

    def rows(t: Target) -> Iterator[pa.RecordBatch]:
        def check() -> None:
            env.check_canceled()
            job.check_canceled()

        return _run(env, BatchQuery(t.plan, env.time_zone, env.clock), check)

    job = BatchJob(name, targets, rows, directory, env.fresh, env.say, env.interrupt, env.file, env.clock)
    return job


def _run(env: Environment, query: BatchQuery, check: Callable[[], None]) -> Iterator[pa.RecordBatch]:
    """The query's rows; it can be interrupted from here on. `check` raises Canceled where it was canceled before."""
    env.queries.append(query)
    try:
        check()
        yield from query.rows()
    finally:
        env.queries.remove(query)


# ---- stream


def streaming_rows(env: Environment, plan: nodes.Node) -> Result:
    """A query's rows, or changes of rows, from a job without a name."""
    limit, graph = _limited(env, plan)

    def make(receive: Any) -> Job:
        return _job(env, graph, "query", replace(env.settings, interval=0), receive=receive)

    rows = StreamingRows(make, limit)
    return Result(
        "SELECT",
        plan.schema,
        append_only=graph.roots[0].traits.append_only,
        bounded=bounded(plan) or limit is not None,
        streaming=True,
        progress=rows.job.progress,
        _source=lambda: iter(rows),
        _close=rows.close,
    )


def _limited(env: Environment, plan: nodes.Node) -> tuple[int | None, JobGraph]:
    """The graph, and how many of its rows are wanted: a bare LIMIT over rows that never change is no operator."""
    if isinstance(plan, nodes.Sort) and not plan.order and plan.limit is not None and not plan.offset:
        graph = job_graph(env, [Target(plan.input, plan.input.schema)])
        if graph.roots[0].traits.append_only:
            return plan.limit, graph
    return None, job_graph(env, [Target(plan, plan.schema)])


def run_job(env: Environment, targets: list[Target]) -> Job:
    """Runs a job to its end, or until it is stopped. Rows of a query (EXPLAIN ANALYZE) are dropped."""
    plan = planned(env, targets)
    writes = any(t.sink is not None for t in targets)
    name, directory = job_directory(env) if writes else ("query", None)
    if directory is None and writes and env.settings.recovery_path is not None:
        raise OptionError(
            "a job that begins from 'execution.state-recovery.path' is durable", hint="SET 'pipeline.name' = '…'"
        )
    if directory is None and not all(bounded(t.plan) for t in targets):
        env.say("this job is not durable: it starts anew each time; SET 'pipeline.name' = '…' makes it resume")
    more: dict[str, Any] = {
        "directory": directory,
        "tables": plan.tables,
        "former": plan.former,
        "batch": plan.batch,
        "allowed": env.allowed,
    }
    job = _job(env, plan.graph, name, env.settings, receive=lambda batch, kinds: None, **more)
    if writes:
        env.begins(job)
    job.run()
    return job


def _job(env: Environment, graph: JobGraph, name: str, options: SessionOptions, **more: Any) -> Job:
    from sqlstream.runtime.job import Job

    job = Job(
        graph,
        name,
        options,
        fresh=env.fresh,
        file=env.file,
        clock=env.clock,
        on_epoch=env.on_progress,
        on_late=env.on_late,
        on_message=env.on_message,
        **more,
    )
    env.started(job)
    return job


def planned(env: Environment, targets: list[Target]) -> Planned:
    """What a streaming job of these targets would be."""
    from sqlstream.check import Planned

    tables = {n: options for t in targets for n, options in t.tables.items()}
    if (late := late_table(env, targets)) is not None:
        tables[late.table] = late.options
    return Planned(
        job_graph(env, targets),
        tables,
        lambda: _former_graphs(env, targets),
        lambda: batch_job(env, targets, "", None).fingerprint,
    )


def _former_graphs(env: Environment, targets: list[Target]) -> Iterator[JobGraph]:
    """What versions before made of the statements, or other settings do, those left out that are refused."""
    for former in range(1, FORMERLY + 1):
        with contextlib.suppress(NotSupported):
            yield job_graph(env, targets, former)


def job_graph(env: Environment, targets: list[Target], former: int = 0) -> JobGraph:
    """The physical plan of one job; `former`: as versions before made it (`optimised`)."""
    from sqlstream.operators.lowering import Lowering
    from sqlstream.operators.sink_materializer import Conflicts
    from sqlstream.runtime.graph import JobGraph

    o = env.settings
    conflicts = Conflicts(o.upsert_materialize, o.require_on_conflict)
    joins = JOINS.get(former, "false") if former and o.multi_join == "AUTO" else o.multi_join
    lowering = Lowering(o.parallelism, o.state_ttl, conflicts, joins, o.recursion_limit, o.agg_phases)
    plans = optimised(targets, former=former, reorder=o.join_reorder, buckets=o.buckets)
    graph = JobGraph(lowering.job(plans, late_table(env, targets)), env.time_zone)
    if o.non_deterministic_update == "TRY_RESOLVE" and not former:
        from sqlstream.operators.uncertain import refuse_uncertain

        refuse_uncertain(graph.roots)
    return graph


def late_table(env: Environment, targets: list[Target]) -> LateTable | None:
    """The table that the rows which a job drops as late go to, if an option says so; a query has none."""
    name = env.settings.late_rows
    if not name or not any(t.sink is not None for t in targets):
        return None
    from sqlstream.operators.late_rows import LateTable

    option = "option 'table.exec.late-rows.sink'"
    found = outside_table(env, name, option)
    if any(isinstance(n, nodes.Scan) and n.table == found.name for t in targets for n in t.plan.walk()):
        raise BindError(
            f"{option}: this job reads table {found.name}: its late rows would come again",
            hint="read the table of late rows in a job of its own",
        )
    connector, context = connector_of(found, env.time_zone, env.stores)
    return LateTable(found.name, connector.sink(context), writable(found), found.option_map)


def job_directory(env: Environment) -> tuple[str, JobDirectory | None]:
    """The name of the next job, and its directory when it is durable."""
    from sqlstream.runtime.directory import JobDirectory, locate

    o = env.settings
    place = locate(o.name, o.checkpoint_dir, env.jobs, env.working_directory)
    env.jobs += 1
    return ("insert", None) if place is None else (place[0], JobDirectory(*place, env.stores, env.working_directory))
