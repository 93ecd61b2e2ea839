"""Records of JSON from Kafka, read, parsed and counted, or written to another topic: sqlstream and Flink, from one broker.

    python benchmarks/kafka_records.py --records 2000000
    python benchmarks/kafka_records.py --records 2000000 --engines sqlstream --bootstrap broker:9092

Without `--bootstrap` a broker is started here, as the tests do it (`python -m tests.harness.servers install kafka`), on the same cores. Records
have about 250 bytes, in as many partitions as there are tasks. A table in Flink's SQL is the same for both; Flink's connector comes from
Maven Central. Seconds are those of the job itself, after a smaller one that warms Flink up; CPU is that of the engine's process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import flink_runner
import processes
import reports

ROOT = Path(__file__).resolve().parent.parent
CONNECTOR = "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2"
COLUMNS = "id BIGINT, `user` BIGINT, price DOUBLE, ts TIMESTAMP(3), url STRING, name STRING"
QUERIES = {
    "count": ("n BIGINT", "SELECT COUNT(*) FROM records"),
    "parse": (
        "n BIGINT, p DOUBLE, t TIMESTAMP(3), u STRING",
        "SELECT COUNT(*), SUM(price), MAX(ts), MAX(url) FROM records",
    ),
    "group": ("k BIGINT, n BIGINT, p DOUBLE", "SELECT `user`, COUNT(*), SUM(price) FROM records GROUP BY `user`"),
    "copy": (COLUMNS, "SELECT * FROM records"),
}


def produce(bootstrap: str, topic: str, records: int, partitions: int) -> int:
    """Writes the records; the bytes of one."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "batch.size": 1_000_000,
                         "queue.buffering.max.messages": 1_000_000})  # fmt: skip
    value, path = "", "/".join(["a-long-address"] * 9)
    for i in range(records):
        value = (
            f'{{"id":{i},"user":{i * 7919 % 10_000},"price":{i % 100_000 / 100},"ts":"2026-01-01 00:{i // 60_000 % 60:02}:'
            f'{i // 1000 % 60:02}.{i % 1000:03}","url":"https://example.org/{path}","name":"name-{i % 5000}"}}'
        )
        while True:
            try:
                producer.produce(topic, value, partition=i % partitions)
                break
            except BufferError:
                producer.poll(0.1)
        if i % 1000 == 0:
            producer.poll(0)
    producer.flush()
    return len(value)


def table(name: str, columns: str, bootstrap: str, topic: str, records: int | None, partitions: int) -> str:
    """`records`: how many are read."""
    options = {"connector": "kafka", "topic": topic, "properties.bootstrap.servers": bootstrap, "format": "json"}
    if records is not None:
        ends = ";".join(f"partition:{p},offset:{records // partitions}" for p in range(partitions))
        options |= {"scan.startup.mode": "earliest-offset", "scan.bounded.mode": "specific-offsets",
                    "scan.bounded.specific-offsets": ends}  # fmt: skip
    return f"CREATE TABLE {name} ({columns}) WITH ({', '.join(_option(k, v) for k, v in options.items())})"


def _option(key: str, value: str) -> str:
    return f"'{key}' = '{value}'"


def script(query: str, bootstrap: str, topic: str, records: int, partitions: int) -> tuple[list[str], str]:
    """Tables and the job."""
    columns, select = QUERIES[query]
    out = f"CREATE TABLE written ({columns}) WITH ('connector' = 'blackhole')"
    if query == "copy":
        out = table("written", columns, bootstrap, f"{topic}-copy", None, partitions)
    return [table("records", COLUMNS, bootstrap, topic, records, partitions), out], f"INSERT INTO written {select}"


def jar(directory: Path) -> Path:
    """Flink's connector, by mvn."""
    command = ["mvn", "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy", f"-Dartifact={CONNECTOR}",
               f"-DoutputDirectory={directory}"]  # fmt: skip
    subprocess.run(command, check=True, cwd=directory)
    return next(directory.glob("flink-sql-connector-kafka*.jar"))


