"""EXPLAIN: what a statement would run, and how that came to be; EXPLAIN ANALYZE: what it did.

EXPLAIN [PLAN FOR] statement      the operators that run first, then the plans that they were made of, SQL for DuckDB last
EXPLAIN detail, … statement       more: see `DETAILS`
EXPLAIN ANALYZE statement         runs it
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlstream import pipeline, show
from sqlstream.environment import Environment
from sqlstream.errors import NotSupported
from sqlstream.operators.target import Target
from sqlstream.optimize import Step
from sqlstream.plan import nodes
from sqlstream.plan.sources import bounded
from sqlstream.results import Result, table_result
from sqlstream.secrets import redacted
from sqlstream.sql import statements as st
from sqlstream.sql.printing import sql_of

if TYPE_CHECKING:
    from sqlstream.runtime.graph import JobGraph

# Flink's details that have no equal here, and what to do instead. CHANGELOG_MODE is in every plan of a stream.
_REFUSED = {
    "ESTIMATED_COST": ("plans are not chosen by cost: there is no estimate", "EXPLAIN ANALYZE runs it and measures"),
    "PLAN_ADVICE": ("there is no advice on plans", "EXPLAIN ANALYZE shows where the time goes"),
}


def explain(env: Environment, s: st.Explain) -> Result:
    """One row of text."""
    for kind in s.kinds:
        if kind in _REFUSED:
            raise NotSupported(f"EXPLAIN {kind}: {_REFUSED[kind][0]}", hint=_REFUSED[kind][1], position=s.position)
    inner = s.statement
    if isinstance(inner, st.Select):
        plan = pipeline.bound(env, inner.query)
        targets = [Target(plan, plan.schema)]
    else:
        inserts = inner.inserts if isinstance(inner, st.StatementSet) else (inner,)
        targets = pipeline.bind_targets(env, inserts)  # type: ignore[arg-type]
    if s.analyze and not env.dry:
        return table_result("EXPLAIN", ["plan"], [[redacted(_analyzed(env, targets, s))]])
    is_query = isinstance(inner, st.Select)
    batch = pipeline.runs_as_batch(env, targets[0].plan) if is_query else pipeline.runs_in_batch(env, targets)
    traces: list[list[Step]] = []
    o = env.settings
    chosen = pipeline.optimised(targets, batch, traces=traces, reorder=o.join_reorder, buckets=o.buckets)
    optimised = [t.plan for t in chosen]
    parts = []
    title = "Optimized Logical Plan"
    if batch:
        title += " (batch: one query of DuckDB's)" if len(targets) == 1 else " (batch: queries of DuckDB's)"
    else:
        graph = pipeline.job_graph(env, targets)
        tasks = env.settings.parallelism
        head = f"Physical Plan (streaming, {tasks} task{'s' if tasks > 1 else ''})"
        parts.append((head, "\n".join(text for _, text in graph.lines())))
    parts.append((title, "\n".join(nodes.tree(p) for p in optimised)))
    parts.append(("Logical Plan", "\n".join(nodes.tree(t.plan) for t in targets)))
    if "OPTIMIZER_TRACE" in s.kinds:
        parts.append(("Optimizer Trace", _told(targets, traces)))
    if "JSON_EXECUTION_PLAN" in s.kinds:
        if batch:
            raise NotSupported(
                "EXPLAIN JSON_EXECUTION_PLAN: batch runs one DuckDB query",
                hint="SET 'execution.runtime-mode' = 'streaming'",
                position=s.position,
            )
        parts.append(("Physical Execution Plan", json.dumps(_execution(graph, tasks), indent=2)))
    if "SYNTAX_TREE" in s.kinds:
        parts.append(("Abstract Syntax Tree", show.syntax_tree(inner)))
    parts += [("Flink SQL", text) for text in _translated(env, inner)]
    if batch:
        parts.append(("DuckDB SQL", ";\n".join(pipeline.batch_sql(env, targets))))
    text = "\n\n".join(f"== {title} ==\n{body}" for title, body in parts)
    return table_result("EXPLAIN", ["plan"], [[redacted(text)]])


def _told(targets: list[Target], traces: list[list[Step]]) -> str:
    """The rules that changed each plan, in order, with the plan as each left it: what went (-) and what came (+)."""
    parts = []
    for t, trace in zip(targets, traces, strict=True):
        head = [f"INSERT INTO {t.table}:"] if len(targets) > 1 else []
        shown = [(s.rule, text) for s in trace if (text := s.difference())]
        parts += head + (
            [f"{i}. {rule}\n{text}" for i, (rule, text) in enumerate(shown, 1)] or ["no rule changed the plan"]
        )
    return "\n".join(parts)


def _execution(graph: JobGraph, tasks: int) -> dict[str, object]:
    """The operators as Flink's JSON_EXECUTION_PLAN has them: an exchange is the way to an operator, not one itself."""
    number = {id(n): i + 1 for i, n in enumerate(n for n in graph.nodes if n.name != "Exchange")}
    out = []
    for n in graph.nodes:
        if id(n) not in number:
            continue
        predecessors = []
        for i in n.inputs:
            way = "FORWARD"
            if i.name == "Exchange":
                way, (i,) = ("GLOBAL" if i.details() == "single" else "HASH"), i.inputs
            predecessors.append({"id": number[id(i)], "ship_strategy": way, "side": "second"})
        pact = (
            "Operator"
            if predecessors and not any(n is r for r in graph.roots)
            else "Data Sink"
            if predecessors
            else "Data Source"
        )
        out.append(
            {
                "id": number[id(n)],
                "type": n.name,
                "pact": pact,
                "contents": f"{n.name}({n.details()})",
                "parallelism": tasks,
                **({"predecessors": predecessors} if predecessors else {}),
            }
        )
    return {"nodes": out}


def _translated(env: Environment, s: st.Statement) -> list[str]:
    """What queries in other dialects have become."""
    inserts = s.inserts if isinstance(s, st.StatementSet) else (s,)
    queries = [i.query for i in inserts if isinstance(i, (st.Select, st.Insert))]
    return [sql_of(env.spelled(q)) for q in queries if "dialect" in q.meta]


def _analyzed(env: Environment, targets: list[Target], s: st.Explain) -> str:
    """Runs the statement as a stream; what its operators did. Rows of a query are dropped."""
    if not all(bounded(t.plan) for t in targets):
        raise NotSupported(
            "EXPLAIN ANALYZE runs the statement to its end, and a table of it is unbounded",
            hint="make its inputs end: 'number-of-rows' of datagen, 'events.num' of nexmark, no monitor-interval",
            position=s.position,
        )
    return pipeline.run_job(env, targets).timings()
