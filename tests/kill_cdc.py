"""Kills a job that follows two tables of a database and writes what it makes of them back, exactly once, until the writers are done.

    python tests/kill_cdc.py --kills 50 --seed 7 [--server mariadb]

Writers change orders and customers all the time, in transactions of one and of many rows. The job joins both, and counts and sums
by customer. It is killed at random moments, in its snapshots too, and goes on each time. In the end its table is what one query of the
database gives.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from harness.lives import NEVER, start
from harness.servers import MariaDB, PostgreSQL
from kill_postgres import Server, asked, url_of

SCRIPT = """
SET 'pipeline.name' = 'followed';
SET 'execution.checkpointing.interval' = '{interval} ms';
SET 'restart-strategy.type' = 'fixed-delay';
SET 'restart-strategy.fixed-delay.attempts' = '1000';
SET 'restart-strategy.fixed-delay.delay' = '200 ms';
CREATE TABLE orders (id INT, customer INT, amount DECIMAL(10, 2), PRIMARY KEY (id) NOT ENFORCED) WITH (
  {follow}, 'table-name' = 'orders'{orders});
CREATE TABLE customers (id INT, name STRING, PRIMARY KEY (id) NOT ENFORCED) WITH (
  {follow}, 'table-name' = 'customers'{customers});
CREATE TABLE totals (customer INT, name STRING, n BIGINT, total DECIMAL(38, 2), PRIMARY KEY (customer) NOT ENFORCED) WITH (
  'connector' = 'jdbc', 'url' = '{url}', 'table-name' = 'totals', 'sink.delivery-guarantee' = 'exactly-once');
INSERT INTO totals SELECT c.id, MAX(c.name), COUNT(*), SUM(o.amount)
  FROM orders AS o JOIN customers AS c ON o.customer = c.id GROUP BY c.id;
