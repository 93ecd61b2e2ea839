"""What the decoding of a line costs: CPU time of one reader, for what each query reads of Nexmark's events.

    python benchmarks/decoding.py --events 1000000 --queries q0,q5
    python benchmarks/decoding.py --format csv

`scanner` and `statement` are the reader's two ways, with the filter and the watermark of the query; `blocks` is what reads remote and
compressed files, and goes on within one, without the scanner; `unusual` is the scanner where no line is as it knows them. `DuckDB` has
only the columns, by its own types, which are less strict. CSV has the fields of all kinds of events as 26 columns; `bids`, `bids4` and
`bids2` read 7, 4 and 2 columns of a file of bids alone, which has 7.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import nexmark
import nexmark_sql
import reports

from sqlstream import duck
from sqlstream.connectors.filesystem import FileSource
from sqlstream.contracts import ScanRequest
from sqlstream.formats.scan.loading import OFF, ON, SWITCH
from sqlstream.session import Session

QUERIES = {"json": "q0,q2,q3,q5,q8,q20", "csv": "bids,bids4,bids2,q0,q2,q3,q5,q8,q20"}
BIDS = {
    "bids": "*",
    "bids4": "auction, bidder, price, `dateTime`",
    "bids2": "auction, price",
}
TABLE = """CREATE TABLE bids (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING)
    WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv')"""
Data = tuple[str, Path]  # of a format


def statements(query: str, data: Data) -> tuple[str, ...]:
    """A job that reads what the query reads."""
    format, directory = data
    if query in BIDS:
        select = f"SELECT {BIDS[query]} FROM bids"
        return TABLE.format(directory.resolve()), f"CREATE TABLE discarded WITH ('connector' = 'blackhole') AS {select}"
    made = nexmark_sql.from_csv if format == "csv" else nexmark_sql.script
    return made(query, directory).statements


def request_of(query: str, data: Data) -> tuple[FileSource, ScanRequest]:
    """What a job reads of its one file."""
    found: list[tuple[FileSource, ScanRequest]] = []
    reader = FileSource.reader

    def noted(source: FileSource, split: Any, position: Any, request: ScanRequest, first_row: int = 0) -> Any:
        if source._format.name == data[0]:
            found.append((source, request))
        return reader(source, split, position, request, first_row)

    with mock.patch.object(FileSource, "reader", noted):
        session = Session(options={"parallelism.default": "1"})
        for statement in statements(query, data):
            list(session.execute(statement))
    return found[0]


def read(source: FileSource, request: ScanRequest, position: Any = None) -> int:
    (split,) = source.splits()
    reader, rows = source.reader(split, position, request), 0
    try:
        while not reader.finished:
            got = reader.poll(1 << 20)
            rows += 0 if got is None else got.batch.num_rows
    finally:
        reader.close()
    return rows


def by_duckdb(file: Path, source: FileSource, request: ScanRequest) -> int:
    values = ", ".join(f"{'.'.join(c.path)} AS c{i}" for i, c in enumerate(request.columns))
    con = duck.connect(1)
    call = _read_csv(file, source) if file.suffix == ".csv" else _read_json(file, request)
    rows = sum(b.num_rows for b in con.sql(f"SELECT {values} FROM {call}").to_arrow_reader(131_072))
    con.close()
    return rows


def _read_csv(file: Path, source: FileSource) -> str:
    columns = ", ".join(f"'{c.name}': '{c.type.duckdb()}'" for c in source._table.schema)
    return f"read_csv('{file}', header=false, auto_detect=false, quote='\"', escape='\"', columns={{{columns}}})"


def _read_json(file: Path, request: ScanRequest) -> str:
    tree: dict[str, Any] = {}
    for c in request.columns:
        node = tree
        for name in c.path[:-1]:
            node = node.setdefault(name, {})
        node[c.path[-1]] = c.type.duckdb()
    columns = ", ".join(f"{name}: '{_struct(t)}'" for name, t in tree.items())
    return f"read_json('{file}', format='newline_delimited', records=true, columns={{{columns}}}, auto_detect=false)"


def _struct(t: Any) -> str:
    return t if isinstance(t, str) else "STRUCT(" + ", ".join(f"{n} {_struct(x)}" for n, x in t.items()) + ")"


def nanoseconds(once: Callable[[], int], lines: int, runs: int) -> float:
    """Of CPU a line, the least of some runs: what is more is other work's."""
    least = float("inf")
    for _ in range(runs):
        started = time.process_time()
        rows = once()
        least = min(least, time.process_time() - started)
        assert rows == lines, (rows, lines)
    return least / lines * 1e9


def bids_of(data: Path) -> Path:
    """The bids of events, as a CSV file of their own."""
    out = data.parent / f"{data.name}-bids"
    if not out.exists():
        partial = out.with_name(f".{out.name}")
        partial.mkdir(exist_ok=True)
        (file,) = data.glob("*.json")
        with duckdb.connect() as con:
            bid = "STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, dateTime VARCHAR, extra VARCHAR)"
            call = f"read_json('{file}', format='newline_delimited', columns={{event_type: 'INT', bid: '{bid}'}})"
            con.execute(
                f"COPY (SELECT bid.* FROM {call} WHERE event_type = 2) TO '{partial / 'bids.csv'}' (HEADER false)"
            )
        partial.rename(out)
    return out


def unusual_of(data: Data) -> Data:
    """The same events, with an escape in a key of each line, or a number that ends with a point."""
    format, directory = data
    (file,) = directory.glob(f"*.{format}")
    out = directory.parent / f"{directory.name}-unusual"
    out.mkdir(exist_ok=True)
    if not (out / file.name).exists():
        partial = out / "partial"
        text = file.read_bytes()
        if format == "json":
            text = text.replace(b'"event_type"', b'"event\\u005ftype"')
        else:
            text = re.sub(rb"(?m)^(\d+)", rb"\1.", text)
        partial.write_bytes(text)
        partial.rename(out / file.name)
    return format, out


def data_of(query: str, format: str, events: Path) -> Data:
    return format, bids_of(events) if query in BIDS else nexmark.as_csv(events) if format == "csv" else events


START = {"row": 0, "byte": 0, "line": 1, "skip": 0}


def measure(query: str, data: Data, runs: int) -> list[float]:
    (file,) = data[1].glob(f"*.{data[0]}")
    with file.open("rb") as lines:
        count = sum(1 for _ in lines)
    figures = []
    for way, of, position in (
        (ON, data, None), (OFF, data, None), (OFF, data, START), (ON, unusual_of(data), None)
    ):  # fmt: skip
        os.environ[SWITCH] = way
        source, request = request_of(query, of)
        figures.append(nanoseconds(partial(read, source, request, position), count, runs))
    return [*figures, nanoseconds(lambda: by_duckdb(file, source, request), count, runs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--format", choices=("json", "csv"), default="json")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--queries", help="default: some of different projections")
    parser.add_argument("--runs", type=int, default=5, help="the least counts")
    arguments = parser.parse_args()
    events = nexmark.prepare(arguments.events, 1)
    rows = []
    for query in (arguments.queries or QUERIES[arguments.format]).split(","):
        figures = measure(query, data_of(query, arguments.format, events), arguments.runs)
        rows.append((query, *(f"{x:,.0f}" for x in figures), f"{figures[1] / figures[0]:.1f}"))
    print("CPU ns a line, one reader")
    names = ("query", "scanner", "statement", "blocks", "unusual", "DuckDB", "statement / scanner")
    print(reports.table(names, rows))


if __name__ == "__main__":
    main()
