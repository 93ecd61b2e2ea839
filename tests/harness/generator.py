"""Random inputs and random queries over them, as pairs of SQL texts: for streaming, and for the oracle.

Table `t` is append-only and has event time; table `h` is a changelog without it: rows come, change and go. Table `p` is
one with a PRIMARY KEY: what its records say of the row before is its key alone; a key may be in several files.

Table t has, beside its data, the watermark that each row's split had before it (`wm`), computed here. So the
oracle's text can leave out late rows by conditions of its own, independently of the engine:

    window aggregates   rows whose window had ended:  WHERE wm IS NULL OR window_end > wm
    OVER, unbounded     rows behind the watermark:    FROM …_on   (ts > wm)
    interval joins      pairs of which one row had left by the watermark of the other

Sessions, temporal joins, and OVER with bounded frames, read only rows that are not behind: batch cannot say which of these
are late.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

BASE = datetime(2024, 1, 1)
HISTORY_COLUMNS = "id INT, k STRING, j INT, v INT, x DOUBLE"
COLUMNS = "id INT, k STRING, j INT, v INT, x DOUBLE, ts TIMESTAMP(3), wm TIMESTAMP(3)"


@dataclass(frozen=True)
class Row:
    id: int
    k: str | None
    j: int | None
    v: int | None
    x: float | None
    ts: datetime | None
    wm: datetime | None

    def json(self) -> str:
        def plain(v: object) -> object:
            return v.isoformat(" ", "milliseconds") if isinstance(v, datetime) else v

        return json.dumps({n: plain(getattr(self, n)) for n in ("id", "k", "j", "v", "x", "ts", "wm")})


Change = tuple[int, Row]  # +1 or -1
Record = tuple[str, Row]  # c, u or d


@dataclass(frozen=True)
class Data:
    splits: tuple[tuple[Row, ...], ...]
    delay: int  # seconds
    changes: tuple[tuple[Change, ...], ...] = ()
    records: tuple[tuple[Record, ...], ...] = ()

    def write(self, directory: Path) -> None:
        """Files of the tables, in `directory`/t and so on."""
        for name in ("t", "h", "p"):
            (directory / name).mkdir(parents=True)
        for name, text in self.files():
            (directory / name).write_text(text)

    def files(self) -> list[tuple[str, str]]:
        """Their names and texts."""
        out = [(f"t/{i:03}.json", "".join(r.json() + "\n" for r in s)) for i, s in enumerate(self.splits)]
        out += [(f"h/{i:03}.json", "".join(_envelope(*c) for c in part)) for i, part in enumerate(self.changes)]
        out += [(f"p/{i:03}.json", "".join(_of_key(*r) for r in part)) for i, part in enumerate(self.records)]
        return out

    def setup(self, directory: Path) -> list[str]:
        watermark = f"WATERMARK FOR ts AS ts - INTERVAL '{self.delay}' SECOND"
        files = f"'connector' = 'filesystem', 'path' = '{directory}"
        statements = [
            f"CREATE TABLE t ({COLUMNS}, {watermark}) WITH ({files}/t', 'format' = 'json')",
            f"CREATE TABLE h ({HISTORY_COLUMNS}) WITH ({files}/h', 'format' = 'debezium-json')",
            "CREATE VIEW hv AS SELECT * FROM h WHERE v > 3",
            f"CREATE TABLE p ({HISTORY_COLUMNS}, PRIMARY KEY (id) NOT ENFORCED) "
            f"WITH ({files}/p', 'format' = 'debezium-json')",
            "CREATE VIEW pv AS SELECT * FROM p WHERE v > 3 AND id <> 2",
        ]
        for name, condition in VIEWS.items():
            if name != "t":
                statements.append(f"CREATE VIEW {name} AS SELECT * FROM t WHERE {condition}")
            on_time = "wm IS NULL OR ts > wm"
            statements.append(f"CREATE VIEW {name}_on AS SELECT * FROM t WHERE ({condition}) AND ({on_time})")
            ranked = f"SELECT *, ROW_NUMBER() OVER (PARTITION BY {{}} ORDER BY ts DESC) AS rn FROM {name}_on"
            for key in ("k", "j"):
                last = ranked.replace("{}", key)
                statements.append(
                    f"CREATE VIEW {name}_last_{key} AS SELECT * FROM ({last}) WHERE rn = 1 AND (id <> 3 OR v > 2)"
                )
        return statements


def _envelope(sign: int, row: Row) -> str:
    before, after, op = ("null", row.json(), "c") if sign > 0 else (row.json(), "null", "d")
    return f'{{"before": {before}, "after": {after}, "op": "{op}"}}\n'


def _of_key(op: str, row: Row) -> str:
    key = f'{{"id": {row.id}}}'
    before, after = ("null" if op == "c" else key), ("null" if op == "d" else row.json())
    return f'{{"before": {before}, "after": {after}, "op": "{op}"}}\n'


VIEWS = {"t": "TRUE", "tv": "v > 3", "tk": "k IS NOT NULL", "tj": "j < 3 OR id < 5"}


def marked(split: Sequence[Row], delay: int) -> tuple[Row, ...]:
    """The rows of a split, each with the watermark before it."""
    watermark: datetime | None = None
    rows = []
    for row in split:
        rows.append(replace(row, wm=watermark))
        if row.ts is not None:
            mark = row.ts - timedelta(seconds=delay)
            watermark = mark if watermark is None else max(watermark, mark)
    return tuple(rows)


def data(rng: random.Random, most: int = 40) -> Data:
    delay = rng.choice([0, 1, 3])
    jitter = rng.choice([0, 2, 8])
    number = 0
    splits = []
    for _ in range(rng.randint(1, 3)):
        rows = []
        now = rng.randint(0, 10)
        for _ in range(rng.randint(0 if number else 3, most // 2)):
            now += rng.choice([0, 1, 1, 2, 6])
            late = rng.randint(0, jitter) + (30 if rng.random() < 0.05 else 0)
            ts = (
                None
                if rng.random() < 0.04
                else BASE + timedelta(seconds=now - late, milliseconds=rng.choice([0, 0, 500]))
            )
            number += 1
            rows.append(Row(number, *_values(rng), ts, None))
        splits.append(marked(rows, delay))
    history = tuple(_history(rng, first=100 * i) for i in range(rng.randint(1, 2)))
    return Data(tuple(splits), delay, history, tuple(_records(rng) for _ in range(rng.randint(1, 3))))


def _history(rng: random.Random, first: int) -> tuple[Change, ...]:
    """Rows of ids from `first` that come, are replaced and go."""
    changes: list[Change] = []
    live: dict[int, Row] = {}
    for _ in range(rng.randint(1, 20)):
        number = first + rng.randint(0, 7)
        if number in live:
            changes.append((-1, live.pop(number)))
            if rng.random() < 0.4:
                continue
        live[number] = Row(number, *_values(rng), None, None)
        changes.append((1, live[number]))
    return tuple(changes)


def _records(rng: random.Random) -> tuple[Record, ...]:
    """Records of a few keys, whether their rows are there or not."""
    ops = rng.choices(["c", "u", "d"], [2, 3, 1], k=rng.randint(1, 20))
    return tuple((op, Row(rng.randint(0, 7), *_values(rng), None, None)) for op in ops)


def _values(rng: random.Random) -> tuple[str | None, int | None, int | None, float | None]:
    return (
        rng.choice(["a", "a", "b", "c", None]),
        rng.choice([1, 2, 3, None]),
        rng.choice([*range(10), None]),
        rng.choice([0.5, 1.25, -2.0, None]),
    )


@dataclass(frozen=True)
class Text:
    """A query: `a`, `b`, `c` are its columns, a key (STRING) and two numbers (BIGINT). `parts`: the queries it is made of."""

    stream: str
    oracle: str
    append_only: bool = False
    parts: tuple[Text, ...] = ()

    def wrapped(self, template: str) -> Text:
        """`template` with {} as this query in parentheses."""
        return Text(
            template.replace("{}", f"({self.stream})"), template.replace("{}", f"({self.oracle})"), parts=(self,)
        )

    @staticmethod
    def of_two(template: str, left: Text, right: Text, append_only: bool = False) -> Text:
        """`template` with {l} and {r} as two queries."""
        stream = template.replace("{l}", left.stream).replace("{r}", right.stream)
        oracle = template.replace("{l}", left.oracle).replace("{r}", right.oracle)
        return Text(stream, oracle, append_only, (left, right))


class Queries:
    """The grammar. `query(depth)` gives a random query of that many levels at most."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def query(self, depth: int = 2) -> Text:
        if depth <= 0:
            return self.leaf()
        return self.rng.choice(
            [
                self.leaf,
                *[
                    lambda f=f: f(depth)
                    for f in (self.group, self.join, self.top_n, self.distinct, self.union, self.twice, self.rewritten)
                ],
            ]
        )()

    def leaf(self) -> Text:
        return self.rng.choice(
            [
                self.rows, self.grouped, self.grouped, self.window, self.window, self.session, self.over, self.over_changes,
                self.interval_join, self.rows_join, self.deduplicate, self.window_join, self.aggregates_join, self.exists,
                self.window_of_windows, self.window_rows_join, self.window_top_n, self.temporal_join, self.subquery_value,
                self.subquery_condition, self.lateral, self.pivot, self.unpivot, self.three,
            ]
        )()  # fmt: skip

    # ---- pieces

    def base(self) -> str:
        """A view with event time."""
        return self.rng.choice(list(VIEWS))

    def any_base(self) -> str:
        return self.rng.choice(["h", "h", "hv", "p", "p", "pv"]) if self.rng.random() < 0.45 else self.base()

    def number(self, column: str = "v") -> str:
        """An aggregate of rows, BIGINT."""
        f = self.rng.choice(
            ["COUNT(*)", "COUNT({})", "SUM({})", "MIN({})", "MAX({})", "AVG({})", "COUNT(DISTINCT {})", "SUM({}) FILTER (WHERE id > 4)",
             "SUM(DISTINCT {})", "COUNT(*) FILTER (WHERE {} > 2)", "MAX(CHAR_LENGTH(k))", "APPROX_COUNT_DISTINCT({})",
             "FIRST_VALUE({})", "LAST_VALUE({})", "CHAR_LENGTH(LISTAGG(CAST({} AS STRING), '--'))",
             "PERCENTILE({}, 0.5)", "BIT_XOR({})", "BIT_AND(DISTINCT {})", "CARDINALITY(ARRAY_AGG({}))", "ARRAY_AGG({} ORDER BY {} DESC, id)[1]",
             "CHAR_LENGTH(JSON_ARRAYAGG({} NULL ON NULL))"]
        )  # fmt: skip
        return f"CAST({f.replace('{}', column)} AS BIGINT)"

    def over_number(self, column: str) -> str:
        f = self.rng.choice(
            ["COUNT(*)", "SUM({})", "MIN({})", "MAX({})", "AVG({})", "COUNT(DISTINCT {})", "BIT_XOR({})"]
        )
        return f"CAST({f.replace('{}', column)} AS BIGINT)"

    def both(self, sql: str, view: str, suffix: str = "") -> Text:
        """`sql` with {} as the view, in the oracle as the view of rows on time."""
        return Text(sql.replace("{}", view), sql.replace("{}", view + suffix))

    # ---- leaves

    def rows(self) -> Text:
        condition = self.rng.choice(["TRUE", "v > 2", "k = 'a'", "x < 1", "j IS NULL OR v < 5"])
        sql = f"SELECT k AS a, CAST(id AS BIGINT) AS b, CAST(v AS BIGINT) AS c FROM {self.any_base()} WHERE {condition}"
        return Text(sql, sql, True)

    def grouped(self) -> Text:
        having = self.rng.choice(["", "", " HAVING COUNT(*) > 1", " HAVING MAX(v) > 5"])
        keys = self.rng.choice(["k", "k", "k", "ROLLUP (k)", "CUBE (k, j)", "GROUPING SETS ((k, j), (j), ())"])
        sql = (
            f"SELECT k AS a, {self.number()} AS b, {self.number()} AS c FROM {self.any_base()} GROUP BY {keys}{having}"
        )
        return Text(sql, sql)

    def function(self) -> str:
        return self.rng.choice(
            ["TUMBLE({}, DESCRIPTOR(ts), INTERVAL '5' SECOND)", "HOP({}, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '6' SECOND)",
             "CUMULATE({}, DESCRIPTOR(ts), INTERVAL '3' SECOND, INTERVAL '9' SECOND)", "HOP({}, DESCRIPTOR(ts), INTERVAL '3' SECOND, INTERVAL '7' SECOND)"]
        )  # fmt: skip

    def windows(self, view: str, keyed: bool = True, function: str | None = None) -> Text:
        """k, two numbers of each window, window_start and window_end."""
        source = f"TABLE({(function or self.function()).replace('{}', 'TABLE ' + view)})"
        key = "k, " if keyed else ""
        first = "k" if keyed else "CAST(window_end AS STRING)"
        sql = f"SELECT {first} AS a, {self.number()} AS b, {self.number()} AS c, window_start, window_end FROM {source}"
        sets = ", ROLLUP (k)" if keyed and self.rng.random() < 0.15 else ""
        tail = f" GROUP BY {'' if sets else key}window_start, window_end{sets}"
        return Text(sql + tail, f"{sql} WHERE wm IS NULL OR window_end > wm{tail}", True)

    def window(self) -> Text:
        return self.windows(self.base(), self.rng.random() < 0.7).wrapped("SELECT a, b, c FROM {} AS w")

    def window_of_windows(self) -> Text:
        """Two stages, closed together."""
        inner = self.windows(self.base())
        return inner.wrapped(
            "SELECT CAST(window_start AS STRING) AS a, CAST(SUM(b) AS BIGINT) AS b, CAST(COUNT(DISTINCT c) AS BIGINT) AS c "
            "FROM {} AS w GROUP BY window_start, window_end"
        )

    def window_join(self) -> Text:
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        function = self.function()
        left, right = self.windows(self.base(), function=function), self.windows(self.base(), function=function)
        sql = (
            f"SELECT COALESCE(l.a, r.a) AS a, l.b AS b, r.c AS c FROM ({{l}}) AS l {kind} ({{r}}) AS r "
            "ON l.a = r.a AND l.window_start = r.window_start AND l.window_end = r.window_end"
        )
        return Text.of_two(sql, left, right, True)

    def window_top_n(self) -> Text:
        """The best rows of a window, or the best of what it gives, once."""
        function, n = self.rng.choice(["ROW_NUMBER", "RANK", "DENSE_RANK"]), self.rng.randint(1, 3)
        keys = self.rng.choice(["", "a, "])
        if self.rng.random() < 0.5:
            below = self.windows(self.base())
        else:
            source = f"TABLE({self.function().replace('{}', 'TABLE ' + self.base())})"
            sql = f"SELECT k AS a, CAST(id AS BIGINT) AS b, CAST(v AS BIGINT) AS c, window_start, window_end FROM {source}"
            below = Text(sql, f"{sql} WHERE wm IS NULL OR window_end > wm", True)
        return below.wrapped(
            f"SELECT a, b, rn AS c FROM (SELECT *, {function}() OVER (PARTITION BY {keys}window_start, window_end "
            f"ORDER BY c DESC, b, a) AS rn FROM {{}} AS w) WHERE rn <= {n}"
        )

    def window_rows_join(self) -> Text:
        """The rows of two windows, not aggregated: late ones are dropped by the join."""
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI", "ANTI"])
        function = self.function()

        def side(view: str) -> Text:
            sql = f"SELECT * FROM TABLE({function.replace('{}', 'TABLE ' + view)})"
            return Text(sql, f"{sql} WHERE wm IS NULL OR window_end > wm", True)

        left, right = side(self.base()), side(self.base())
        rest = self.rng.choice(["", "", " AND l.v < r.v"])
        on = f"l.k = r.k AND l.window_start = r.window_start AND l.window_end = r.window_end{rest}"
        if kind in ("SEMI", "ANTI"):
            sql = (
                "SELECT k AS a, CAST(id AS BIGINT) AS b, CAST(v AS BIGINT) AS c FROM ({l}) AS l "
                f"WHERE {'NOT ' if kind == 'ANTI' else ''}EXISTS (SELECT 1 FROM ({{r}}) AS r WHERE {on})"
            )
        else:
            sql = (
                "SELECT COALESCE(l.k, r.k) AS a, CAST(l.id AS BIGINT) AS b, CAST(r.id AS BIGINT) AS c "
                f"FROM ({{l}}) AS l {kind} ({{r}}) AS r ON {on}"
            )
        return Text.of_two(sql, left, right, True)

    def session(self) -> Text:
        gap = self.rng.choice([2, 4])
        sql = (
            f"SELECT k AS a, {self.number()} AS b, {self.number()} AS c FROM "
            f"TABLE(SESSION(TABLE {{}} PARTITION BY k, DESCRIPTOR(ts), INTERVAL '{gap}' SECOND)) GROUP BY k, window_start, window_end"
        )
        text = self.both(sql, self.base(), "_on")
        return Text(text.oracle, text.oracle, True)

    def over(self) -> Text:
        frame = self.rng.choice(
            ["", " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
             " RANGE BETWEEN INTERVAL '3' SECOND PRECEDING AND CURRENT ROW"]
        )  # fmt: skip
        partition = self.rng.choice(["PARTITION BY k ", "PARTITION BY k ", ""])
        w = f"OVER ({partition}ORDER BY ts{frame})"
        call = self.rng.choice([f"{self.over_number('v')[5:-11]} {w}", f"ROW_NUMBER() OVER ({partition}ORDER BY ts)", f"LAG(v) OVER ({partition}ORDER BY ts)"])  # fmt: skip
        inner = f"SELECT k AS a, CAST(id AS BIGINT) AS b, CAST({call} AS BIGINT) AS c FROM {{}} WHERE ts IS NOT NULL"
        # The condition holds, but needs the call: an OVER that nobody reads is not run, and then no row is late.
        text = self.both(f"SELECT a, b, c FROM ({inner}) AS o WHERE c > 0 OR b > 0", self.base(), "_on")
        return Text(text.oracle if frame and "UNBOUNDED" not in frame else text.stream, text.oracle, True)

    def over_changes(self) -> Text:
        call = self.rng.choice(
            ["SUM(v) {}", "COUNT(*) {}", "ROW_NUMBER() {}", "LAG(v) {}", "LEAD(v) {}", "MAX(v) {}", "NTH_VALUE(v, 2) {}",
             "SUM(v) FILTER (WHERE x < 1) {}", "COUNT(*) FILTER (WHERE k = 'a') {}", "RANK() {}", "NTILE(2) {}"]
        )  # fmt: skip
        frames = ["", "", " ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING", " RANGE BETWEEN 1 FOLLOWING AND 3 FOLLOWING",
                  " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"]  # fmt: skip
        frame = self.rng.choice(frames) if call.startswith(("SUM", "COUNT", "MAX")) else ""
        w = f"OVER (PARTITION BY {self.rng.choice(['k', 'j'])} ORDER BY id{self.rng.choice([' DESC', ''])}{frame})"
        sql = f"SELECT k AS a, CAST(id AS BIGINT) AS b, CAST({call.replace('{}', w)} AS BIGINT) AS c FROM {self.any_base()}"
        return Text(sql, sql)

    def three(self) -> Text:
        """Three tables by one key."""
        more = self.rng.choice(["", " AND l.v > m.v", " AND m.id <> r.id"])
        last = self.rng.choice(["m.k", "l.k"])
        sql = (
            f"SELECT l.k AS a, CAST(m.id AS BIGINT) AS b, CAST(r.v AS BIGINT) AS c FROM {self.any_base()} AS l "
            f"JOIN {self.any_base()} AS m ON l.k = m.k JOIN {self.any_base()} AS r ON {last} = r.k{more}"
        )
        return Text(sql, sql)

    def pivot(self) -> Text:
        f = self.rng.choice(["SUM(v)", "COUNT(*)", "MAX(v)", "COUNT(DISTINCT v)"])
        sql = (
            f"SELECT k AS a, CAST(x AS BIGINT) AS b, CAST(y AS BIGINT) AS c FROM (SELECT k, j, v FROM {self.any_base()}) "
            f"PIVOT ({f} FOR j IN (1 AS x, {self.rng.choice(['2', 'NULL'])} AS y)) AS q"
        )
        return Text(sql, sql)

    def unpivot(self) -> Text:
        nulls = self.rng.choice(["", "INCLUDE NULLS ", "EXCLUDE NULLS "])
        sql = (
            f"SELECT name AS a, CAST(id AS BIGINT) AS b, CAST(number AS BIGINT) AS c FROM (SELECT id, j, v FROM {self.any_base()}) "
            f"UNPIVOT {nulls}(number FOR name IN (j, v AS 'w')) AS q"
        )
        return Text(sql, sql)

    def deduplicate(self) -> Text:
        order = self.rng.choice(["ts", "ts DESC"])
        sql = (
            "SELECT a, b, c FROM (SELECT k AS a, CAST(id AS BIGINT) AS b, CAST(v AS BIGINT) AS c, "
            f"ROW_NUMBER() OVER (PARTITION BY k ORDER BY {order}) AS rn FROM {self.base()} WHERE ts IS NOT NULL) WHERE rn = 1"
        )
        return Text(sql, sql)

    def interval_join(self) -> Text:
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        low, high = sorted(self.rng.sample([-4, -2, 0, 1, 3], 2))
        keys = self.rng.choice(["l.k = r.k AND ", "l.k = r.k AND l.j = r.j AND ", "l.k IS NOT DISTINCT FROM r.k AND "])
        rest = self.rng.choice(["", " AND l.v > r.v", " AND l.id <> r.id"])

        def shifted(n: int) -> str:
            return f"l.ts {'-' if n < 0 else '+'} INTERVAL '{abs(n)}' SECOND"

        sql = (
            "SELECT COALESCE(l.k, r.k) AS a, CAST(l.id AS BIGINT) AS b, CAST(r.id AS BIGINT) AS c "
            f"FROM {{l}} AS l {kind} {{r}} AS r ON {keys}r.ts BETWEEN {shifted(low)} AND {shifted(high)}{rest}"
        )
        sql = sql.replace("{l}", self.base()).replace("{r}", self.base())
        there = (
            f" AND (l.wm IS NULL OR r.ts {'+' if low < 0 else '-'} INTERVAL '{abs(low)}' SECOND >= l.wm)"
            f" AND (r.wm IS NULL OR {shifted(high)} >= r.wm)"
        )
        return Text(sql, sql + there, True)

    def temporal_join(self) -> Text:
        """Rows with the version of another row that was the last one at their time."""
        kind, key = self.rng.choice(["JOIN", "LEFT JOIN"]), self.rng.choice(["k", "k", "j"])
        word = self.rng.choice(["=", "=", "IS NOT DISTINCT FROM"])
        rest = self.rng.choice(["", "", " AND l.v > r.v", " AND l.x = r.x", " AND r.v > 3", " AND l.v < 7"])
        sql = (
            f"SELECT l.k AS a, CAST(l.id AS BIGINT) AS b, CAST(r.id AS BIGINT) AS c FROM {self.base()}_on AS l "
            f"{kind} {self.base()}_last_{key} FOR SYSTEM_TIME AS OF l.ts AS r ON l.{key} {word} r.{key}{rest}"
        )
        return Text(sql, sql, True)

    def rows_join(self) -> Text:
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        on = self.rng.choice(
            ["l.k = r.k AND l.j = r.v", "l.v = r.id", "l.id = r.id AND l.v > 4", "l.j = r.j AND l.id < r.id"]
        )
        sql = (
            "SELECT COALESCE(l.k, r.k) AS a, CAST(l.id AS BIGINT) AS b, CAST(r.id AS BIGINT) AS c "
            f"FROM {self.any_base()} AS l {kind} {self.any_base()} AS r ON {on}"
        )
        return Text(sql, sql)

    def aggregates_join(self) -> Text:
        """Two aggregates of one stream: what must never be seen at different places of it."""
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        left, right = self.grouped(), self.grouped()
        sql = f"SELECT COALESCE(l.a, r.a) AS a, l.b AS b, r.c AS c FROM ({left.stream}) AS l {kind} ({right.stream}) AS r ON l.a = r.a"
        return Text(sql, sql)

    def exists(self) -> Text:
        word = self.rng.choice(["EXISTS", "NOT EXISTS"])
        inner = self.rng.choice(
            ["SELECT 1 FROM {} AS r WHERE r.k = l.k AND r.v > l.v", "SELECT 1 FROM (SELECT v AS n FROM {} GROUP BY v HAVING COUNT(*) > 1) AS r WHERE r.n = l.v"]
        )  # fmt: skip
        sql = (
            f"SELECT k AS a, CAST(id AS BIGINT) AS b, CAST(v AS BIGINT) AS c FROM {self.any_base()} AS l "
            f"WHERE {word} ({inner.replace('{}', self.any_base())})"
        )
        return Text(sql, sql)

    def subquery_value(self) -> Text:
        """A value of another table: of all rows, by a key, by less than, or of groups."""
        inner = self.rng.choice(
            [f"SELECT {self.number('r.v')} FROM {{}} AS r", f"SELECT {self.number('r.v')} FROM {{}} AS r WHERE r.k = l.k",
             f"SELECT {self.number('r.v')} FROM {{}} AS r WHERE r.j = l.j AND r.v < l.v", f"SELECT {self.number('r.v')} FROM {{}} AS r WHERE r.v < l.v",
             "SELECT CAST(r.v AS BIGINT) FROM {} AS r WHERE r.k IS NOT DISTINCT FROM l.k ORDER BY r.v DESC, r.id LIMIT 1",
             "SELECT SUM(r.v) FROM {} AS r WHERE r.k = l.k HAVING COUNT(*) > 2", "SELECT COUNT(*) + MAX(l.v) FROM {} AS r WHERE r.j = l.j"]
        )  # fmt: skip
        inner = inner.replace("MAX(l.v)", "l.id").replace("FIRST_VALUE", "MIN").replace("LAST_VALUE", "MAX")
        inner = inner.replace("(id ", "(r.id ").replace("WHERE id", "WHERE r.id").replace("LENGTH(k)", "LENGTH(r.k)")
        inner = f"CAST(({inner.replace('{}', self.any_base())}) AS BIGINT)"
        sql = self.rng.choice(
            ["SELECT l.k AS a, CAST(l.id AS BIGINT) AS b, {} AS c FROM {l} AS l",
             "SELECT l.k AS a, CAST(l.id AS BIGINT) AS b, CAST(l.v AS BIGINT) AS c FROM {l} AS l WHERE l.v >= {}",
             "SELECT l.k AS a, SUM({}) AS b, COUNT(*) AS c FROM {l} AS l GROUP BY l.k"]
        )  # fmt: skip
        sql = sql.replace("{}", inner).replace("{l}", self.any_base())
        return Text(sql, sql)

    def subquery_condition(self) -> Text:
        """IN, EXISTS and comparisons with all or some rows, where NULLs are, as conditions or as values."""
        where = self.rng.choice(
            [
                "",
                "WHERE r.v > 4",
                "WHERE r.k = l.k",
                "WHERE r.v < l.v",
                "WHERE r.k = l.k AND r.v IS NOT NULL",
                "WHERE r.id > 500",
            ]
        )
        members = f"(SELECT r.j FROM {{r}} AS r {where})"
        test = self.rng.choice(
            [f"l.v IN {members}", f"l.v NOT IN {members}", f"l.id NOT IN {members}", f"EXISTS {members}", f"NOT EXISTS {members}",
             f"l.v {self.rng.choice(['<', '<=', '>', '>=', '=', '<>'])} {self.rng.choice(['ANY', 'ALL'])} {members}"]
        ).replace("{r}", self.any_base())  # fmt: skip
        form = self.rng.choice(
            ["SELECT l.k AS a, CAST(l.id AS BIGINT) AS b, CAST(l.v AS BIGINT) AS c FROM {l} AS l WHERE {}",
             "SELECT l.k AS a, CAST(l.id AS BIGINT) AS b, CAST(l.v AS BIGINT) AS c FROM {l} AS l WHERE {} OR l.v = 3",
             "SELECT l.k AS a, CAST(l.id AS BIGINT) AS b, CAST(CASE WHEN {} THEN 1 WHEN NOT ({}) THEN 0 END AS BIGINT) AS c FROM {l} AS l"]
        )  # fmt: skip
        sql = form.replace("{}", test).replace("{l}", self.any_base())
        return Text(sql, sql)

    def lateral(self) -> Text:
        """The best rows of each row, or their number."""
        n = self.rng.randint(1, 3)
        on = self.rng.choice(["r.k = l.k", "r.v < l.v", "r.j = l.j AND r.v <> l.v"])
        inner = self.rng.choice(
            [f"SELECT CAST(r.v AS BIGINT) AS c FROM {{}} AS r WHERE {on} ORDER BY r.v DESC, r.id LIMIT {n}",
             f"SELECT COUNT(*) AS c FROM {{}} AS r WHERE {on}", f"SELECT SUM(CAST(r.v AS BIGINT)) AS c FROM {{}} AS r WHERE {on} GROUP BY r.j"]
        )  # fmt: skip
        join = self.rng.choice(["CROSS JOIN LATERAL ({r}) AS q", "LEFT JOIN LATERAL ({r}) AS q ON TRUE"])
        sql = f"SELECT l.k AS a, CAST(l.id AS BIGINT) AS b, q.c AS c FROM {self.any_base()} AS l {join}"
        sql = sql.replace("{r}", inner.replace("{}", self.any_base()))
        return Text(sql, sql)

    # ---- above other queries

    def group(self, depth: int) -> Text:
        below = self.query(depth - 1)
        key = self.rng.choice(["a", "a", "CAST(b AS STRING)"])
        numbers = [
            f"CAST({f} AS BIGINT)"
            for f in self.rng.choices(
                ["COUNT(*)", "SUM(b)", "MIN(c)", "MAX(b)", "COUNT(DISTINCT c)", "AVG(c)", "COUNT(c)", "MAX(c)"], k=2
            )
        ]
        sets = self.rng.choice([key, key, key, f"ROLLUP ({key})", f"CUBE ({key}, c > 3)"])
        return below.wrapped(f"SELECT {key} AS a, {numbers[0]} AS b, {numbers[1]} AS c FROM {{}} AS g GROUP BY {sets}")

    def join(self, depth: int) -> Text:
        left, right = self.query(depth - 1), self.query(depth - 1)
        kind = self.rng.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        on = self.rng.choice(
            [
                "l.a = r.a AND l.b = r.b",
                "l.a = r.a AND l.b < r.c",
                "l.b = r.c",
                "l.a IS NOT DISTINCT FROM r.a AND l.c = r.b",
            ]
        )
        sql = f"SELECT COALESCE(l.a, r.a) AS a, l.b AS b, r.c AS c FROM ({{l}}) AS l {kind} ({{r}}) AS r ON {on}"
        return Text.of_two(sql, left, right)

    def top_n(self, depth: int) -> Text:
        below = self.query(depth - 1)
        partition = self.rng.choice(["PARTITION BY a ", ""])
        # all columns in the order: no ties that show
        function, order = self.rng.choice(
            [("ROW_NUMBER", "b, c, a"), ("ROW_NUMBER", "b DESC, c DESC, a"), ("RANK", "b DESC"), ("DENSE_RANK", "c"), ("ROW_NUMBER", "c DESC NULLS FIRST, b, a")]
        )  # fmt: skip
        n = self.rng.randint(1, 3)
        rank = self.rng.choice(["c", "rn AS c"])
        return below.wrapped(
            f"SELECT a, b, {rank} FROM (SELECT *, {function}() OVER ({partition}ORDER BY {order}) AS rn FROM {{}} AS i) WHERE rn <= {n}"
        )

    def twice(self, depth: int) -> Text:
        """One query, read twice."""
        on = self.rng.choice(["l.a = r.a", "l.b = r.c", "l.a = r.a AND l.b < r.b"])
        return self.query(depth - 1).wrapped(
            f"WITH q AS {{}} SELECT l.a AS a, l.b AS b, r.c AS c FROM q AS l {self.rng.choice(['JOIN', 'LEFT JOIN'])} q AS r ON {on}"
        )

    def distinct(self, depth: int) -> Text:
        columns = self.rng.choice(["a, b, c", "a, CAST(NULL AS BIGINT) AS b, c", "a, b, CAST(0 AS BIGINT) AS c"])
        return self.query(depth - 1).wrapped(f"SELECT DISTINCT {columns} FROM {{}} AS d")

    def rewritten(self, depth: int) -> Text:
        """What the optimiser makes a simpler join, group or rank of; or must not."""
        left, right = self.query(depth - 1), self.query(depth - 1)
        kind = self.rng.choice(["LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        where = self.rng.choice(
            ["r.c > 2", "l.b < 5", "r.a LIKE '%a%'", "r.c IS NULL OR r.b > 1", "l.c = r.c", "r.b IN (1, 2, 3)", "NOT r.b = 2", "l.b IS NULL",
             "COALESCE(r.b, 1) = 1", "l.b + r.b > 3", "r.c IS NOT NULL AND l.c > 1"]
        )  # fmt: skip
        groups = "SELECT a, CAST(SUM(b) AS BIGINT) AS b, CAST(MAX(c) AS BIGINT) AS c FROM ({}) AS i GROUP BY a"
        template = self.rng.choice(
            [f"SELECT COALESCE(l.a, r.a) AS a, l.b AS b, r.c AS c FROM ({{l}}) AS l {kind} ({{r}}) AS r ON l.a = r.a WHERE {where}",
             f"SELECT l.a AS a, l.b AS b, COUNT(*) AS c FROM ({{l}}) AS l {kind} ({{r}}) AS r ON l.a = r.a AND l.c < r.b WHERE {where} GROUP BY l.a, l.b",
             f"SELECT l.a AS a, l.b AS b, q.c AS c FROM ({{l}}) AS l {kind} ({{r}}) AS r ON l.a = r.a JOIN ({{r}}) AS q ON r.b = q.b",
             f"SELECT l.a AS a, l.b AS b, l.c AS c FROM ({{l}}) AS l LEFT JOIN ({groups.replace('{}', '{r}')}) AS r ON l.a = r.a AND r.b > l.c",
             f"SELECT l.a AS a, r.b AS b, q.c AS c FROM ({{l}}) AS l JOIN ({{r}}) AS r ON l.b = r.b JOIN ({groups.replace('{}', '{r}')}) AS q ON q.a = l.a",
             f"SELECT q.a AS a, l.b AS b, r.c AS c FROM ({{l}}) AS l, ({groups.replace('{}', '{l}')}) AS q, ({{r}}) AS r WHERE l.a = r.a AND r.c = q.c AND l.b < q.b",
             "SELECT a, b, c FROM ({l}) AS l WHERE l.a IN (SELECT DISTINCT a FROM ({r}) AS r WHERE b > 1)",
             "SELECT a, b, c FROM ({l}) AS l WHERE NOT EXISTS (SELECT 1 FROM (SELECT DISTINCT a, c FROM ({r}) AS i) AS r WHERE r.a = l.a AND r.c = l.b)",
             "SELECT a, COUNT(DISTINCT b) AS b, COUNT(c) AS c FROM (SELECT a, b, MAX(c) AS c FROM ({l}) AS i GROUP BY a, b) AS l GROUP BY a",
             f"SELECT a, CAST(SUM(b) AS BIGINT) AS b, COUNT(c) AS c FROM ({groups.replace('{}', '{l}')}) AS l GROUP BY a",
             f"SELECT a, b, rn AS c FROM (SELECT *, RANK() OVER (PARTITION BY a ORDER BY b) AS rn FROM ({groups.replace('{}', '{l}')}) AS g) WHERE rn <= 2"]
        )  # fmt: skip
        return Text(
            template.replace("{l}", left.stream).replace("{r}", right.stream),
            template.replace("{l}", left.oracle).replace("{r}", right.oracle),
        )

    def union(self, depth: int) -> Text:
        word = self.rng.choice(
            ["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"]
        )
        left, right = self.query(depth - 1), self.query(depth - 1)
        template = f"SELECT a, b, c FROM ({{l}}) AS l {word} SELECT a, b, c FROM ({{r}}) AS r"
        return Text.of_two(template, left, right)
