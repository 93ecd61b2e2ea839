"""What the decoding of a line of JSON costs: CPU time of one reader, for what each query reads of Nexmark's events.

    python benchmarks/decoding.py --events 1000000 --queries q0,q5

`scanner` and `statement` are the reader's two ways, with the filter and the watermark of the query; `unusual` is the scanner where
no line is as it knows them. `DuckDB` has only the columns, by its own types, which are less strict.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import nexmark
import nexmark_sql
import reports

from sqlstream import duck
from sqlstream.connectors.filesystem import FileSource
from sqlstream.contracts import ScanRequest
from sqlstream.formats.scan.loading import OFF, ON, SWITCH
from sqlstream.session import Session

QUERIES = "q0,q2,q3,q5,q8,q20"


def request_of(query: str, data: Path) -> tuple[FileSource, ScanRequest]:
    """What a job reads of its one file."""
    found: list[tuple[FileSource, ScanRequest]] = []
    reader = FileSource.reader

    def noted(source: FileSource, split: Any, position: Any, request: ScanRequest, first_row: int = 0) -> Any:
        if source._format.name == "json":
            found.append((source, request))
        return reader(source, split, position, request, first_row)

    script = nexmark_sql.script(query, data)
    with mock.patch.object(FileSource, "reader", noted):
        session = Session(options={"parallelism.default": "1"})
        for statement in script.statements:
            list(session.execute(statement))
    return found[0]


def read(source: FileSource, request: ScanRequest) -> int:
    (split,) = source.splits()
    reader, rows = source.reader(split, None, request), 0
    try:
        while not reader.finished:
            got = reader.poll(1 << 20)
            rows += 0 if got is None else got.batch.num_rows
    finally:
        reader.close()
    return rows


def by_duckdb(file: Path, request: ScanRequest) -> int:
    tree: dict[str, Any] = {}
    for c in request.columns:
        node = tree
        for name in c.path[:-1]:
            node = node.setdefault(name, {})
        node[c.path[-1]] = c.type.duckdb()
    columns = ", ".join(f"{name}: '{_struct(t)}'" for name, t in tree.items())
    values = ", ".join(f"{'.'.join(c.path)} AS c{i}" for i, c in enumerate(request.columns))
    con = duck.connect(1)
    call = f"read_json('{file}', format='newline_delimited', records=true, columns={{{columns}}}, auto_detect=false)"
    rows = sum(b.num_rows for b in con.sql(f"SELECT {values} FROM {call}").to_arrow_reader(131_072))
    con.close()
    return rows


def _struct(t: Any) -> str:
    return t if isinstance(t, str) else "STRUCT(" + ", ".join(f"{n} {_struct(x)}" for n, x in t.items()) + ")"


def nanoseconds(once: Callable[[], int], events: int, runs: int) -> float:
    """Of CPU a line, the least of some runs: what is more is other work's."""
    least = float("inf")
    for _ in range(runs):
        started = time.process_time()
        rows = once()
        least = min(least, time.process_time() - started)
        assert rows == events, (rows, events)
    return least / events * 1e9


def with_unusual_keys(data: Path) -> Path:
    """The same events, with an escape in a key of each line."""
    (file,) = data.glob("*.json")
    out = data.parent / f"{data.name}-unusual"
    out.mkdir(exist_ok=True)
    if not (out / file.name).exists():
        partial = out / "partial"
        partial.write_bytes(file.read_bytes().replace(b'"event_type"', b'"event\\u005ftype"'))
        partial.rename(out / file.name)
    return out


def measure(query: str, data: Path, events: int, runs: int) -> list[float]:
    (file,) = data.glob("*.json")
    figures = []
    for way, of in ((ON, data), (OFF, data), (ON, with_unusual_keys(data))):
        os.environ[SWITCH] = way
        source, request = request_of(query, of)
        figures.append(nanoseconds(partial(read, source, request), events, runs))
    return [*figures, nanoseconds(lambda: by_duckdb(file, request), events, runs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--queries", default=QUERIES)
    parser.add_argument("--runs", type=int, default=5, help="the least counts")
    arguments = parser.parse_args()
    data = nexmark.prepare(arguments.events, 1)
    rows = []
    for query in arguments.queries.split(","):
        figures = measure(query, data, arguments.events, arguments.runs)
        rows.append((query, *(f"{x:,.0f}" for x in figures), f"{figures[1] / figures[0]:.1f}"))
    print("CPU ns a line, one reader")
    print(reports.table(("query", "scanner", "statement", "unusual", "DuckDB", "statement / scanner"), rows))


if __name__ == "__main__":
    main()
