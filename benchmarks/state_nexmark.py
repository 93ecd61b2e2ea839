"""Part of `state.py`: the Nexmark queries with state on each backend, beside Flink on RocksDB."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import nexmark
import reports
from state_figures import shown

STATEFUL = ("q3", "q4", "q5", "q6", "q7", "q8", "q9", "q11", "q12", "q15", "q16", "q17", "q18", "q19", "q20", "q23")
OTHER, OWN = "hashmap", "rocksdb"
EACH, MEAN = 0.8, 0.93  # goals: of the rate on hashmap
EACH_FLINK, MEAN_FLINK = 4.0, 8.0  # goals: times Flink's rate
PARALLELISM, CHECKPOINT_SECONDS = 2, 1.0

Rates = Mapping[str, float]  # events a second, by backend, and `flink`


def compare(
    queries: Sequence[str],
    backends: Sequence[str],
    events: int,
    events_flink: int,
    runs: int,
    flink: bool,
    timeout: float,
) -> tuple[str, list[str], dict[str, Any]]:
    """The table, what failed, and all figures. Backends take turns; Flink runs once, or what was kept of it counts."""
    (nexmark.HERE / "data").mkdir(exist_ok=True)
    settings = _settings(events, timeout)
    kept = None
    if flink:
        of_flink = settings if events_flink == events else _settings(events_flink, timeout)
        of_flink = replace(of_flink, warmup=nexmark.prepare(nexmark.WARMUP_EVENTS, PARALLELISM))
        kept = nexmark.FlinkResults(of_flink, runs=1, fresh=False)
    found: dict[str, dict[str, Any]] = {}
    rates: dict[str, dict[str, float]] = {}
    peaks: dict[str, dict[str, float]] = {}
    failures = []
    for query in queries:
        done: dict[str, list[nexmark.Measurement]] = {b: [] for b in backends}
        for _ in range(runs):
            for backend in backends:
                done[backend].append(nexmark.measure("sqlstream", query, replace(settings, backend=backend), 1))
        if kept is not None:
            done["flink"] = [kept.measure(query)]
        rates[query], peaks[query] = {}, {}
        for engine, measurements in done.items():
            if errors := [m.error for m in measurements if m.error]:
                failures.append(f"{query} on {engine}: {errors[0]}")
                continue
            count = events_flink if engine == "flink" else events
            rates[query][engine] = count / statistics.median(m.seconds or 0 for m in measurements)
            peaks[query][engine] = max(m.peak_bytes or 0 for m in measurements)
            print(f"{query} {engine}: {rates[query][engine] / 1e3:,.0f} k events/s", file=sys.stderr)
        found[query] = {engine: [asdict(m) for m in ms] for engine, ms in done.items()}
    engines = [*backends, *(["flink"] if flink else [])]
    about = {"events": events, "events_flink": events_flink, "rates": rates, "queries": found}
    return table(engines, rates, peaks), failures, about


def _settings(events: int, timeout: float) -> nexmark.Settings:
    data = nexmark.prepare(events, PARALLELISM).resolve()
    count = nexmark.count_events(data)
    return nexmark.Settings(data, data, count, PARALLELISM, CHECKPOINT_SECONDS, timeout)


def table(engines: Sequence[str], rates: Mapping[str, Rates], peaks: Mapping[str, Rates]) -> str:
    """Rates, RocksDB's ratios to the others, and peak memory; below, the geometric means and the goals."""
    backends = [e for e in engines if e != "flink"]
    own = OWN if OWN in engines else backends[-1]
    others = [e for e in engines if e != own]
    head = ["query", *(f"{e} k ev/s" for e in engines), *(f"{own} / {e}" for e in others)]
    head += [f"{e} MB" for e in engines]
    rows = []
    ratios: dict[str, list[float]] = {e: [] for e in others}
    for query, by in rates.items():
        cells = [f"{by[e] / 1e3:,.0f}" if e in by else "-" for e in engines]
        for e in others:
            both = own in by and e in by
            cells.append(shown(by[own] / by[e]) if both else "-")
            if both:
                ratios[e].append(by[own] / by[e])
        rows.append([query, *cells, *(f"{peaks[query][e] / 1e6:,.0f}" if e in by else "-" for e in engines)])
    blank = [""] * len(engines)
    for name, of in (("geometric mean", statistics.geometric_mean), ("least", min)):
        rows.append([name, *blank, *(f"{shown(of(r))} ({len(r)})" if r else "-" for r in ratios.values())])
    goals = {OTHER: (MEAN, EACH), "flink": (MEAN_FLINK, EACH_FLINK)}
    for i, name in enumerate(("goal of the mean", "goal of each")):
        rows.append([name, *blank, *(f"≥ {goals[e][i]:g}" if own == OWN and e in goals else "" for e in others)])
    return reports.table(head, rows)
