"""`.slt` files, like sqllogictest's. Records are separated by blank lines; `#` begins a comment line.

    input bids                          a table over JSON lines, given here
    auction INT, price INT, ts TIMESTAMP(3),
    WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
    ----
    [1, 10, "2024-01-01 00:00:01"]      a row: its physical columns in order; or {…}, a line as it is
    file                                what follows is in the next file, which is another split
    ~[1, 10, "2023-01-01 00:00:00"]     a late row: batch reads the table without it where a query says `late`

    input orders changelog              debezium-json: rows begin with + or -, or with * for an update whose row before
                                        holds the PRIMARY KEY alone
    input t csv                         lines as they are
    input t parquet                     Parquet files, in row groups of two rows

    statement ok                        runs before everything that follows: views, functions, SET
    CREATE VIEW …

    statement error <regex>             in every way that `only` leaves; the message with hint and caret is searched
    SELECT …

    query INT, STRING                   the result's types, compared with what the engine derives; may be left out
    SELECT …
    ----
    [1, "a"]                            rows as JSON arrays, in any order; `query … ordered`: batch gives them so

Everything also runs in zones west and east of UTC, unless the file sets `table.local-time-zone`.

Directives stand in lines above the `statement error` or `query` they are for:

    zone UTC          the rows are those in UTC: in another zone the ways need only agree with each other
    late 2            so many rows are late; batch runs without the rows marked ~
    only batch        ways to run: batch, streaming (all three); what is exempt from agreement says why in a comment
    clock             PROCTIME() is a function of the row's position (PositionClock: row n at 2023-11-14 22:13:20 + n ms);
                      `clock 500` has steps of 500 ms. Tables of one file only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script

STEP_MS = 1


@dataclass(frozen=True)
class Input:
    """A table: its columns as DDL, and the lines of its files with whether each is late."""

    name: str
    body: str
    files: tuple[tuple[tuple[str, bool], ...], ...]
    format: str = "json"
    stored: tuple[tuple[str, str], ...] = ()  # of its physical columns name and DuckDB's type

    @property
    def rows(self) -> int:
        return sum(len(f) for f in self.files)

    def write(self, directory: Path, late: bool) -> Path:
        """Writes the files; `late`: with the late rows."""
        place = directory / (self.name if late else f"{self.name}.ontime")
        if not place.exists():
            place.mkdir(parents=True)
            for i, lines in enumerate(self.files):
                text = "".join(line + "\n" for line, is_late in lines if late or not is_late)
                made = place / f"{i:03}.{'csv' if self.format == 'csv' else 'json'}"
                made.write_text(text)
                if self.format == "parquet":
                    self._to_parquet(made)
        return place

    def _to_parquet(self, lines: Path) -> None:
        with duckdb.connect(config={"threads": 1}) as con:
            con.execute("SET TimeZone = 'UTC'")
            columns = ", ".join(f"'{name}': '{kind}'" for name, kind in self.stored)
            rows = con.sql(
                f"FROM read_json('{lines}', format = 'newline_delimited', columns = {{{columns}}})"
            ).to_arrow_table()
        pq.write_table(rows, lines.with_suffix(".parquet"), row_group_size=2)
        lines.unlink()

    def ddl(self, path: Path) -> str:
        options = f"'connector' = 'filesystem', 'path' = '{path}', 'format' = '{self.format}'"
        return f"CREATE TABLE {self.name} ({self.body}) WITH ({options})"


@dataclass(frozen=True)
class Query:
    """A query or a failing statement, with all that stands before it."""

    file: str
    line: int
    sql: str
    inputs: tuple[Input, ...]
    statements: tuple[str, ...]
    types: str = ""
    expected: tuple[str, ...] | None = None
    ordered: bool = False
    error: str | None = None
    late: int | None = None
    only: str | None = None
    clock_ms: int | None = None
    zoned: bool = False

    @property
    def id(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass
class _Reader:
    name: str
    inputs: list[Input] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)


def load(path: Path, before: Path | None = None) -> list[Query]:
    """The queries of a file, over its own inputs and those of `before`. ValueError names the line that is wrong."""
    reader = _Reader(path.stem)
    if before is not None:
        _load(reader, before)
    _load(reader, path)
    return reader.queries


def _load(reader: _Reader, path: Path) -> None:
    lines = path.read_text().splitlines()
    at = 0
    while at < len(lines):
        if not lines[at].strip() or lines[at].startswith("#"):
            at += 1
            continue
        end = at
        while end < len(lines) and lines[end].strip():
            end += 1
        block = [(n + 1, line) for n, line in enumerate(lines[at:end], at) if not line.startswith("#")]
        try:
            _record(reader, block)
        except (ValueError, AssertionError) as e:
            raise ValueError(f"{path}:{block[0][0]}: {e}") from e
        at = end


def _record(reader: _Reader, block: list[tuple[int, str]]) -> None:
    late: int | None = None
    only: str | None = None
    clock: int | None = None
    zoned = False
    while block:
        word, _, rest = block[0][1].partition(" ")
        if word == "late":
            late = int(rest)
        elif word == "only":
            if rest not in ("batch", "streaming"):
                raise ValueError(f"only batch or streaming, not '{rest}'")
            only = rest
        elif word == "zone":
            if rest != "UTC":
                raise ValueError(f"zone UTC, not '{rest}'; for another one: SET 'table.local-time-zone'")
            zoned = True
        elif word == "clock":
            clock = int(rest or STEP_MS)
        else:
            break
        block = block[1:]
    number, head = block[0]
    word, _, rest = head.partition(" ")
    body = [line for _, line in block[1:]]
    if word == "input":
        reader.inputs.append(_input(rest.split(), body))
        return
    common: dict[str, Any] = {
        "file": reader.name, "line": number, "inputs": tuple(reader.inputs), "statements": tuple(reader.statements),
        "late": late, "only": only, "clock_ms": clock, "zoned": zoned,
    }  # fmt: skip
    if head == "statement ok":
        reader.statements.append("\n".join(body))
    elif head.startswith("statement error"):
        error = rest.removeprefix("error").strip()
        reader.queries.append(Query(sql="\n".join(body), error=error, **common))
    elif word == "query":
        ordered = rest.split()[-1:] == ["ordered"]
        types = rest.removesuffix("ordered").strip() if ordered else rest.strip()
        at = body.index("----") if "----" in body else len(body)
        expected = tuple(body[at + 1 :]) if at < len(body) else None
        sql = "\n".join(body[:at])
        reader.queries.append(Query(sql=sql, types=types, expected=expected, ordered=ordered, **common))
    else:
        raise ValueError(f"what is '{head}'?")


def _input(words: list[str], body: list[str]) -> Input:
    name, form = words[0], words[1] if len(words) > 1 else "json"
    at = body.index("----")
    ddl = "\n".join(body[:at])
    (made,) = parse_script(f"CREATE TABLE t ({ddl}) WITH ('connector' = 'x')")
    assert isinstance(made, st.CreateTable)
    physical = [c for c in made.columns if c.computed is None and c.metadata is None]
    names = [c.name for c in physical]
    stored = tuple((c.name, c.type.duckdb()) for c in physical if c.type is not None)
    files: list[list[tuple[str, bool]]] = [[]]
    for line in body[at + 1 :]:
        if line.strip() == "file":
            files.append([])
        else:
            late = line.startswith("~")
            files[-1].append((_line(line.removeprefix("~"), names, form, made.primary_key), late))
    return Input(name, ddl, tuple(tuple(f) for f in files), "debezium-json" if form == "changelog" else form, stored)


def _line(text: str, names: list[str], form: str, key: tuple[str, ...]) -> str:
    if form == "csv":
        return text
    sign = ""
    if form == "changelog":
        sign, text = text[0], text[1:].strip()
        if sign not in "+-*":
            raise ValueError(f"a change begins with +, - or *: {text}")
    if not text.startswith("["):
        image = text
    else:
        # values stay as they are written: 1.10 is no float on its way
        parts = _items(text)
        if len(parts) != len(names):
            raise ValueError(f"{len(parts)} values for {len(names)} columns: {text}")
        image = "{" + ", ".join(f"{json.dumps(n)}: {p}" for n, p in zip(names, parts, strict=True)) + "}"
    if form != "changelog":
        return image
    keys = json.dumps({k: json.loads(image)[k] for k in key}) if sign == "*" else ""
    before, after, op = {"+": ("null", image, "c"), "-": (image, "null", "d"), "*": (keys, image, "u")}[sign]
    return f'{{"before": {before}, "after": {after}, "op": "{op}"}}'


def _items(text: str) -> list[str]:
    """The texts of a JSON array's items."""
    decoder = json.JSONDecoder()
    out, at = [], 1
    space = re.compile(r"\s*")
    while True:
        at = space.match(text, at).end()  # type: ignore[union-attr]
        if text[at] == "]":
            return out
        _, end = decoder.raw_decode(text, at)
        out.append(text[at:end])
        at = space.match(text, end).end()  # type: ignore[union-attr]
        if text[at] == ",":
            at += 1
