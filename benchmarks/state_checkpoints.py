"""Parts of `state.py` about checkpoints: what one uploads, and how soon a killed job has its first result again.

The jobs are `sqlstream run`, as users have it. The copy of the newest manifest that a durable job keeps in its own
directory says what a checkpoint consists of, wherever the checkpoints are.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import nexmark_sql
import numpy as np
import processes
import pyarrow as pa
from state_figures import Failed, Figure, Setting
from state_jobs import ALL_AT_ONCE, scattered

POLL = 0.02
MB = 1e6
SETTLED = 64 << 20  # bytes of changelog that RocksDB may leave where it is


# ---- a job and its checkpoints


@dataclass
class DurableJob:
    """A script in a directory of its own; `place`: where its checkpoints go, the directory itself by default.

    `files`: size and kind of all state files that manifests have named since it started.
    """

    directory: Path
    script: str
    options: Mapping[str, str]
    timeout: float
    files: dict[str, tuple[int, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        (self.directory / "job.sql").write_text(self.script)

    @contextlib.contextmanager
    def running(self, output: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Its process, which is killed in the end. `output`: a descriptor for what it prints."""
        given = [a for k, v in self.options.items() for a in ("-D", f"{k}={v}")]
        command = [sys.executable, "-m", "sqlstream", "run", *given, "--progress", "0", "job.sql"]
        path = os.pathsep.join(filter(None, (str(nexmark_sql.ROOT), os.environ.get("PYTHONPATH"))))
        with (self.directory / "errors").open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=os.environ | {"PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if output is None else output,
                stderr=errors,
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def manifest(self) -> dict[str, Any] | None:
        """The newest checkpoint's, with its size as `bytes`."""
        for path in self.directory.glob(".sqlstream/*/manifest.json"):
            text = path.read_bytes()
            with contextlib.suppress(ValueError):
                found: dict[str, Any] = json.loads(text) | {"bytes": len(text)}
                return found
        return None

    def until(self, process: subprocess.Popen[bytes], done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Looks at each checkpoint until `done` says that it is the one. Failed: the job ended, or it takes too long."""
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise Failed(self.error(process))
            if (manifest := self.manifest()) is not None:
                self.files |= {f["name"]: (f["size"], f["kind"]) for f in state_files(manifest)}
                if done(manifest):
                    return manifest
            time.sleep(POLL)
        raise Failed(f"not there after {self.timeout:g} s")

    def error(self, process: subprocess.Popen[bytes]) -> str:
        """How it ended."""
        said = (self.directory / "errors").read_text(errors="replace").strip()
        return f"exit {process.returncode}: {said[-2000:]}"


def state_files(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """All that a manifest names."""
    return [f for o in manifest["operators"].values() for t in o["tasks"] for f in t["files"]]


def _rows(manifest: dict[str, Any]) -> int:
    rows: int = manifest["metrics"]["rows_in"]
    return rows


# ---- what a checkpoint uploads

KEY = 24  # characters, half a byte of chance each

CHANGES = """
CREATE TABLE numbers (k STRING, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'input', 'format' = 'parquet', 'source.monitor-interval' = '100 ms');
CREATE TABLE discarded WITH ('connector' = 'blackhole') AS
SELECT k, COUNT(*) AS c, SUM(n) AS s, MAX(n) AS m FROM numbers GROUP BY k;
"""


def upload(setting: Setting) -> list[Figure]:
    """New state files of the checkpoints that cover a change of 1 %, 10 % and none of the keys: as the changelog has
    it, and (`rocksdb`) until RocksDB has taken it in."""
    figures = list(_uploads(setting, None, ""))
    if setting.backend == "rocksdb":
        figures += _uploads(setting, 1.0, ", all in RocksDB")
    return figures


def _uploads(setting: Setting, fold_seconds: float | None, name: str) -> Iterator[Figure]:
    total = setting.sizes.of(10_000_000)
    goals = {0.01: 6 * setting.sizes.scale, 0.1: 50 * setting.sizes.scale} if not name else {}
    directory = setting.scratch / ("folded" if name else "changelog")
    options = setting.options(1.0, fold_seconds)
    del options["execution.checkpointing.dir"]  # the job's own directory
    job = DurableJob(directory, CHANGES, options, setting.sizes.timeout)
    (directory / "input").mkdir()
    rng = np.random.default_rng(1)
    rows = 0

    def settled(manifest: dict[str, Any]) -> bool:
        kinds = {f["kind"] for f in state_files(manifest)}
        return _rows(manifest) == rows and (fold_seconds is None or "delta" not in kinds)

    with job.running() as process:
        for number, share in enumerate((1.0, 0.01, 0.1)):
            changed = rng.permutation(total)[: int(total * share)]
            before = set(job.files)
            rows += len(changed)
            _offer(directory / "input" / f"{number}.parquet", changed)
            job.until(process, settled)
            if share < 1:
                new = [job.files[f] for f in job.files.keys() - before]
                what = f"upload, {share:.0%} of {total:,} keys{name}"
                yield Figure(what, sum(s for s, _ in new) / MB, "MB", goals.get(share), most=True)
                for kind in sorted({k for _, k in new}):
                    yield Figure(f"{what}: {kind}", sum(s for s, k in new if k == kind) / MB, "MB")
        files, last = set(job.files), job.until(process, settled)["checkpoint_id"]
        manifest = job.until(process, lambda m: m["checkpoint_id"] >= last + 3)
        idle = sum(job.files[f][0] for f in job.files.keys() - files)
        yield Figure(f"upload, no key{name}: state files", idle / MB, "MB", 0 if not name else None, most=True)
        yield Figure(f"upload, no key{name}: manifest", manifest["bytes"] / MB, "MB")


def _offer(path: Path, keys: np.ndarray) -> None:
    """A file that is there at once, whole: each key as a text, with a number of 40 bits by chance."""
    hidden = path.with_name(f".{path.name}")
    with duckdb.connect() as connection:
        connection.register("rows", pa.table({"key": keys}))
        connection.execute(
            f"COPY (SELECT md5(key::VARCHAR)[:{KEY}] AS k, (random() * {1 << 40})::BIGINT AS n FROM rows) "
            f"TO '{hidden}' (FORMAT parquet)"
        )
    hidden.rename(path)


# ---- restarts

TEXT = 100  # characters of each row's text, half a byte of chance each
ROW = 24 + TEXT  # bytes of a key's row: key, COUNT, SUM, text

RESTARTED = """
CREATE TABLE many (n BIGINT, t STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '{fast}',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '{last}', 'fields.t.length' = '{text}');
CREATE TABLE few (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{slow}',
  'fields.n.min' = '0', 'fields.n.max' = '{last}');
CREATE TABLE results (k BIGINT, c BIGINT, s BIGINT, t STRING) WITH ('connector' = 'print');
INSERT INTO results SELECT k, c, s, t FROM (
  SELECT k, COUNT(*) AS c, SUM(n) AS s, MAX(t) AS t, MAX(late) AS late
  FROM (SELECT {key} AS k, n, t, 0 AS late FROM many UNION ALL SELECT {key} AS k, n, '' AS t, 1 AS late FROM few)
  AS both_tables GROUP BY k) AS groups WHERE late = 1;
"""
RESTARTS = 3  # one after the other
TRICKLE = 100  # rows a second that go on for ever


def restart(setting: Setting) -> list[Figure]:
    """Seconds from the start of a process to the first result, after the one before was killed: a GROUP BY whose rows
    go on coming for keys at random, with checkpoints in a local directory, then in an object store."""
    figures = list(_restarts(setting, "local files", {}, goal=3.0))
    with _object_store(setting.scratch) as options:
        figures += _restarts(setting, "S3", options, goal=None)
    return figures


def _restarts(setting: Setting, name: str, more: Mapping[str, str], goal: float | None) -> Iterator[Figure]:
    total = setting.sizes.of(5_000_000_000 // ROW)
    script = RESTARTED.format(fast=ALL_AT_ONCE, slow=TRICKLE, last=total - 1, text=TEXT, key=scattered("n", total))
    options = setting.options(1.0, setting.sizes.fold_seconds)
    del options["execution.checkpointing.dir"]
    job = DurableJob(setting.scratch / name.split()[0], script, options | dict(more), setting.sizes.timeout)
    with job.running() as process:
        manifest = job.until(process, lambda m: _rows(m) >= total)
    yield from _restart(job, manifest, f"restart from {name}, just filled", None)
    with job.running() as process:  # what trickles is a few of these rows, and as few of the others lack
        manifest = job.until(process, lambda m: _changelog(m) < SETTLED or setting.backend != "rocksdb")
    for _ in range(RESTARTS):
        yield from _restart(job, manifest, f"restart from {name}", goal)


def _restart(job: DurableJob, manifest: Mapping[str, Any], name: str, goal: float | None) -> Iterator[Figure]:
    total = sum(f["size"] for f in state_files(manifest)) / 1e9
    seconds, worked = _first_result(job)
    yield Figure(f"{name}: checkpoint", total, "GB")
    yield Figure(f"{name}: of it changelog", _changelog(manifest) / 1e9, "GB")
    yield Figure(f"{name}: first result", seconds, "s", goal, most=True)
    yield Figure(f"{name}: processor time until then", worked, "s")


def _changelog(manifest: Mapping[str, Any]) -> int:
    """Bytes that are not in RocksDB."""
    return sum(f["size"] for f in state_files(manifest) if f["kind"] == "delta")


def _first_result(job: DurableJob) -> tuple[float, float]:
    """Seconds from the start of the process to a result, and of its processor time; then it goes on to its next
    checkpoint."""
    before = job.manifest()
    assert before is not None
    reading, writing = os.pipe()
    try:
        started = time.perf_counter()
        with job.running(writing) as process:
            os.close(writing)
            writing = -1
            if not os.read(reading, 1):
                process.wait()
                raise Failed(job.error(process))
            figures = time.perf_counter() - started, processes.processor_seconds(process.pid)
            os.set_blocking(reading, False)

            def later(manifest: dict[str, Any]) -> bool:
                with contextlib.suppress(BlockingIOError):
                    os.read(reading, 1 << 20)
                return bool(manifest["checkpoint_id"] > before["checkpoint_id"])

            job.until(process, later)
            return figures
    finally:
        for descriptor in {reading, writing} - {-1}:
            os.close(descriptor)


@contextlib.contextmanager
def _object_store(scratch: Path) -> Iterator[dict[str, str]]:
    """An S3 server in a process of its own, and the options of a job that keeps its checkpoints there."""
    server = Path(__file__).with_name("object_store_process.py")
    place = scratch / "store"
    place.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(server)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(place)},
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Failed("the object store did not start: install moto[server] and boto3")
        yield json.loads(line)
    finally:
        process.kill()
        process.communicate()