def measured(engine: str, query: str, args: argparse.Namespace, bootstrap: str, topic: str, directory: Path) -> Any:
    setup, job = script(query, bootstrap, topic, args.records, args.parallelism)
    if engine == "sqlstream":
        options = {"execution.runtime-mode": "streaming", "parallelism.default": str(args.parallelism),
                   "execution.checkpointing.interval": "1 s", "pipeline.name": f"kafka-{query}",
                   "execution.checkpointing.dir": tempfile.mkdtemp(dir=directory)}  # fmt: skip
        command = [sys.executable, str(ROOT / "benchmarks" / "sqlstream_runner.py")]
        given = {"setup": setup, "job": job, "options": options, "module_path": str(ROOT)}
        return processes.run(command, given, cwd=directory, env=dict(os.environ), timeout=args.timeout)
    logs = Path(tempfile.mkdtemp(dir=directory))
    options = flink_runner.options(args.parallelism, 1.0, Path(tempfile.mkdtemp(dir=directory)))
    options["pipeline.jars"] = args.jar.as_uri()
    warm = dict(
        zip(
            ("setup", "job"), script(query, bootstrap, topic, min(args.records, 200_000), args.parallelism), strict=True
        )
    )
    given = {"setup": setup, "job": job, "warmup": warm, "options": options, "log_directory": str(logs)}
    env = {**os.environ, "FLINK_LOG_DIR": str(logs)}
    command = [flink_runner.python(), str(ROOT / "benchmarks" / "flink_runner.py")]
    return processes.run(command, given, cwd=directory, env=env, timeout=args.timeout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--queries", default=",".join(QUERIES))
    parser.add_argument("--engines", default="sqlstream,flink")
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3, help="of sqlstream; Flink runs once, after a warm-up")
    parser.add_argument("--bootstrap", default="", help="a broker that is there, in place of one that is started")
    parser.add_argument("--timeout", type=float, default=600)
    args = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sqlstream-kafka-")))
        if args.bootstrap:
            bootstrap = args.bootstrap
        else:
            sys.path.insert(0, str(ROOT / "tests"))
            from harness.servers import Kafka

            bootstrap = stack.enter_context(Kafka()).bootstrap
        engines = args.engines.split(",")
        if "flink" in engines:
            args.jar = jar(directory)
        topic = f"records-{os.getpid()}"
        size = produce(bootstrap, topic, args.records, args.parallelism)
        if "copy" in args.queries:
            produce(bootstrap, f"{topic}-copy", 0, args.parallelism)
        print(
            f"{args.records:,} records of {size} bytes, {args.parallelism} partitions and tasks; {reports.now()}",
            flush=True,
        )
        rows = []
        for query in args.queries.split(","):
            rates = {}
            for engine in engines:
                runs = args.runs if engine == "sqlstream" else 1
                found = [measured(engine, query, args, bootstrap, topic, directory) for _ in range(runs)]
                if failed := next((f for f in found if f.result is None), None):
                    print(f"{query}, {engine}: {failed.error[-600:]}", file=sys.stderr)
                    continue
                seconds = statistics.median(f.result["seconds"] for f in found)
                cpu = statistics.median(f.cpu_seconds for f in found)
                rates[engine] = args.records / seconds
                print(query, engine, *(f"{f.result['seconds']:.2f}" for f in found), flush=True)
                rows.append([query, engine, f"{seconds:.2f}", f"{args.records / seconds / 1000:,.0f}",
                             f"{1e6 * cpu / args.records:.2f}", f"{max(f.peak_bytes for f in found) / 2**20:,.0f}"])  # fmt: skip
            if len(rates) == 2:
                rows[-1].append(f"{rates['sqlstream'] / rates['flink']:.1f}")
        head = [
            "query",
            "engine",
            "s",
            "thousand records/s",
            "CPU µs a record, all of the process",
            "peak MB",
            "× Flink",
        ]
        print(reports.table(head, [[*r, *[""] * (len(head) - len(r))] for r in rows]))


if __name__ == "__main__":
    main()
