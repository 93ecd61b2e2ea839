"""What must hold of streams whatever their rows are: a query is the sum of its parts, and what is inserted and deleted is as
if it had never been: no row of the answer, and none of any operator's state."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from harness.seed import random_of, said
from harness.ticking import Ticking

from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

BEGIN = datetime(2024, 1, 1)
TABLE = """
CREATE TABLE {name} (k INT, v INT, s STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' HOUR) WITH (
  'connector' = 'filesystem', 'path' = '{place}/{name}.json', 'format' = 'debezium-json');
"""
FUNCTIONS = (
    "CREATE TEMPORARY FUNCTION sums AS 'harness.aggregate_functions.sums' LANGUAGE PYTHON;"
    "CREATE TEMPORARY FUNCTION words AS 'harness.aggregate_functions.Words' LANGUAGE PYTHON;"
)
# The streams' last rows are of another key, far later: windows close, and nothing of them passes WHERE k < 9.
A, B = "(SELECT * FROM a WHERE k IS NULL OR k < 9)", "(SELECT * FROM b WHERE k IS NULL OR k < 9)"
AGGREGATES = (
    "COUNT(*) AS n, COUNT(DISTINCT v) AS d, SUM(v) AS su, AVG(v) AS av, MIN(v) AS mi, MAX(s) AS ma, STDDEV_POP(v) AS st, "
    "MAX(v) FILTER (WHERE v > 2) AS fi, COLLECT(s) AS co, PERCENTILE(v, 0.5) AS pe, BOOL_AND(v > 1) AS bo, BIT_XOR(v) AS bi"
)
BY_ARRIVAL = "FIRST_VALUE(v) AS f, LAST_VALUE(s) AS l, LISTAGG(s) AS li, ARRAY_AGG(v) AS ar"
WINDOWS = "window_start, window_end"
QUERIES = {
    "projection": f"SELECT v + 1 AS v, UPPER(s) AS s FROM {A}",
    "GROUP BY": f"SELECT k, {AGGREGATES} FROM {A} GROUP BY k",
    "GROUP BY, by arrival": f"SELECT k, {BY_ARRIVAL} FROM {A} GROUP BY k",
    "GROUP BY, Python functions": f"SELECT k, sums(v) AS x, words(s) AS w, sums(DISTINCT v) AS d FROM {A} GROUP BY k",
    "GROUP BY of GROUP BY": f"SELECT n, COUNT(*) AS m, MIN(k) AS k FROM (SELECT k, COUNT(*) AS n FROM {A} GROUP BY k) GROUP BY n",
    "GROUPING SETS": f"SELECT k, s, COUNT(*) AS n, MAX(v) AS v FROM {A} GROUP BY GROUPING SETS ((k), (s), (k, s))",
    "HAVING": f"SELECT k, SUM(v) AS v FROM {A} GROUP BY k HAVING COUNT(*) > 1",
    "DISTINCT": f"SELECT DISTINCT k, v FROM {A}",
    "inner join": f"SELECT x.v AS v, y.s AS s FROM {A} AS x JOIN {B} AS y ON x.k = y.k",
    "left join": f"SELECT x.v AS v, y.s AS s FROM {A} AS x LEFT JOIN {B} AS y ON x.k = y.k AND x.v > y.v",
    "full join": f"SELECT x.v AS v, y.s AS s FROM {A} AS x FULL JOIN {B} AS y ON x.k = y.k",
    "join on <": f"SELECT x.v AS v, y.s AS s FROM {A} AS x JOIN {B} AS y ON x.v < y.v",
    "three-way join": f"SELECT x.v AS v, z.v AS z FROM {A} AS x JOIN {B} AS y ON x.k = y.k LEFT JOIN {A} AS z ON y.k = z.k",
    "ASOF JOIN": f"SELECT x.v AS v, y.s AS s FROM {A} AS x ASOF JOIN {B} AS y ON x.k = y.k AND x.v >= y.v",
    "ASOF LEFT JOIN, next": f"SELECT x.s AS x, y.s AS s FROM {A} AS x ASOF LEFT JOIN {B} AS y ON x.k = y.k AND x.v < y.v",
    "WITH RECURSIVE": f"WITH RECURSIVE r AS (SELECT v AS x, v AS y FROM {A} UNION SELECT r.x, y.v FROM r JOIN {B} AS y ON r.y = y.k) "
    "SELECT x, y FROM r",
    "WITH RECURSIVE, UNION ALL": f"WITH RECURSIVE r AS (SELECT v AS x, 0 AS n FROM {A} UNION ALL SELECT y.v, r.n + 1 FROM r JOIN {B} AS y "
    "ON r.x = y.k WHERE r.n < 2) SELECT x, n FROM r",
    "IN": f"SELECT v FROM {A} WHERE k IN (SELECT k FROM {B})",
    "NOT IN": f"SELECT v FROM {A} WHERE k NOT IN (SELECT k FROM {B} WHERE k IS NOT NULL)",
    "NOT EXISTS": f"SELECT v FROM {A} AS x WHERE NOT EXISTS (SELECT * FROM {B} AS y WHERE x.k = y.k AND x.v < y.v)",
    "correlated scalar": f"SELECT v, (SELECT MAX(v) FROM {B} AS y WHERE y.k = x.k) AS m FROM {A} AS x",
    "left join on a subquery": f"SELECT x.v AS v, y.s AS s FROM {A} AS x LEFT JOIN {B} AS y ON x.k = y.k AND x.v > (SELECT AVG(v) FROM {B} AS z WHERE z.k = x.k)",
    "GROUP BY a subquery": f"SELECT COUNT(*) AS n, MAX(v) AS v FROM {A} AS x GROUP BY k IN (SELECT k FROM {B})",
    "EXISTS … EXCEPT": f"SELECT v FROM {A} AS x WHERE EXISTS (SELECT s FROM {B} AS y WHERE y.k = x.k EXCEPT SELECT s FROM {A} AS z WHERE z.k = x.k)",
    "LATERAL": f"SELECT x.v AS v, y.v AS w FROM {A} AS x, LATERAL (SELECT v FROM {B} AS y WHERE y.k = x.k ORDER BY v LIMIT 2) AS y",
    "UNION": f"SELECT k FROM {A} UNION SELECT k FROM {B}",
    "UNION ALL": f"SELECT k FROM {A} UNION ALL SELECT k FROM {B}",
    "INTERSECT ALL": f"SELECT k FROM {A} INTERSECT ALL SELECT k FROM {B}",
    "EXCEPT ALL": f"SELECT k FROM {A} EXCEPT ALL SELECT k FROM {B}",
    "EXCEPT": f"SELECT k FROM {A} EXCEPT SELECT k FROM {B}",
    "top-N": f"SELECT k, v, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC, s) AS rn FROM {A}) WHERE rn <= 2",
    "RANK": f"SELECT k, v, rn FROM (SELECT *, RANK() OVER (PARTITION BY k ORDER BY v DESC) AS rn FROM {A}) WHERE rn <= 2",
    "LIMIT": f"SELECT v FROM {A} ORDER BY v, s LIMIT 3",
    "OVER": f"SELECT k, SUM(v) OVER w AS su, LAG(v) OVER w AS la, LAG(v, 2) IGNORE NULLS OVER w AS ln, LEAD(s) IGNORE NULLS OVER w AS le FROM {A} WINDOW w AS (PARTITION BY k ORDER BY ts, v, s)",
    "OVER … FOLLOWING": f"SELECT k, SUM(v) OVER (PARTITION BY k ORDER BY ts, v, s ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS x FROM {A}",
    "TUMBLE": f"SELECT k, window_end, COUNT(*) AS n, MIN(v) AS v FROM (SELECT * FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL "
    f"'10' SECOND)) WHERE k < 9) GROUP BY k, {WINDOWS}",
    "TUMBLE, EMIT CHANGES": f"SELECT k, window_end, {AGGREGATES} FROM (SELECT * FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL "
    f"'10' SECOND)) WHERE k < 9) GROUP BY k, {WINDOWS} EMIT CHANGES",
    "HOP": f"SELECT k, window_end, SUM(v) AS v FROM (SELECT * FROM TABLE(HOP(TABLE a, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL "
    f"'10' SECOND)) WHERE k < 9) GROUP BY k, {WINDOWS}",
    "SESSION": f"SELECT k, window_end, {AGGREGATES} FROM (SELECT * FROM TABLE(SESSION(TABLE a PARTITION BY k, DESCRIPTOR(ts), INTERVAL "
    f"'4' SECOND)) WHERE k < 9) GROUP BY k, {WINDOWS}",
    "SESSION, by arrival": f"SELECT k, window_end, {BY_ARRIVAL} FROM (SELECT * FROM TABLE(SESSION(TABLE a PARTITION BY k, DESCRIPTOR(ts), "
    f"INTERVAL '4' SECOND)) WHERE k < 9) GROUP BY k, {WINDOWS}",
    "MultiJoin": f"SELECT x.v AS v, y.s AS s, z.v AS w FROM {A} AS x JOIN {B} AS y ON x.k = y.k JOIN {A} AS z ON y.k = z.k AND z.v > x.v",
}  # fmt: skip

# What has a row for a table without rows: a count that is 0.
CONSTANT = {"NOT IN": 2, "GROUP BY a subquery": 2}  # how many rows the subquery has, and how many NULLs
# Those whose answer for the rows of one k is that of these rows alone.
BY_KEY = [
    "projection", "GROUP BY", "GROUP BY, Python functions", "HAVING", "DISTINCT", "inner join", "MultiJoin", "left join", "join on <",
    "ASOF JOIN",    "ASOF LEFT JOIN, next", "IN", "NOT IN", "NOT EXISTS",
    "correlated scalar", "LATERAL", "top-N", "RANK", "OVER", "OVER … FOLLOWING", "EXCEPT ALL", "INTERSECT ALL", "EXCEPT",
]  # fmt: skip

Image = dict[str, object]


def image(rng: random.Random) -> Image:
    at = BEGIN + timedelta(seconds=rng.randrange(40))
    return {
        "k": rng.choice([0, 1, 2, 3, None]), "v": rng.choice([*range(6), None]), "s": rng.choice(["a", "b", "ä", None]),
        "ts": str(at),
    }  # fmt: skip


def changes(rng: random.Random, kept: list[Image], gone: list[Image]) -> list[tuple[str, Image]]:
    """Both are inserted, in any order, and those that go are deleted at some time after."""
    out = [("+", r) for r in [*kept, *gone]]
    rng.shuffle(out)
    for r in gone:
        at = next(i for i, x in enumerate(out) if x[0] == "+" and x[1] is r)
        out.insert(rng.randint(at + 1, len(out)), ("-", r))
    return out


def write(path: Path, changed: list[tuple[str, Image]]) -> None:
    end = {"k": 9, "v": 0, "s": "", "ts": str(BEGIN + timedelta(days=1))}
    lines = [
        {"before": None, "after": r, "op": "c"} if sign == "+" else {"before": r, "after": None, "op": "d"}
        for sign, r in [*changed, ("+", end)]
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def run(place: Path, sql: str, rng: random.Random, parallelism: int, name: str = "j") -> tuple[Counter[str], int]:
    """The rows that the query's changes add up to, and the rows of state after the last epoch."""
    left = 0

    def look(p: Progress) -> None:
        nonlocal left
        left = p.state_rows

    options = {
        "execution.runtime-mode": "streaming", "execution.epoch.max-rows": str(rng.randint(1, 12)), "pipeline.name": name,
        "state.backend.type": "hashmap", "parallelism.default": str(parallelism),
        "table.optimizer.multi-join.enabled": "true",
    }  # fmt: skip
    session = Session(options=options, working_directory=str(place), clock=Ticking(), on_progress=look)
    tables = "".join(TABLE.format(name=n, place=place) for n in "ab") + FUNCTIONS
    out = place / f"out-{name}"
    for _ in session.execute(
        f"{tables} CREATE TABLE o WITH ('connector' = 'filesystem', 'path' = '{out}', 'format' = 'debezium-json') AS {sql};"
    ):
        pass
    found: Counter[str] = Counter()
    for file in out.glob("*.json"):
        for line in file.read_text().splitlines():
            change = json.loads(line)
            if change["before"] is not None:
                found[json.dumps(change["before"])] -= 1
            if change["after"] is not None:
                found[json.dumps(change["after"])] += 1
    assert min(found.values(), default=0) >= 0, "a row is taken back that was not there"
    return +found, left


