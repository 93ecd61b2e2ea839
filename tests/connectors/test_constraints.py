"""Rows that a database's constraints refuse, in jobs that write exactly once: the job stops and says which, and goes on when it may."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.servers import MariaDB, PostgreSQL

from sqlstream.errors import DataError
from sqlstream.runtime.failures import passes
from sqlstream.session import Session

Sql = Callable[[str], str]


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Iterator[tuple[str, Sql, dict[str, str]]]:
    server: PostgreSQL | MariaDB = request.getfixturevalue(request.param)
    name = server.database()
    url = f"jdbc:{'postgresql' if isinstance(server, PostgreSQL) else 'mariadb'}://{server.address}/{name}"
    run: Any = server.psql if isinstance(server, PostgreSQL) else server.sql
    user = "postgres" if isinstance(server, PostgreSQL) else "root"
    yield request.param, lambda sql: run(sql, name), {"url": url, "username": user, "password": server.password}


def job(directory: Path, options: dict[str, str], name: str, key: str = "") -> None:
    said = ", ".join(f"'{k}' = '{v}'" for k, v in {**options, "table-name": name}.items())
    script = f"""
      CREATE TABLE s (a BIGINT, b STRING) WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json');
      CREATE TABLE t (a BIGINT, b STRING{key}) WITH ('connector' = 'jdbc', 'sink.delivery-guarantee' = 'exactly-once', {said});
      INSERT INTO t SELECT a, b FROM s;"""
    chosen = {
        "execution.runtime-mode": "streaming", "execution.checkpointing.dir": "cp", "pipeline.name": name,
        "execution.epoch.max-rows": "10", "execution.checkpointing.interval": "1 ms", "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "1000", "restart-strategy.fixed-delay.delay": "1 s",
    }  # fmt: skip
    for result in Session(working_directory=str(directory), options=chosen).execute(script):
        for _ in result.batches():
            pass


# A constraint, the row that it refuses (the 30th), what the message says of it in PostgreSQL and in MariaDB, and what mends it
CASES = {
    "check": ("CONSTRAINT {t}_c CHECK (b <> 'no')", "no", "{t}_c", "ALTER TABLE {t} DROP CONSTRAINT {t}_c"),
    "unique": ("CONSTRAINT {t}_u UNIQUE (b)", "taken", "{t}_u", "DELETE FROM {t} WHERE a = -1"),
    "foreign key": (
        "CONSTRAINT {t}_f FOREIGN KEY (b) REFERENCES {t}_p (b)", "no", "{t}_f", "INSERT INTO {t}_p VALUES ('no')",
    ),
    "not null": ("", None, "b", "ALTER TABLE {t} {nullable}"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "keyed"), [("check", False), ("unique", True), ("foreign key", True), ("not null", False)]
)
def test_a_row_that_a_constraint_refuses(
    database: tuple[str, Sql, dict[str, str]], tmp_path: Path, kind: str, keyed: bool
) -> None:
    server, sql, options = database
    name = f"t{uuid.uuid4().hex[:8]}"
    constraint, bad, told, mends = (x and x.format(t=name, nullable="{nullable}") for x in CASES[kind])
    assert told and mends is not None
    names = [bad if n == 30 else f"r{n}" for n in range(100)]
    given = [n for n in names if n != "no" and n is not None]
    sql(f"CREATE TABLE {name}_p (b varchar(9) PRIMARY KEY)")
    sql(f"INSERT INTO {name}_p VALUES {', '.join(repr((n,)).replace(',)', ')') for n in given)}")
    null = "NOT NULL" if bad is None else ""
    columns = f"a bigint PRIMARY KEY, b varchar(9) {null}" + (f", {constraint}" if constraint else "")
    sql(f"CREATE TABLE {name} ({columns})")
    if kind == "unique":
        sql(f"INSERT INTO {name} VALUES (-1, 'taken')")
    (tmp_path / "in").mkdir()
    lines = [json.dumps({"a": n, "b": b}) for n, b in enumerate(names)]
    (tmp_path / "in" / "1.json").write_text("\n".join(lines) + "\n")
    key = ", PRIMARY KEY (a) NOT ENFORCED" if keyed else ""
    for _ in range(2):  # it does not try for ever, and starting it anew says the same
        with pytest.raises(DataError) as e:
            job(tmp_path, options, name, key)
        message = e.value.message
        assert not passes(e.value) and message.startswith("table t: ") and name in message, message
        # MariaDB does not say which unique index it is where a row takes the place of another one: its columns are told
        assert told in message or (server, kind) == ("mariadb", "unique") and f"{name}`: (b)" in message, message
        # the row: by its record, or as the server shows it
        assert any(x in message for x in ('"a": 30,', "(30, ", "a=30", f"({bad})")), message
    done = int(sql(f"SELECT count(*) FROM {name} WHERE a >= 0"))
    assert done % 10 == 0 and done <= 30
    nullable = "ALTER COLUMN b DROP NOT NULL" if server == "postgresql" else "MODIFY b varchar(9)"
    sql(mends.format(nullable=nullable))
    job(tmp_path, options, name, key)
    assert sql(f"SELECT count(*), count(DISTINCT a), min(a), max(a) FROM {name}").split() in (
        ["100|100|0|99"], ["100", "100", "0", "99"],
    )  # fmt: skip
    assert sql(f"SELECT count(*) FROM sqlstream_staged WHERE owner LIKE '{name}%'").strip() == "0"
