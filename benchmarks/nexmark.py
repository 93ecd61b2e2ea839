"""Nexmark, side by side: sqlstream as a stream, DuckDB as batch (the floor) and Flink (the peer), on the same files.

    python benchmarks/nexmark.py --events 1000000 --queries q0,q5 --runs 3

Each run is a process of its own, one at a time. `benchmarks/README.md` says what is measured and how to read it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb_runner
import flink_runner
import nexmark_sql
import processes
import reports
import sqlstream_call
from sqlstream_call import Call

HERE = Path(__file__).resolve().parent
ENGINES = (
    "sqlstream", "sqlstream-before", "sqlstream-batch", "sqlstream-parquet", "sqlstream-csv", "sqlstream-generator",
    "duckdb", "flink",
)  # fmt: skip
WARMUP_EVENTS = 20_000


@dataclass(frozen=True)
class Settings:
    """What all engines get alike. `checkpoint_seconds` 0: no checkpoints (DuckDB has none anyway)."""

    data: Path
    warmup: Path
    events: int
    parallelism: int
    checkpoint_seconds: float
    timeout: float
    epoch_rows: int | None = None  # of sqlstream; None: it chooses by load
    profile: bool = False  # of sqlstream: with operator timings
    before: Path | None = None  # the checkout of another commit, for sqlstream-before
    backend: str | None = None  # state.backend.type of sqlstream; None: its default


@dataclass(frozen=True)
class Measurement:
    """Medians over the runs of one query on one engine; or `error`, and no figures."""

    seconds: float | None = None
    wall_seconds: float | None = None  # of the whole process
    cpu_seconds: float | None = None  # of the whole process
    peak_bytes: int | None = None
    checkpoints: float | None = None
    runs: tuple[dict[str, Any], ...] = ()
    error: str | None = None


# ---- the engines: how a runner is called


def run_once(engine: str, query: str, settings: Settings) -> processes.Finished:
    with tempfile.TemporaryDirectory(prefix=f"nexmark-{engine}-", dir=HERE / "data") as scratch:
        command, job, env = _JOBS[engine](query, settings, Path(scratch))
        return processes.run(command, job, cwd=nexmark_sql.ROOT, env=os.environ | env, timeout=settings.timeout)


def _sqlstream(query: str, settings: Settings, scratch: Path, script: nexmark_sql.Script | None = None) -> Call:
    script = script or nexmark_sql.script(query, settings.data)
    options = {"parallelism.default": str(settings.parallelism)}
    options |= sqlstream_call.checkpointing(settings.checkpoint_seconds, scratch / "checkpoints")
    if settings.backend:
        options["state.backend.type"] = settings.backend
    if settings.epoch_rows:
        options["execution.epoch.max-rows"] = str(settings.epoch_rows)
    return sqlstream_call.call(script.setup, script.statements[-1], options, settings.profile)


def _sqlstream_before(query: str, settings: Settings, scratch: Path) -> Call:
    """The same statements, run by the package and the runner of the other checkout."""
    assert settings.before is not None
    _, job, env = _sqlstream(query, settings, scratch)
    path = os.pathsep.join(filter(None, (str(settings.before), os.environ.get("PYTHONPATH"))))
    runner = settings.before / "benchmarks" / sqlstream_call.RUNNER.name
    return [sys.executable, str(runner)], job, env | {"PYTHONPATH": path}


def _sqlstream_batch(query: str, settings: Settings, scratch: Path) -> Call:
    script = nexmark_sql.script(query, settings.data)
    options = {"execution.runtime-mode": "batch", "parallelism.default": str(settings.parallelism)}
    return sqlstream_call.call(script.setup, script.statements[-1], options)


def _sqlstream_parquet(query: str, settings: Settings, scratch: Path) -> Call:
    return _sqlstream(query, settings, scratch, nexmark_sql.script(query, as_parquet(settings.data), "parquet"))


def _sqlstream_csv(query: str, settings: Settings, scratch: Path) -> Call:
    return _sqlstream(query, settings, scratch, nexmark_sql.from_csv(query, as_csv(settings.data)))


def _sqlstream_generator(query: str, settings: Settings, scratch: Path) -> Call:
    return _sqlstream(query, settings, scratch, nexmark_sql.generated(query, settings.events, settings.parallelism))


def _duckdb(query: str, settings: Settings, scratch: Path) -> Call:
    job = {
        "sql": nexmark_sql.duckdb_sql(query),
        "files": str(settings.data / "*.json"),
        "side_input": str(nexmark_sql.SIDE_INPUT),
        "threads": settings.parallelism,
    }
    return [sys.executable, str(HERE / "duckdb_runner.py")], job, {}


def _flink(query: str, settings: Settings, scratch: Path) -> Call:
    scripts = {d: nexmark_sql.flink_script(query, d) for d in (settings.data, settings.warmup)}
    calls = {d: {"setup": s.setup, "job": s.statements[-1]} for d, s in scripts.items()}
    job = {
        **calls[settings.data],
        "warmup": calls[settings.warmup],
        "options": flink_runner.options(settings.parallelism, settings.checkpoint_seconds, scratch / "checkpoints"),
        "log_directory": str(scratch),
    }
    return [flink_runner.python(), str(HERE / "flink_runner.py")], job, {"FLINK_LOG_DIR": str(scratch)}


_JOBS = {
    "sqlstream": _sqlstream,
    "sqlstream-before": _sqlstream_before,
    "sqlstream-batch": _sqlstream_batch,
    "sqlstream-parquet": _sqlstream_parquet,
    "sqlstream-csv": _sqlstream_csv,
    "sqlstream-generator": _sqlstream_generator,
    "duckdb": _duckdb,
    "flink": _flink,
}


# ---- measuring


def measure(engine: str, query: str, settings: Settings, runs: int) -> Measurement:
    """Medians of `runs` runs; the first failure ends it."""
    if engine == "flink" and query in flink_runner.REFUSED:
        return Measurement(error=f"cannot run: {flink_runner.REFUSED[query]}")
    done = []
    for _ in range(runs):
        finished = run_once(engine, query, settings)
        if finished.result is None:
            return Measurement(error=finished.error)
        done.append(
            {
                **finished.result,
                "process_wall_seconds": finished.wall_seconds,
                "process_cpu_seconds": finished.cpu_seconds,
                "peak_bytes": finished.peak_bytes,
            }
        )
    counts = [r["checkpoints"] for r in done if r.get("checkpoints") is not None]
    return Measurement(
        seconds=statistics.median(r["seconds"] for r in done),
        wall_seconds=statistics.median(r["process_wall_seconds"] for r in done),
        cpu_seconds=statistics.median(r["process_cpu_seconds"] for r in done),
        peak_bytes=int(statistics.median(r["peak_bytes"] for r in done)),
        checkpoints=statistics.median(counts) if counts else None,
        runs=tuple(done),
    )


class FlinkResults:
    """Flink's measurements, kept in `results/flink-<key>.json`: one file a machine, version, data and settings."""

    def __init__(self, settings: Settings, runs: int, fresh: bool) -> None:
        self._settings, self._runs, self._fresh = settings, runs, fresh
        self._about = {
            "machine": reports.machine(),
            "flink": flink_runner.VERSION,
            "data": _data_identity(settings.data),
            "events": settings.events,
            "options": flink_runner.options(settings.parallelism, settings.checkpoint_seconds, Path("/")),
            "warmup_events": WARMUP_EVENTS,
        }
        key = hashlib.sha256(json.dumps(self._about, sort_keys=True).encode()).hexdigest()[:12]
        self._path = HERE / "results" / f"flink-{key}.json"

    def measure(self, query: str) -> Measurement:
        """A kept measurement of the same SQL with at least as many runs, else a new one, which is kept."""
        kept = json.loads(self._path.read_text()) if self._path.exists() else {**self._about, "queries": {}}
        sql = list(nexmark_sql.flink_script(query, Path("/")).statements)
        found = kept["queries"].get(query)
        if found and not self._fresh and found["sql"] == sql and len(found["measurement"]["runs"]) >= self._runs:
            return Measurement(**found["measurement"])
        measurement = measure("flink", query, self._settings, self._runs)
        if measurement.error is None:
            kept["queries"][query] = {"sql": sql, "measured": reports.now(), "measurement": asdict(measurement)}
            self._path.parent.mkdir(exist_ok=True)
            self._path.write_text(json.dumps(kept, indent=1))
        return measurement


