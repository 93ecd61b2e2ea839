"""DuckDB, the floor: one query of `duckdb_queries/` as batch over the files, its result dropped batch by batch.

Job: sql, files (a glob), side_input, threads. Result: seconds, rows, version.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import duckdb


def connect(files: str, side_input: str, threads: int) -> duckdb.DuckDBPyConnection:
    """A database in memory in which the queries find their files."""
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    connection.execute("SET preserve_insertion_order = false")
    for name, value in (("files", files), ("side_input", side_input)):
        connection.execute(f"SET VARIABLE {name} = '{value}'")
    return connection


EVENT = """{event_type: 'INTEGER',
  person: 'STRUCT(id BIGINT, name VARCHAR, emailAddress VARCHAR, creditCard VARCHAR, city VARCHAR, state VARCHAR,
    dateTime TIMESTAMP, extra VARCHAR)',
  auction: 'STRUCT(id BIGINT, itemName VARCHAR, description VARCHAR, initialBid BIGINT, reserve BIGINT,
    dateTime TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra VARCHAR)',
  bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, dateTime TIMESTAMP,
    extra VARCHAR)'}"""


def to_parquet(json_file: Path, target: Path) -> None:
    """A file of events as Parquet, in the same order."""
    with duckdb.connect() as connection:
        events = f"read_json('{json_file}', format = 'newline_delimited', columns = {EVENT})"
        connection.execute(f"COPY (SELECT * FROM {events}) TO '{target}' (FORMAT parquet)")


def to_csv(json_file: Path, target: Path) -> None:
    """A file of events as CSV without a header, in the same order: event_type and the fields of persons, auctions and bids."""
    with duckdb.connect() as connection:
        events = f"read_json('{json_file}', format = 'newline_delimited', columns = {EVENT})"
        select = "SELECT event_type, unnest(person), unnest(auction), unnest(bid)"
        form = "FORMAT csv, HEADER false, TIMESTAMPFORMAT '%Y-%m-%d %H:%M:%S.%g'"
        connection.execute(f"COPY ({select} FROM {events}) TO '{target}' ({form})")


def measure(job: dict[str, Any]) -> dict[str, Any]:
    connection = connect(job["files"], job["side_input"], job["threads"])
    started = time.perf_counter()
    reader = connection.sql(job["sql"]).to_arrow_reader(65_536)
    rows = sum(batch.num_rows for batch in reader)
    return {"seconds": time.perf_counter() - started, "rows": rows, "version": duckdb.__version__}


if __name__ == "__main__":
    print(json.dumps(measure(json.load(sys.stdin))))
