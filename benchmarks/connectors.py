"""What goes through each connector: rows written and read again at full speed, and how long a row is under way at a steady rate.

    python benchmarks/connectors.py
    python benchmarks/connectors.py --connectors nats,postgres --rows 100000 --rate 500 --json connectors.json

Servers are started here, as the tests do it (`python -m tests.harness.servers install kafka nats …`), on the same cores; one that is
not installed is said, and left out. A row has a BIGINT, a DOUBLE, a TIMESTAMP(3) and a STRING of 40 characters.
`benchmarks/README.md` says what is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import reports
import sqlstream_call
from processes import Finished

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from harness import servers  # noqa: E402

COLUMNS = "id BIGINT, price DOUBLE, ts TIMESTAMP(3), name STRING"
TICK = 0.005  # seconds between rows that are handed over together
PATIENCE = 60.0  # seconds without any row

Options = dict[str, str]


@dataclass(frozen=True)
class Places:
    """A table of one connector as its options. `read`: what there is now, and then it ends. `followed`: what comes, without end.
    `listens`: what is written while nobody listens is lost, so reading at full speed is timed from the first row to the last.
    `made`: by the first INSERT."""

    written: Options
    read: Options | None
    followed: Options
    keyed: bool = False
    listens: bool = False
    made: bool = False


@dataclass(frozen=True)
class Subject:
    """A connector. `rows`: at full speed. `places`: new ones, empty, with the server and a directory."""

    places: Callable[[Any, Path], Places]
    rows: int
    server: type[servers.Server] | None = None


# ---- the connectors


def files(format: str) -> Callable[[Any, Path], Places]:
    def places(server: None, directory: Path) -> Places:
        options = {"connector": "filesystem", "path": str(directory / "rows"), "format": format}
        (directory / "rows").mkdir()
        return Places(options, options, options | {"source.monitor-interval": "100 ms"})

    return places


def kafka(server: servers.Kafka, directory: Path) -> Places:
    from confluent_kafka.admin import AdminClient, NewTopic

    topic = f"t{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": server.bootstrap})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result()
    options = {"connector": "kafka", "topic": topic, "properties.bootstrap.servers": server.bootstrap, "format": "json"}
    followed = options | {"scan.startup.mode": "earliest-offset"}
    return Places(options, followed | {"scan.bounded.mode": "latest-offset"}, followed)


def nats(server: servers.NATS, directory: Path) -> Places:
    import asyncio

    from nats import connect

    name = f"t{uuid.uuid4().hex[:8]}"

    async def make() -> None:
        client = await connect(f"nats://{server.address}")
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.*"])
        await client.close()

    asyncio.run(make())
    followed = {"connector": "nats", "url": f"nats://{server.address}", "subject": f"{name}.a", "format": "json"}
    return Places(followed, followed | {"stream": name, "scan.bounded.mode": "latest"}, followed | {"stream": name})


def redis(server: servers.Redis, directory: Path) -> Places:
    options = {
        "connector": "redis",
        "url": f"redis://{server.address}/0",
        "data-type": "stream",
        "key": uuid.uuid4().hex,
    }
    return Places(options, options | {"scan.bounded.mode": "latest"}, options)


def rabbitmq(server: servers.RabbitMQ, directory: Path) -> Places:
    options = {"connector": "rabbitmq", "url": f"amqp://{server.address}", "queue": f"t{uuid.uuid4().hex[:8]}",
               "queue.declare": "true", "queue.type": "stream", "format": "json"}  # fmt: skip
    return Places(options, None, options, listens=True)


def mqtt(server: servers.Mosquitto, directory: Path) -> Places:
    options = {
        "connector": "mqtt",
        "url": f"mqtt://{server.address}",
        "topic": f"t{uuid.uuid4().hex[:8]}",
        "format": "json",
    }
    return Places(options, None, options, listens=True)


def delta(server: None, directory: Path) -> Places:
    options = {"connector": "delta", "table-path": str(directory / "lake")}
    return Places(options, options, options | {"mode": "streaming", "updateCheckIntervalMillis": "100"}, made=True)


def iceberg(server: None, directory: Path) -> Places:
    options = {"connector": "iceberg", "catalog-name": "lake", "catalog-type": "sql", "catalog-database": "shop",
               "uri": f"sqlite:///{directory}/catalog.db", "warehouse": str(directory / "lake"), "catalog-table": "t"}  # fmt: skip
    follow = {"streaming": "true", "monitor-interval": "100 ms", "starting-strategy": "TABLE_SCAN_THEN_INCREMENTAL"}
    return Places(options, options, options | follow, made=True)


DDL = "CREATE TABLE t (id BIGINT PRIMARY KEY, price DOUBLE PRECISION, ts {timestamp}, name VARCHAR(40))"


def postgres(server: servers.PostgreSQL, directory: Path) -> Places:
    database = server.database()
    server.psql(DDL.format(timestamp="TIMESTAMP(3)"), database)
    jdbc = {"connector": "jdbc", "url": server.url(database), "table-name": "t"}
    host, _, port = server.address.partition(":")
    return Places(jdbc, jdbc, {
        "connector": "postgres-cdc", "hostname": host, "port": port, "username": "postgres", "password": server.password,
        "database-name": database, "schema-name": "public", "table-name": "t", "slot.name": f"s{uuid.uuid4().hex[:8]}",
    }, keyed=True)  # fmt: skip


def mariadb(server: servers.MariaDB, directory: Path) -> Places:
    database = server.database()
    server.sql(DDL.format(timestamp="DATETIME(3)"), database)
    jdbc = {
        "connector": "jdbc",
        "url": f"mysql://root:{server.password}@{server.address}/{database}",
        "table-name": "t",
    }
    host, _, port = server.address.partition(":")
    return Places(jdbc, jdbc, {
        "connector": "mysql-cdc", "hostname": host, "port": port, "username": "root", "password": server.password,
        "database-name": database, "table-name": "t", "server-id": str(1000 + os.getpid() % 1000),
    }, keyed=True)  # fmt: skip


SUBJECTS = {
    "filesystem json": Subject(files("json"), 2_000_000),
    "filesystem csv": Subject(files("csv"), 2_000_000),
    "filesystem parquet": Subject(files("parquet"), 2_000_000),
    "delta": Subject(delta, 2_000_000),
    "iceberg": Subject(iceberg, 2_000_000),
    "kafka": Subject(kafka, 1_000_000, servers.Kafka),
    "nats": Subject(nats, 200_000, servers.NATS),
    "redis stream": Subject(redis, 200_000, servers.Redis),
    "rabbitmq stream": Subject(rabbitmq, 100_000, servers.RabbitMQ),
    "mqtt": Subject(mqtt, 100_000, servers.Mosquitto),
    "postgres": Subject(postgres, 500_000, servers.PostgreSQL),
    "mariadb": Subject(mariadb, 500_000, servers.MariaDB),
}


# ---- what is measured


def table(name: str, options: Options, keyed: bool = False) -> str:
    given = ", ".join(f"'{k}' = '{v}'" for k, v in options.items())
    return f"CREATE TABLE {name} ({COLUMNS}{', PRIMARY KEY (id) NOT ENFORCED' if keyed else ''}) WITH ({given})"


def generated(rows: int) -> str:
    return table("made", {
        "connector": "datagen", "rows-per-second": "1000000000", "number-of-rows": str(rows), "fields.name.length": "40",
        "fields.id.kind": "sequence", "fields.id.start": "1", "fields.id.end": str(rows),
    })  # fmt: skip


def timed(setup: list[str], job: str, directory: Path) -> float:
    """Seconds of the job, with a checkpoint each second."""
    options = sqlstream_call.checkpointing(1, directory) | {
        "parallelism.default": "2",
        "pipeline.name": uuid.uuid4().hex[:8],
    }
    done: Finished = sqlstream_call.run(setup, job, options)
    if done.result is None:
        raise SystemExit(f"the job failed: {done.error}")
    return float(done.result["seconds"])


def throughput(subject: Subject, server: Any, rows: int, directory: Path) -> tuple[float, float | None]:
    """Rows a second, written and read."""
    places = subject.places(server, directory)
    written = (
        [generated(rows), table("written", places.written, places.keyed)],
        "INSERT INTO written SELECT * FROM made",
    )
    if places.read is not None:
        write = timed(*written, directory)
        dropped = table("dropped", {"connector": "blackhole"})
        read = timed(
            [table("kept", places.read, places.keyed), dropped], "INSERT INTO dropped SELECT * FROM kept", directory
        )
        return rows / write, rows / read
    with printing(places.followed, places.keyed, directory) as lines:
        time.sleep(5)  # until it listens: nobody says so
        write = timed(*written, directory)
        lines.until(rows)
    return rows / write, rows / lines.seconds


def latency(subject: Subject, server: Any, rate: int, seconds: float, warmup: float, directory: Path) -> np.ndarray:
    """Milliseconds from when a row is handed to a job that writes it to when a job that follows the table prints it."""
    places = subject.places(server, directory)
    rows = int(rate * (seconds + warmup))
    source = {"connector": "filesystem", "path": "/dev/stdin", "format": "json"}
    job = [
        table("made", source),
        table("written", places.written, places.keyed),
        "INSERT INTO written SELECT * FROM made",
    ]
    due = np.zeros(rows)
    if places.made:
        none = "INSERT INTO written SELECT * FROM made WHERE id < 0"
        timed([generated(1), table("written", places.written)], none, directory)
    with (
        running(job, directory, stdin=subprocess.PIPE) as writer,
        printing(places.followed, places.keyed, directory) as lines,
    ):
        time.sleep(5)
        began = time.time()
        assert writer.stdin is not None
        for first in range(0, rows, batch := max(1, int(rate * TICK))):
            time.sleep(max(0.0, began + first / rate - time.time()))
            last = min(first + batch, rows)
            due[first:last] = time.time()
            writer.stdin.write(b"".join(
                b'{"id":%d,"price":%d.5,"ts":"2026-01-01 00:00:00","name":"%040d"}\n' % (i, i, i) for i in range(first, last)
            ))  # fmt: skip
            writer.stdin.flush()
        writer.stdin.close()
        lines.until(rows)
    arrived = np.zeros(rows)
    for when, chunk in lines.chunks:
        ids = np.array([int(i) for i in re.findall(rb"^\+[IU]\[(\d+),", chunk, re.M)], np.int64)
        arrived[ids[arrived[ids] == 0]] = when
    skipped = int(rate * warmup)
    return (arrived[skipped:] - due[skipped:]) * 1000


class Lines:
    """What a job prints, and when."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.chunks: list[tuple[float, bytes]] = []
        self._process, self._rows, self._last = process, 0, time.time()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        left, out = b"", self._process.stdout.fileno()
        while chunk := os.read(out, 1 << 20):
            now, (whole, _, left) = time.time(), (left + chunk).rpartition(b"\n")
            if whole:
                self.chunks.append((now, whole))
                self._rows += whole.count(b"\n+") + whole.startswith(b"+")
                self._last = now

    @property
    def seconds(self) -> float:
        """From the first row to the last."""
        return self.chunks[-1][0] - self.chunks[0][0]

    def until(self, rows: int) -> None:
        self._last = time.time()
        while self._rows < rows:
            if self._process.poll() is not None or time.time() - self._last > PATIENCE:
                raise SystemExit(f"{self._rows:,} of {rows:,} rows came")
            time.sleep(0.05)