# ---- data


def prepare(events: int, files: int) -> Path:
    """The directory with `events` events in `files` files that advance in time together; made once."""
    target = HERE / "data" / f"{events}-{files}"
    if not target.exists():
        print(f"writing {events:,} events into {target}", file=sys.stderr)
        partial = target.with_name(f".{target.name}-{os.getpid()}")
        arguments = ["--events", str(events), "--files", str(files), "--output", str(partial)]
        generator = [sys.executable, "-m", "sqlstream.connectors.nexmark"]
        try:
            subprocess.run([*generator, *arguments], check=True, cwd=nexmark_sql.ROOT, stdout=sys.stderr)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def as_parquet(directory: Path) -> Path:
    """The same events as Parquet files beside them; made once."""
    return _beside(directory, "parquet", duckdb_runner.to_parquet)


def as_csv(directory: Path) -> Path:
    """The same events as CSV files beside them; made once."""
    return _beside(directory, "csv", duckdb_runner.to_csv)


def _beside(directory: Path, format: str, write: Callable[[Path, Path], None]) -> Path:
    target = directory.with_name(f"{directory.name}-{format}")
    if not target.exists():
        partial = target.with_name(f".{target.name}-{os.getpid()}")
        partial.mkdir()
        try:
            for file in sorted(directory.glob("*.json")):
                print(f"writing {target / file.stem}.{format}", file=sys.stderr)
                write(file, partial / f"{file.stem}.{format}")
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def count_events(directory: Path) -> int:
    """Lines of all files: what the rates are made of."""
    total = 0
    for file in directory.glob("*.json"):
        with file.open("rb") as lines:
            total += sum(block.count(b"\n") for block in iter(lambda: lines.read(1 << 20), b""))
    return total


