"""Kills a job that follows two tables of PostgreSQL and writes what it makes of them back, exactly once, until the writers are done.

    python tests/kill_cdc.py --kills 50 --seed 7

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
from harness.servers import PostgreSQL

SCRIPT = """
SET 'pipeline.name' = 'followed';
SET 'execution.checkpointing.interval' = '{interval} ms';
SET 'restart-strategy.type' = 'fixed-delay';
SET 'restart-strategy.fixed-delay.attempts' = '1000';
SET 'restart-strategy.fixed-delay.delay' = '200 ms';
CREATE TABLE orders (id INT, customer INT, amount DECIMAL(10, 2), PRIMARY KEY (id) NOT ENFORCED) WITH (
  {follow}, 'table-name' = 'orders', 'slot.name' = '{database}_orders');
CREATE TABLE customers (id INT, name STRING, PRIMARY KEY (id) NOT ENFORCED) WITH (
  {follow}, 'table-name' = 'customers', 'slot.name' = '{database}_customers');
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
MADE = "SELECT customer, name, n, total FROM totals ORDER BY 1"


@dataclass
class Outcome:
    """What happened so far."""

    kills: int = 0
    jobs: int = 0
    transactions: int = 0


def one_job(server: PostgreSQL, directory: Path, seed: int, outcome: Outcome, most: int, seconds: float = 120) -> None:
    """A job that is killed so often while others write. AssertionError when its table does not become what it is to be."""
    r = random.Random(seed)
    directory.mkdir(parents=True)
    database = server.database()
    server.psql(TABLES, database)
    follow = FOLLOW.format(port=server.port, password=server.password, database=database)
    script = SCRIPT.format(interval=r.choice((50, 200)), follow=follow, database=database, url=server.url(database))
    (directory / "job.sql").write_text(script)
    done = threading.Event()

    def write() -> None:
        w = random.Random(seed + 1)
        while not done.is_set():
            a, b = w.randrange(2500), w.randrange(50) + 1
            server.psql(
                f"BEGIN; UPDATE orders SET amount = {w.randrange(999)}.5 WHERE id BETWEEN {a} AND {a + w.choice((0, 200))}; "
                f"DELETE FROM orders WHERE id % 97 = {w.randrange(97)}; "
                f"INSERT INTO orders SELECT i, i % 60, 1 FROM generate_series({a}, {a + 30}) i ON CONFLICT DO NOTHING; "
                f"UPDATE customers SET name = 'c{w.randrange(10**6)}' WHERE id = {b}; "
                f"DELETE FROM customers WHERE id = {w.randrange(50) + 1}; "
                f"INSERT INTO customers VALUES ({b}, 'new') ON CONFLICT DO NOTHING; COMMIT",
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
        while (truth := server.psql(TRUTH, database)) != (made := server.psql(MADE, database)):
            assert run.process.is_alive(), run.text()
            assert time.monotonic() < end, f"{run.text()}\n{truth}\n{made}"
            time.sleep(0.1)
        time.sleep(0.5)  # and it stays so
        assert server.psql(MADE, database) == truth
        outcome.jobs += 1
    finally:
        done.set()
        writer.join()
        if run is not None:
            run.process.kill()
            run.process.join()
        drop = f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{database}' AND NOT active"
        while server.psql(f"SELECT count(*) FROM pg_replication_slots WHERE database = '{database}'") != "0\n":
            server.psql(drop)
            time.sleep(0.1)


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    given = parser.parse_args()
    outcome, begun = Outcome(), time.monotonic()
    with PostgreSQL() as server, tempfile.TemporaryDirectory() as directory:
        n = 0
        while outcome.kills < given.kills:
            one_job(server, Path(directory) / str(n), given.seed + n, outcome, 10)
            n += 1
            print(f"seed {given.seed}, {time.monotonic() - begun:.0f} s: {outcome}", flush=True)


if __name__ == "__main__":
    main()