@contextmanager
def printing(options: Options, keyed: bool, directory: Path) -> Iterator[Lines]:
    job = [
        table("kept", options, keyed),
        table("shown", {"connector": "print"}),
        "INSERT INTO shown SELECT * FROM kept",
    ]
    with running(job, directory, stdout=subprocess.PIPE) as process:
        yield Lines(process)


@contextmanager
def running(job: list[str], directory: Path, **pipes: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`sqlstream run` of statements as a durable job with a checkpoint each second; stopped in the end."""
    name = uuid.uuid4().hex[:8]
    script = directory / f"{name}.sql"
    set_ = {
        "pipeline.name": name,
        "execution.runtime-mode": "streaming",
        **sqlstream_call.checkpointing(1, directory / name),
    }
    script.write_text(";\n".join([*(f"SET '{k}' = '{v}'" for k, v in set_.items()), *job]) + ";\n")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with open(directory / f"{name}.log", "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "sqlstream", "run", str(script)],
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **pipes},
            stderr=errors, cwd=directory, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        try:
            yield process
        except SystemExit as e:
            raise SystemExit(f"{e}: {(directory / f'{name}.log').read_text()[-1500:]}") from None
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


# ---- the command line


def measured(subject: Subject, args: argparse.Namespace) -> dict[str, float]:
    rows = min(subject.rows, args.rows or subject.rows)
    with ExitStack() as stack:
        server = stack.enter_context(subject.server()) if subject.server else None
        made = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connectors-"))) for _ in range(2)]
        write, read = throughput(subject, server, rows, made[0])
        waited = latency(subject, server, args.rate, args.seconds, args.warmup, made[1])
    p50, p99, most = (float(v) for v in np.percentile(waited, (50, 99, 100)))
    return {"rows": rows, "written": write, "read": read or 0.0, "p50": p50, "p99": p99, "max": most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connectors", default=",".join(SUBJECTS), help="default: all")
    parser.add_argument("--rows", type=int, help="at full speed, at most; default: by connector, 100,000 to 2 million")
    parser.add_argument("--rate", type=int, default=1000, help="rows a second of which the latency is measured")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--warmup", type=float, default=5, help="seconds before that, not measured")
    parser.add_argument("--json", type=Path, help="write all figures there")
    args = parser.parse_args()
    chosen = args.connectors.split(",")
    if unknown := [c for c in chosen if c not in SUBJECTS]:
        parser.error(f"no connector {unknown[0]!r}: {', '.join(SUBJECTS)}")
    results: dict[str, dict[str, float]] = {}
    for name in chosen:
        subject = SUBJECTS[name]
        if subject.server is not None and (missing := subject.server.missing()):
            print(f"{name}: {missing}", file=sys.stderr)
            continue
        results[name] = measured(subject, args)
        print(name, {k: round(v, 1) for k, v in results[name].items()}, file=sys.stderr, flush=True)
    head = ["connector", "rows", "thousand rows/s: written", "read", "ms under way: 50th", "99th", "max"]
    rows = [
        [n, f"{r['rows']:,.0f}", f"{r['written'] / 1000:,.0f}", f"{r['read'] / 1000:,.0f}", f"{r['p50']:,.0f}", f"{r['p99']:,.0f}",
         f"{r['max']:,.0f}"]
        for n, r in results.items()
    ]  # fmt: skip
    print(reports.table(head, rows))
    reports.write_json(args.json, {"rate": args.rate, "seconds": args.seconds, "connectors": results})


if __name__ == "__main__":
    main()