def _data_identity(directory: Path) -> list[list[Any]]:
    """Name, size and a digest of the first megabyte of every file."""
    out: list[list[Any]] = []
    for file in sorted(directory.glob("*.json")):
        with file.open("rb") as f:
            out.append([file.name, file.stat().st_size, hashlib.sha256(f.read(1 << 20)).hexdigest()[:16]])
    return out


# ---- reporting


def report(results: dict[str, dict[str, Measurement]], events: int, engines: list[str]) -> str:
    """A Markdown table: events a second, ratios of sqlstream to the others, checkpoints, peak memory."""
    others = [e for e in engines if e != "sqlstream"] if "sqlstream" in engines else []
    head = ["query", *(f"{e} k ev/s" for e in engines), *(f"vs {e}" for e in others)]
    head += [f"{e} checkpoints" for e in engines if e in ("sqlstream", "flink")] + [f"{e} MB" for e in engines]
    rows = [[query, *_cells(by, events, engines, others)] for query, by in results.items()]
    rows.append(["geometric mean", *_means(results, events, engines, others)])
    return reports.table(head, rows)


def _cells(by: dict[str, Measurement], events: int, engines: list[str], others: list[str]) -> list[str]:
    rates = [f"{events / by[e].seconds / 1e3:,.0f}" if by[e].seconds else "-" for e in engines]
    ratios = [_shown_ratio(_ratio(by, e)) for e in others]
    counts = [by[e].checkpoints for e in engines if e in ("sqlstream", "flink")]
    peaks = [by[e].peak_bytes for e in engines]
    return [
        *rates,
        *ratios,
        *("-" if c is None else f"{c:g}" for c in counts),
        *("-" if p is None else f"{p / 1e6:,.0f}" for p in peaks),
    ]


def _means(results: dict[str, dict[str, Measurement]], events: int, engines: list[str], others: list[str]) -> list[str]:
    """Of the rates over the queries that the engine ran; of the ratios over those that both ran."""
    rates = [[events / by[e].seconds / 1e3 for by in results.values() if by[e].seconds] for e in engines]
    ratios = [[r for by in results.values() if (r := _ratio(by, e))] for e in others]
    return [
        *(f"{statistics.geometric_mean(r):,.0f}" if r else "-" for r in rates),
        *(f"{_shown_ratio(statistics.geometric_mean(r))} ({len(r)})" if r else "-" for r in ratios),
    ]


def _ratio(by: dict[str, Measurement], other: str) -> float | None:
    ours, theirs = by["sqlstream"].seconds, by[other].seconds
    return theirs / ours if ours and theirs else None


def _shown_ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.{max(0, 1 - math.floor(math.log10(ratio)))}f}"


def write_json(path: Path, results: dict[str, dict[str, Measurement]], settings: Settings, runs: int) -> None:
    figures = {q: {e: asdict(m) for e, m in by.items()} for q, by in results.items()}
    reports.write_json(path, {"settings": asdict(settings), "runs": runs, "queries": figures})


def failures(results: dict[str, dict[str, Measurement]]) -> list[str]:
    return [f"{q} on {e}: {m.error}" for q, by in results.items() for e, m in by.items() if m.error]


