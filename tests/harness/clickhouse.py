"""A server that answers what connector 'clickhouse' says to ClickHouse, statement by statement, as ClickHouse documents it: it knows no other SQL."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .web import Answer, Asked, Web

NAME = r"`(\w+)`\.`(\w+)`"


@dataclass
class Table:
    """`columns`: with their types. `window`: inserts whose tokens it remembers; 0: none."""

    columns: dict[str, str]
    engine: str = "MergeTree"
    full: str = "MergeTree ORDER BY tuple()"
    sorting: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    @property
    def window(self) -> int:
        found = re.search(r"non_replicated_deduplication_window = (\d+)", self.full)
        return 1000 if self.engine.startswith("Replicated") else int(found[1]) if found else 0

    def take(self, rows: list[dict[str, Any]], token: str) -> None:
        if token and token in self.tokens:
            return
        self.tokens = [*self.tokens, token][-self.window :] if self.window else []
        self.rows += rows

    def final(self) -> list[dict[str, Any]]:
        """As FINAL reads a ReplacingMergeTree."""
        keys = self.sorting.split(", ")
        own = re.search(r"Tree\((.*?)\)", self.full)
        version, deleted = ([*(own[1].split(", ") if own and own[1] else []), "", ""])[:2]
        last: dict[Any, dict[str, Any]] = {}
        for r in self.rows:
            k = tuple(r[c] for c in keys)
            if k not in last or not version or r[version] >= last[k][version]:
                last[k] = r
        return [
            {c: v for c, v in r.items() if c not in (version, deleted)} for r in last.values() if not r.get(deleted)
        ]


class ClickHouse:
    """`failures`: what the next statements that match are answered: (pattern, status, text); `after`: also when it was done."""

    def __init__(self, tables: dict[str, Table]) -> None:
        self.tables, self.said = tables, list[str]()
        self.failures: list[tuple[str, Answer]] = []
        self.broken: list[str] = []
        self.web = Web(self._answer)
        self.url = self.web.url

    def close(self) -> None:
        self.web.close()

    def again(self) -> None:
        """After `close`: at the same address, with what it had."""
        self.web = Web(self._answer, self.web.port)

    def _answer(self, asked: Asked) -> Answer:
        given = {k: v[0] for k, v in parse_qs(urlsplit(asked.path).query).items()}
        sql = given.pop("query", None)
        data = asked.body if sql is not None else b""
        sql = sql if sql is not None else asked.body.decode()
        self.said.append(sql)
        for n, (pattern, answer) in enumerate(self.failures):
            if re.match(pattern, sql):
                del self.failures[n]
                return answer
        found = self._done(sql, data, given)
        for n, pattern in enumerate(self.broken):
            if re.match(pattern, sql):
                del self.broken[n]
                raise ConnectionAbortedError
        return found

    def _done(self, sql: str, data: bytes, settings: dict[str, str]) -> Answer:
        if m := re.fullmatch(
            r"SELECT engine, engine_full, sorting_key FROM system\.tables WHERE database = 'default' AND name = '(\w+)' FORMAT JSONEachRow",
            sql,
        ):
            t = self.tables.get(m[1])
            return _rows([] if t is None else [{"engine": t.engine, "engine_full": t.full, "sorting_key": t.sorting}])
        if re.fullmatch(r"SELECT name FROM system\.tables WHERE database = 'default' FORMAT JSONEachRow", sql):
            return _rows([{"name": n} for n in self.tables])
        if m := re.fullmatch(
            r"SELECT name FROM system\.tables WHERE database = 'default' AND startsWith\(name, '(\w+)'\) FORMAT JSONEachRow",
            sql,
        ):
            return _rows([{"name": n} for n in self.tables if n.startswith(m[1])])
        if m := re.fullmatch(
            r"SELECT name, type FROM system\.columns WHERE database = 'default' AND table = '(\w+)' AND default_kind NOT IN \('MATERIALIZED', 'ALIAS'\) "
            r"FORMAT JSONEachRow", sql,
        ):  # fmt: skip
            return _rows([{"name": n, "type": t} for n, t in self.tables[m[1]].columns.items()])
        if m := re.fullmatch(
            rf"CREATE TABLE IF NOT EXISTS {NAME} AS {NAME} ENGINE = MergeTree ORDER BY tuple\(\)", sql
        ):
            self.tables.setdefault(m[2], Table(dict(self.tables[m[4]].columns)))
            return Answer()
        if m := re.fullmatch(rf"DROP TABLE IF EXISTS {NAME}", sql):
            self.tables.pop(m[2], None)
            return Answer()
        token = settings.get("insert_deduplication_token", "")
        if m := re.fullmatch(rf"INSERT INTO {NAME} \((.*?)\) FORMAT JSONEachRow", sql):
            assert (
                settings["input_format_null_as_default"] == "0" and settings["date_time_input_format"] == "best_effort"
            )
            rows = [json.loads(line) for line in data.splitlines()]
            columns = m[3].replace("`", "").split(", ")
            assert all(list(r) == columns for r in rows)
            for n, r in enumerate(rows):
                for c, v in r.items():
                    if v is None and not self.tables[m[2]].columns[c].startswith("Nullable"):
                        return Answer(
                            400,
                            f"Code: 349. DB::Exception: Cannot insert NULL value into a column of type '{c}': (at row {n + 1})".encode(),
                        )
            self.tables[m[2]].take(rows, token)
            return Answer()
        m = re.fullmatch(rf"INSERT INTO {NAME} \((.*?)\) SELECT (.*?) FROM {NAME}", sql)
        assert m is not None, sql
        assert settings["max_threads"] == settings["max_insert_threads"] == "1"
        self.tables[m[2]].take(list(self.tables[m[6]].rows), token)
        return Answer()


def _rows(rows: list[dict[str, Any]]) -> Answer:
    return Answer(body="".join(json.dumps(r) + "\n" for r in rows).encode())
