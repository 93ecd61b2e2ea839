"""queries/connectors: each script runs against a real server, as it stands there, and prints what it says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from harness.servers import NATS, Kafka, MariaDB, PostgreSQL
from harness.topics import Topics

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "queries" / "connectors"
Served = Callable[
    [Any, str, Path], tuple[str, dict[str, str]]
]  # request, script, directory: the script, and the environment


def statements_of(script: str) -> str:
    """What the script's comments say that a database needs."""
    return " ".join(re.findall(r"^--   +(.*)$", script, re.M))


def by_kafka(request: Any, script: str, directory: Path) -> tuple[str, dict[str, str]]:
    kafka: Kafka = request.getfixturevalue("kafka")
    topics = Topics(kafka.bootstrap)
    for name in dict.fromkeys(re.findall(r"'topic' = '(\w+)'", script)):
        script = script.replace(f"'topic' = '{name}'", f"'topic' = '{topics.new(2)}'")
    return script, {"KAFKA_SERVERS": kafka.bootstrap}


def by_postgresql(request: Any, script: str, directory: Path) -> tuple[str, dict[str, str]]:
    postgresql: PostgreSQL = request.getfixturevalue("postgresql")
    database = postgresql.database()
    postgresql.psql(statements_of(script), database)
    host, port = postgresql.address.split(":")
    return script, {
        "POSTGRES_URL": postgresql.url(database), "POSTGRES_HOST": host, "POSTGRES_PORT": port, "POSTGRES_USER": "postgres",
        "POSTGRES_PASSWORD": postgresql.password, "POSTGRES_DATABASE": database,
    }  # fmt: skip


def by_sqlite(request: Any, script: str, directory: Path) -> tuple[str, dict[str, str]]:
    with sqlite3.connect(directory / "shop") as c:
        c.executescript(statements_of(script).split('"')[1])
    return script, {"SHOP": str(directory / "shop")}


def by_duckdb(request: Any, script: str, directory: Path) -> tuple[str, dict[str, str]]:
    with duckdb.connect(str(directory / "shop")) as c:
        c.execute(statements_of(script).split('"')[1])
    return script, {"SHOP": str(directory / "shop")}


def by_lake(request: Any, script: str, directory: Path) -> tuple[str, dict[str, str]]:
    (directory / "lake").mkdir()
    return script, {"LAKE": str(directory / "lake")}


def by_mariadb(request: Any, script: str, directory: Path) -> tuple[str, dict[str, str]]:
    server: MariaDB = request.getfixturevalue("mariadb")
    database = server.database()
    server.sql(statements_of(script), database)
    return script, {"MYSQL_URL": f"mysql://root:{server.password}@{server.address}/{database}"}


def by_nats(request: Any, script: str, directory: Path) -> tuple[str, dict[str, str]]:
    from test_nats import Streams

    server: NATS = request.getfixturevalue("nats")
    streams = Streams(server)
    there = streams.do(lambda js: js.streams_info())
    for name in ("readings", "hot"):
        if any(stream.config.name == name for stream in there):  # of a run before
            streams.do(lambda js, name=name: js.delete_stream(name))
        streams.do(lambda js, name=name: js.add_stream(name=name, subjects=[f"{name}.*"]))
    return script, {"NATS_URL": f"nats://{server.address}"}


SERVED: dict[str, Served] = {
    "kafka": by_kafka, "upsert_kafka": by_kafka, "postgres": by_postgresql, "sqlite": by_sqlite, "duckdb": by_duckdb,
    "mysql": by_mariadb, "delta": by_lake, "iceberg": by_lake, "nats": by_nats,
}  # fmt: skip


def run(script: str, environment: dict[str, str], directory: Path) -> subprocess.Popen[str]:
    """`sqlstream run` of it, in a directory that has queries/."""
    shutil.copytree(QUERIES / "data", directory / "queries" / "connectors" / "data")
    (directory / "job.sql").write_text(script)
    return subprocess.Popen(
        [sys.executable, "-m", "sqlstream", "run", "job.sql"], cwd=directory, env=os.environ | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_all_are_here() -> None:
    assert {p.stem for p in QUERIES.glob("*.sql")} == {*SERVED, "postgres_cdc"}


@pytest.mark.parametrize("name", SERVED)
def test_query(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    text = (QUERIES / f"{name}.sql").read_text()
    wanted = "".join(f"{line}\n" for line in re.findall(r"^-- ([+|].*)$", text, re.M))
    assert wanted
    job = run(*SERVED[name](request, text, tmp_path), tmp_path)
    out, said = job.communicate(timeout=100)
    assert (job.returncode, out) == (0, wanted), said


def test_changes_of_postgresql(postgresql: PostgreSQL, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    script, environment = by_postgresql(request, (QUERIES / "postgres_cdc.sql").read_text(), tmp_path)
    database = environment["POSTGRES_DATABASE"]
    script = script.replace("totals_of_orders", f"{database}_slot")

    def totals() -> list[str]:
        return postgresql.psql("SELECT * FROM totals ORDER BY 1", database).split()

    def comes(rows: list[str]) -> None:
        end = time.monotonic() + 60
        while totals() != rows:
            assert job.poll() is None, job.communicate()[1]
            assert time.monotonic() < end, totals()
            time.sleep(0.1)

    job = run(script, environment, tmp_path)
    try:
        comes(["ann|2|5.25", "bob|1|2.50"])
        postgresql.psql(
            "UPDATE orders SET amount = 9 WHERE id = 3; DELETE FROM orders WHERE customer = 'bob'", database
        )
        comes(["ann|2|14.00"])
        job.send_signal(signal.SIGINT)
        job.communicate(timeout=60)
    finally:
        job.kill()
        job.communicate()
        postgresql.psql(f"SELECT pg_drop_replication_slot('{database}_slot')", "postgres")