"""
FOLLOW = """'connector' = 'postgres-cdc', 'hostname' = '127.0.0.1', 'port' = '{port}', 'username' = 'postgres',
  'password' = '{password}', 'database-name' = '{database}', 'schema-name' = 'public'"""
TABLES = """
CREATE TABLE customers (id int PRIMARY KEY, name text);
CREATE TABLE orders (id int PRIMARY KEY, customer int, amount numeric(10, 2));
CREATE TABLE totals (customer int PRIMARY KEY, name text, n bigint, total numeric(38, 2));
INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(1, 50) i;
INSERT INTO orders SELECT i, i % 60, i FROM generate_series(1, 2000) i;
"""
TRUTH = "SELECT c.id, max(c.name), count(*), sum(o.amount)::numeric(38, 2) FROM orders o JOIN customers c ON o.customer = c.id GROUP BY c.id ORDER BY 1"
FOLLOW_OF_MARIADB = """'connector' = 'mysql-cdc', 'hostname' = '127.0.0.1', 'port' = '{port}', 'username' = 'root',
  'password' = '{password}', 'database-name' = '{database}'"""
TABLES_OF_MARIADB = """
CREATE TABLE customers (id int PRIMARY KEY, name text);
CREATE TABLE orders (id int PRIMARY KEY, customer int, amount decimal(10, 2));
CREATE TABLE totals (customer int PRIMARY KEY, name text, n bigint, total decimal(38, 2));
INSERT INTO customers SELECT seq, concat('customer ', seq) FROM seq_1_to_50;
INSERT INTO orders SELECT seq, seq % 60, seq FROM seq_1_to_2000;
"""
MADE = "SELECT customer, name, n, total FROM totals ORDER BY 1"


@dataclass
class Outcome:
    """What happened so far."""

    kills: int = 0
    jobs: int = 0
    transactions: int = 0


def one_job(server: Server, directory: Path, seed: int, outcome: Outcome, most: int, seconds: float = 120) -> None:
    """A job that is killed so often while others write. AssertionError when its table does not become what it is to be."""
    r = random.Random(seed)
    directory.mkdir(parents=True)
    database = server.database()
    slots = isinstance(server, PostgreSQL)
    asked(server, TABLES if slots else TABLES_OF_MARIADB, database)
    follow = (FOLLOW if slots else FOLLOW_OF_MARIADB).format(
        port=server.port, password=server.password, database=database
    )
    names = {t: f", 'slot.name' = '{database}_{t}'" if slots else "" for t in ("orders", "customers")}
    script = SCRIPT.format(interval=r.choice((50, 200)), follow=follow, url=url_of(server, database), **names)
    (directory / "job.sql").write_text(script)
    done = threading.Event()

    def write() -> None:
        w = random.Random(seed + 1)
        while not done.is_set():
            a, b = w.randrange(2500), w.randrange(50) + 1
            new, ignored = ("INSERT", " ON CONFLICT DO NOTHING") if slots else ("INSERT IGNORE", "")
            series = (
                f"SELECT i, i % 60, 1 FROM generate_series({a}, {a + 30}) i"
                if slots
                else f"SELECT seq, seq % 60, 1 FROM seq_{a}_to_{a + 30}"
            )
            asked(
                server,
                f"BEGIN; UPDATE orders SET amount = {w.randrange(999)}.5 WHERE id BETWEEN {a} AND {a + w.choice((0, 200))}; "
                f"DELETE FROM orders WHERE id % 97 = {w.randrange(97)}; {new} INTO orders {series}{ignored}; "
                f"UPDATE customers SET name = 'c{w.randrange(10**6)}' WHERE id = {b}; "
                f"DELETE FROM customers WHERE id = {w.randrange(50) + 1}; "
                f"{new} INTO customers VALUES ({b}, 'new'){ignored}; COMMIT",
                database,
            )
            outcome.transactions += 1
            time.sleep(w.choice((0.0, 0.05)))

    writer = threading.Thread(target=write)
    writer.start()
    run = None
    try:
        for life in range(most + 1):
            tasks = r.choice((1, 2))
            run = start(directory, ["run", "job.sql", "-D", f"parallelism.default={tasks}"])
            if life < most:
                run.process.join(r.uniform(0.3, 2.5))
                assert run.process.is_alive(), run.text()
                run.process.kill()
                run.process.join()
                outcome.kills += 1
            assert not any(n in run.text() for n in NEVER), run.text()
        done.set()
        writer.join()
        end = time.monotonic() + seconds
        while (truth := asked(server, truth_of(server), database)) != (made := asked(server, MADE, database)):
            assert run.process.is_alive(), run.text()
            assert time.monotonic() < end, f"{run.text()}\n{truth}\n{made}"
            time.sleep(0.1)
        time.sleep(0.5)  # and it stays so
        assert asked(server, MADE, database) == truth
        outcome.jobs += 1
    finally:
        done.set()
        writer.join()
        if run is not None:
            run.process.kill()
            run.process.join()
        if isinstance(server, PostgreSQL):
            drop_slots(server, database)


def truth_of(server: Server) -> str:
    return TRUTH if isinstance(server, PostgreSQL) else TRUTH.replace("sum(o.amount)::numeric(38, 2)", "sum(o.amount)")


def drop_slots(server: PostgreSQL, database: str) -> None:
    drop = f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{database}' AND NOT active"
    while server.psql(f"SELECT count(*) FROM pg_replication_slots WHERE database = '{database}'") != "0\n":
        server.psql(drop)
        time.sleep(0.1)


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--server", choices=("postgresql", "mariadb"), default="postgresql")
    given = parser.parse_args()
    outcome, begun = Outcome(), time.monotonic()
    with (
        (PostgreSQL if given.server == "postgresql" else MariaDB)() as server,
        tempfile.TemporaryDirectory() as directory,
    ):
        n = 0
        while outcome.kills < given.kills:
            one_job(server, Path(directory) / str(n), given.seed + n, outcome, 10)
            n += 1
            print(f"seed {given.seed}, {time.monotonic() - begun:.0f} s: {outcome}", flush=True)


if __name__ == "__main__":
    main()