# ---- checking


def check() -> int:
    """Compares DuckDB's queries with the Nexmark answers; 0 when all are right."""
    sys.path.insert(0, str(nexmark_sql.ROOT / "tests"))
    import nexmark_answers

    answers = nexmark_answers.load()
    if answers is None:
        print(nexmark_answers.MISSING, file=sys.stderr)
        return 1
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        events = answers.unpack(Path(directory))
        for query in answers.queries:
            connection = duckdb_runner.connect(str(events), str(nexmark_sql.SIDE_INPUT), threads=2)
            result = connection.execute(nexmark_sql.duckdb_sql(query))
            columns = [d[0] for d in result.description]
            difference = nexmark_answers.compare(columns, result.fetchall(), answers.expected(query))
            wrong += difference is not None
            print(f"{query}: {difference or 'as expected'}")
    return 1 if wrong else 0


# ---- the command line


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, help="default: one for each parallel task")
    parser.add_argument("--data", type=Path, help="a directory of Nexmark JSON files to use instead of new ones")
    parser.add_argument(
        "--queries", default=",".join(nexmark_sql.QUERIES), help="q0,q5 or operators; default: Nexmark's"
    )
    parser.add_argument("--engines", default="sqlstream,duckdb,flink", help=f"of {', '.join(ENGINES)}")
    parser.add_argument("--runs", type=int, default=3, help="the median of so many is shown")
    parser.add_argument("--flink-runs", type=int, help="of Flink; default: as --runs")
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--checkpoint-seconds", type=float, default=1.0, help="0: no checkpoints")
    parser.add_argument("--epoch-rows", type=int, help="sqlstream: rows of an epoch at most; default: by load")
    parser.add_argument("--profile", action="store_true", help="sqlstream: print what each operator did")
    parser.add_argument("--before", type=Path, help="a checkout of another commit: what sqlstream-before runs")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one run")
    parser.add_argument("--fresh-flink", action="store_true", help="measure Flink again, whatever is kept")
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--check", action="store_true", help="compare DuckDB's queries with the known answers")
    arguments = parser.parse_args()
    arguments.queries = arguments.queries.replace("operators", ",".join(nexmark_sql.OPERATORS)).split(",")
    arguments.engines = arguments.engines.split(",")
    queries = (*nexmark_sql.QUERIES, *nexmark_sql.OPERATORS)
    for given, known in ((arguments.queries, queries), (arguments.engines, ENGINES)):
        if unknown := [g for g in given if g not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    if ("sqlstream-before" in arguments.engines) != (arguments.before is not None):
        parser.error("sqlstream-before and --before go together")
    return arguments


def main() -> int:
    arguments = _arguments()
    if arguments.check:
        return check()
    (HERE / "data").mkdir(exist_ok=True)
    files = arguments.files or arguments.parallelism
    data = arguments.data or prepare(arguments.events, files)
    if "flink" in arguments.engines and len(list(data.glob("*.json"))) > arguments.parallelism:
        print(
            "Flink reads the files of one task one after another, so with more files than tasks it drops rows of the "
            "later ones from windows as late; use --files or --parallelism so that each file has a task",
            file=sys.stderr,
        )
        return 2
    settings = Settings(
        data=data.resolve(),
        warmup=prepare(WARMUP_EVENTS, files) if "flink" in arguments.engines else data,
        events=count_events(data),
        parallelism=arguments.parallelism,
        checkpoint_seconds=arguments.checkpoint_seconds,
        timeout=arguments.timeout,
        epoch_rows=arguments.epoch_rows,
        profile=arguments.profile,
        before=None if arguments.before is None else arguments.before.resolve(),
    )
    flink = FlinkResults(settings, arguments.flink_runs or arguments.runs, arguments.fresh_flink)
    results: dict[str, dict[str, Measurement]] = {}
    for query in arguments.queries:
        results[query] = {}
        for engine in arguments.engines:
            m = flink.measure(query) if engine == "flink" else measure(engine, query, settings, arguments.runs)
            results[query][engine] = m
            print(f"{query} {engine}: {m.error or f'{m.seconds:.3f} s'}", file=sys.stderr)
            if m.runs and m.runs[-1].get("timings"):
                print(m.runs[-1]["timings"], end="\n\n")
        if arguments.json:  # after each query: an interrupted measurement keeps what it has
            write_json(arguments.json, results, settings, arguments.runs)
    print(report(results, settings.events, arguments.engines))
    for line in failures(results):
        print(f"\n{line}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