@pytest.mark.share(2)
@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("name", QUERIES)
def test_what_is_deleted_was_never_there(name: str, parallelism: int, tmp_path: Path) -> None:
    rng = random_of(name, parallelism)
    for t in "ab":
        write(tmp_path / f"{t}.json", changes(rng, [], [image(rng) for _ in range(20)]))
    answer, left = run(tmp_path, QUERIES[name], rng, parallelism)
    assert not answer, said(f"rows stay: {answer}")
    assert left == CONSTANT.get(name, 0), said(f"{left} rows of state stay")
    # and beside others: these alone are in the answer
    kept = {t: [image(rng) for _ in range(6)] for t in "ab"}
    for t in "ab":
        write(tmp_path / f"{t}.json", changes(rng, kept[t], []))
    expected, state = run(tmp_path, QUERIES[name], rng, parallelism, "kept")
    for t in "ab":
        write(tmp_path / f"{t}.json", changes(rng, kept[t], [image(rng) for _ in range(20)]))
    answer, left = run(tmp_path, QUERIES[name], rng, parallelism, "both")
    if "by arrival" not in name:
        assert answer == expected, said(f"{answer} is not {expected}")
    assert left == state, said(f"{left} rows of state, {state} without the rows that went")


@pytest.mark.share(2)
@pytest.mark.parametrize("name", BY_KEY)
def test_a_query_is_the_sum_of_its_parts(name: str, tmp_path: Path) -> None:
    """Of the rows where a condition is true, false and NULL."""
    rng = random_of("parts", name)
    for t, n in (("a", 25), ("b", 3)):  # few, so that NOT IN and EXCEPT have an answer
        write(tmp_path / f"{t}.json", changes(rng, [image(rng) for _ in range(n)], [image(rng) for _ in range(10)]))
    whole, _ = run(tmp_path, QUERIES[name], rng, 1, "whole")
    parts: Counter[str] = Counter()
    for i, condition in enumerate(("k < 2", "NOT k < 2", "(k < 2) IS NULL")):
        part = A.replace(")", f") AND {condition})").replace("WHERE k IS NULL OR k < 9", "WHERE (k IS NULL OR k < 9")
        parts += run(tmp_path, QUERIES[name].replace(A, part), rng, rng.choice([1, 2]), f"part{i}")[0]
    assert whole and whole == parts, said(f"{whole} is not {parts}")
