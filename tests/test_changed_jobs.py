"""A job is stopped in the middle, changed, and goes on: what it has written then is what the new SQL gives from the start.

Each case is an old and a new script with what becomes of every operator with state and every output. `refused` ones
change nothing, and the old script goes on.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kill
import pytest

from sqlstream import pipeline
from sqlstream.errors import CheckpointError
from sqlstream.optimize import FORMER_RULES
from sqlstream.runtime.allowed import Allowed
from sqlstream.runtime.progress import Progress
from sqlstream.savepoint.record import Savepoint
from sqlstream.session import Session

ROWS = 900
COLUMNS = {
    "r": "a INT, b INT",
    "c": "k INT, n BIGINT",
    "c2": "k INT, n BIGINT",
    "s": "k INT, n BIGINT",
    "c3": "k INT, n BIGINT, total BIGINT",
    "w": "k INT, e TIMESTAMP(3), n BIGINT",
    "w2": "k INT, e TIMESTAMP(3), n BIGINT",
    "j": "k INT, v INT, w INT",
    "p": "k INT, v INT, at TIMESTAMP(3), n BIGINT",
    "d": "k INT, v INT",
    "h": "n BIGINT, m BIGINT",
    "o": "k INT, v INT, total BIGINT",
}
APPEND = ("r", "w", "w2", "o")
SOURCE = """CREATE TABLE {0} (k INT, v INT, s STRING, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '2' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'in/{0}', 'format' = 'json');
"""


def tables() -> str:
    sinks = [
        f"CREATE TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'path' = 'out/{name}', "
        f"'format' = '{'json' if name in APPEND else 'debezium-json'}');\n"
        for name, columns in COLUMNS.items()
    ]
    return SOURCE.format("t") + SOURCE.format("u") + "".join(sinks)


TABLES = tables()
ROWS_OF_T = "INSERT INTO r SELECT k, v FROM t"
COUNT = "INSERT INTO c SELECT k, COUNT(*) FROM t GROUP BY k"
SUM = "INSERT INTO s SELECT k, SUM(v) FROM t GROUP BY k"
WINDOW = (
    "INSERT INTO w SELECT k, window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(at), INTERVAL '5' SECOND)) "
    "GROUP BY k, window_start, window_end"
)
SESSIONS = (
    "INSERT INTO w2 SELECT k, window_end, COUNT(*) FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(at), "
    "INTERVAL '3' SECOND)) GROUP BY k, window_start, window_end"
)
JOIN = "INSERT INTO j SELECT t.k, t.v, u.v FROM t JOIN u ON t.k = u.k AND t.v = u.v"
LEFT = "INSERT INTO j SELECT t.k, t.v, u.v FROM t LEFT JOIN u ON t.k = u.k AND t.v = u.v"
INTERVAL = (
    "INSERT INTO j SELECT t.k, t.v, u.v FROM t JOIN u ON t.k = u.k AND t.v = u.v "
    "AND u.at BETWEEN t.at - INTERVAL '9' SECOND AND t.at + INTERVAL '9' SECOND"
)
TOP = (
    "INSERT INTO p SELECT k, v, at, n FROM (SELECT k, v, at, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC, at) AS n "
    "FROM t) WHERE n <= 3"
)
DISTINCT = "INSERT INTO d SELECT DISTINCT k, MOD(v, 7) FROM t"
OVER = (
    "INSERT INTO o SELECT k, v, SUM(CAST(v AS BIGINT)) OVER (PARTITION BY k ORDER BY at ROWS BETWEEN 2 PRECEDING AND "
    "CURRENT ROW) FROM t"
)
NESTED = "INSERT INTO h SELECT n, COUNT(*) FROM (SELECT k, COUNT(*) AS n FROM t GROUP BY k) GROUP BY n"
HAVING = "INSERT INTO c2 SELECT k, COUNT(*) FROM t GROUP BY k HAVING COUNT(*) > 40"
LOCAL = "INSERT INTO c SELECT h, COUNT(*) FROM (SELECT CAST(HOUR(CAST(TO_TIMESTAMP_LTZ(v, 0) AS TIMESTAMP(3))) AS INT) AS h FROM t) GROUP BY h"
BOTH = "(SELECT k, v, at FROM t UNION ALL SELECT k, v, at FROM u)"


@dataclass(frozen=True)
class Case:
    """`becomes`: what --check says of each: (fate, operator or output) with how often; `refused`: a part of the message.

    `before`, `after`: what is done to tables and options; `allowed`: what the user accepts. `later`: of an output that was
    kept, what rows of the old query are by the new one.
    """

    name: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    becomes: str
    refused: str = ""
    ddl: tuple[str, str] = ("", "")  # replaced in the new script
    options: dict[str, str] = field(default_factory=dict)  # of the new one
    allowed: Allowed = Allowed()
    later: tuple[str, Callable[[Any], Any]] | None = None
    views: tuple[str, str] = ("", "")


def keep(*names: str) -> Allowed:
    return Allowed(keep_output=frozenset(names))


G, W = "GroupAggregate", "WindowAggregate"
CASES = [
    # statements of a set
    Case("a statement without state is added", (COUNT,), (COUNT, ROWS_OF_T), f"kept {G}, kept c, rebuilt r"),
    Case("an aggregate is added", (COUNT,), (COUNT, SUM), f"kept {G}, kept c, rebuilt {G}, rebuilt s"),
    Case("a window is added", (COUNT,), (COUNT, WINDOW), f"kept {G}, kept c, rebuilt {W}, rebuilt w"),
    Case("a window is added in front", (COUNT,), (WINDOW, COUNT), f"kept {G}, kept c, rebuilt {W}, rebuilt w"),
    Case("an aggregate beside a window", (WINDOW,), (WINDOW, COUNT), f"kept {W}, kept w, rebuilt {G}, rebuilt c"),
    Case("a window beside a join", (JOIN,), (JOIN, WINDOW), f"kept Join, kept j, rebuilt {W}, rebuilt w"),
    Case("a join is added, with a new table", (COUNT,), (COUNT, JOIN),
         f"kept {G}, kept c, rebuilt Join, rebuilt j, begins table u"),
    Case("an outer join is added, with a new table", (ROWS_OF_T,), (ROWS_OF_T, LEFT),
         "kept r, rebuilt Join, rebuilt j, begins table u"),
    Case("sessions are added", (ROWS_OF_T,), (SESSIONS, ROWS_OF_T), "kept r, rebuilt SessionWindowAggregate, rebuilt w2"),
    Case("top-n is added", (COUNT,), (COUNT, TOP), f"kept {G}, kept c, rebuilt TopN, rebuilt p"),
    Case("DISTINCT is added", (COUNT,), (COUNT, DISTINCT), f"kept {G}, kept c, rebuilt {G}, rebuilt d"),
    Case("OVER is added", (WINDOW,), (WINDOW, OVER), f"kept {W}, kept w, rebuilt OverAggregate, rebuilt o"),
    Case("an aggregate over one that is kept", (COUNT,), (COUNT, NESTED), f"kept {G}, kept c, rebuilt {G}, rebuilt h"),
    Case("HAVING for another table, over what is kept", (COUNT,), (COUNT, HAVING), f"kept {G}, kept c, rebuilt c2"),
    Case("a statement takes the place of another", (COUNT,), (HAVING,), f"kept {G}, dropped c, rebuilt c2"),
    Case("a column more, for another table", (COUNT,),
         (COUNT, "INSERT INTO c3 SELECT k, COUNT(*), SUM(v) FROM t GROUP BY k"),
         f"kept {G}, kept c, rebuilt {G}, rebuilt c3"),
    Case("another window, for another table", (WINDOW,), (WINDOW, WINDOW.replace("INTO w", "INTO w2").replace("'5'", "'10'")),
         f"kept {W}, kept w, rebuilt {W}, rebuilt w2"),
    Case("a statement goes", (COUNT, SUM), (COUNT,), f"kept {G}, kept c, dropped {G}, dropped s"),
    Case("a statement without state goes", (COUNT, ROWS_OF_T), (COUNT,), f"kept {G}, kept c, dropped r"),
    Case("a window goes", (WINDOW, COUNT), (COUNT,), f"kept {G}, kept c, dropped {W}, dropped w"),
    Case("all but the one without state go", (COUNT, WINDOW, ROWS_OF_T), (ROWS_OF_T,),
         f"kept r, dropped {G}, dropped {W}, dropped c, dropped w"),
    Case("the reader of a table goes", (COUNT, JOIN), (COUNT,),
         f"kept {G}, kept c, dropped Join, dropped j, dropped table u"),
    Case("the order of statements", (COUNT, SUM, WINDOW), (WINDOW, SUM, COUNT),
         f"kept {G}, kept {G}, kept {W}, kept c, kept s, kept w"),
    # other words for the same
    Case("other names", (COUNT,), ("INSERT INTO c SELECT x, COUNT(*) AS many FROM (SELECT k AS x FROM t) GROUP BY x",), ""),
    Case("filters in another order", (COUNT.replace("GROUP", "WHERE v > 9 AND s = 'a' GROUP"),),
         (COUNT.replace("GROUP", "WHERE s = 'a' AND v > 9 GROUP"),), f"kept {G}, kept c"),
    Case("a view for a table", (COUNT,), ("INSERT INTO c SELECT k, COUNT(*) FROM x GROUP BY k",), "",
         views=("", "CREATE VIEW x AS SELECT k, v + 1 AS v1 FROM t;")),
    Case("a view with a column that nobody reads", ("INSERT INTO c SELECT k, COUNT(*) FROM x GROUP BY k",),
         ("INSERT INTO c SELECT k, COUNT(*) FROM x GROUP BY k",), "",
         views=("CREATE VIEW x AS SELECT k FROM t;", "CREATE VIEW x AS SELECT k, v * 2 AS v2 FROM t;")),
    Case("a column list", (COUNT,), ("INSERT INTO c (n, k) SELECT COUNT(*), k FROM t GROUP BY k",), ""),
    Case("a computed column of the table", (COUNT,), (COUNT,), "", ddl=("s STRING,", "s STRING, v2 AS v * 2,")),
    Case("the branches of UNION ALL change places", (f"INSERT INTO r SELECT k, v FROM {BOTH}",),
         ("INSERT INTO r SELECT k, v FROM (SELECT k, v FROM u UNION ALL SELECT k, v FROM t)",), "kept r"),
    Case("another watermark, for which nobody waits", (COUNT,), (COUNT,), "", ddl=("INTERVAL '2'", "INTERVAL '4'")),
    # options
    Case("state lives for a time", (COUNT,), (COUNT, ROWS_OF_T), f"kept {G}, kept c, rebuilt r",
         options={"table.exec.state.ttl": "1 h"}),
    Case("another time zone, where none counts", (COUNT,), (COUNT,), "", options={"table.local-time-zone": "Asia/Tokyo"}),
    # new inputs
    Case("a branch more", (ROWS_OF_T,), (f"INSERT INTO r SELECT k, v FROM {BOTH}",), "kept r, begins table u"),
    Case("a branch more below an aggregate", (COUNT,), (COUNT.replace("FROM t", f"FROM {BOTH}"),),
         f"kept {G}, kept c, begins table u"),
    Case("another path of a sink", (COUNT,), (COUNT,), f"kept {G}, dropped c, rebuilt c", ddl=("'out/c'", "'out/c-new'")),
    # refused
    Case("a filter", (COUNT,), (COUNT.replace("GROUP", "WHERE v > 500 GROUP"),), "", "the output to table c"),
    Case("a filter without state", (ROWS_OF_T,), (ROWS_OF_T + " WHERE v > 500",), "", "the output to table r"),
    Case("an expression", (ROWS_OF_T,), ("INSERT INTO r SELECT k, v + 1 FROM t",), "", "cannot be taken back"),
    Case("HAVING", (COUNT,), (COUNT + " HAVING COUNT(*) > 40",), "", "the output to table c"),
    Case("the size of a window", (WINDOW,), (WINDOW.replace("'5'", "'10'"),), "", "the output to table w"),
    Case("a watermark", (WINDOW,), (WINDOW,), "", "the output to table w", ddl=("INTERVAL '2'", "INTERVAL '4'")),
    Case("an aggregate in the same column", (SUM,), (SUM.replace("SUM", "MAX"),), "", "the output to table s"),
    Case("a column more", (ROWS_OF_T,), ("INSERT INTO r SELECT k, v, s FROM t",), "", "the output to table r",
         ddl=("a INT, b INT", "a INT, b INT, s STRING")),
    Case("another table", (COUNT,), (COUNT.replace("FROM t", "FROM u"),), "", "the output to table c"),
    Case("a branch of what is read already", (ROWS_OF_T, COUNT.replace("FROM t", "FROM u")),
         (f"INSERT INTO r SELECT k, v FROM {BOTH}", COUNT.replace("FROM t", "FROM u")), "", "the output to table r"),
    Case("a branch less", (f"INSERT INTO r SELECT k, v FROM {BOTH}",), (ROWS_OF_T,), "", "the output to table r"),
    Case("a branch more below a window", (WINDOW,),
         ("INSERT INTO w SELECT k, window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE x, DESCRIPTOR(at), INTERVAL '5' SECOND)) "
          "GROUP BY k, window_start, window_end",), "", "the output to table w", views=("", f"CREATE VIEW x AS {BOTH[1:-1]};")),
    Case("the path of a table that is read", (COUNT,), (COUNT,), "", "'path' was 'in/t'", ddl=("'in/t'", "'in/u'")),
    Case("a format, at the same path", (ROWS_OF_T,), (ROWS_OF_T,), "", "'format' was 'json', and is 'csv'",
         ddl=("'out/r', 'format' = 'json'", "'out/r', 'format' = 'csv'")),
    Case("another name for a sink", (COUNT,), (COUNT.replace("INTO c", "INTO c2"),), "", "table c has written there",
         ddl=("'out/c2'", "'out/c'")),
    Case("the time zone, where times are local", (LOCAL,), (LOCAL,), "", "the output to table c",
         options={"table.local-time-zone": "Asia/Tokyo"}),
    # what is written stays
    Case("a filter, by leave", (ROWS_OF_T,), (ROWS_OF_T + " WHERE MOD(v, 2) = 0",), "kept r", allowed=keep("r"),
         later=("r", lambda r: None if r["b"] % 2 else r)),
    Case("an expression, by leave", (ROWS_OF_T,), ("INSERT INTO r SELECT k, v + 1000 FROM t",), "kept r", allowed=keep("r"),
         later=("r", lambda r: {**r, "b": r["b"] + 1000})),
]  # fmt: skip


def write_input(place: Path, name: str, seed: int) -> None:
    r = random.Random(seed)
    (place / "in" / name).mkdir(parents=True)
    files = [(place / "in" / name / f"{n}.json").open("w") for n in range(3)]
    for i in range(ROWS):
        ms = i * 100 - r.choice((0, 0, 300, 1500, 4000))
        at = (
            f"2024-01-01 00:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"
            if ms > 0
            else "2024-01-01 00:00:00.000"
        )
        row = {"k": min(r.randrange(12), r.randrange(12)), "v": r.randrange(60), "s": r.choice("abc"), "at": at}
        r.choice(files).write(json.dumps(row) + "\n")
    for f in files:
        f.close()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("inputs")
    write_input(place, "t", 1)
    write_input(place, "u", 2)
    return place


def script(case: Case, new: bool) -> str:
    ddl = TABLES.replace(*case.ddl) if new and case.ddl[0] else TABLES
    assert not new or not case.ddl[0] or ddl != TABLES
    body = "\n".join(f"{s};" for s in (case.new if new else case.old))
    return f"{ddl}{case.views[new]}\nEXECUTE STATEMENT SET BEGIN\n{body}\nEND;"


def run(
    place: Path, text: str, options: dict[str, str], stop_at: int | None = None, allowed: Allowed | None = None
) -> list[str]:
    """Runs a script to its end, or until so many rows are read; what was said."""
    said: list[str] = []

    def look(progress: Progress) -> None:
        if stop_at is not None and progress.rows_in >= stop_at:
            session.cancel()

    given = {"execution.runtime-mode": "streaming", "pipeline.name": "j", "execution.epoch.max-rows": "40", **options}
    session = Session(
        options=given, working_directory=str(place), on_progress=look, on_message=said.append, allowed=allowed
    )
    for _ in session.execute(text):
        pass
    return said


def checked(place: Path, text: str, options: dict[str, str], allowed: Allowed) -> tuple[bool, list[str]]:
    """Whether --check says that it goes on, and what it says."""
    given = {"execution.runtime-mode": "streaming", "pipeline.name": "j", **options}
    session = Session(options=given, working_directory=str(place), allowed=allowed, checks=True)
    messages = [r.message for r in session.execute(text) if r.kind == "CHECK"]
    return not session.environment.refused, messages[0].splitlines()


def fates(lines: Iterable[str]) -> Counter[str]:
    found = []
    for line in lines:
        if m := re.match(
            r"  (kept|rebuilt|begins|dropped|refused) +(the output to table |the place in (?=table ))?([\w ]+)", line
        ):
            found.append(f"{m[1]} {m[3].strip()}")
    return Counter(found)


def wanted(text: str) -> Counter[str]:
    return Counter(w.strip() for w in text.split(",") if w.strip())


def lines_of(place: Path, table: str) -> list[str]:
    found = kill.published(place / "out" / table) if (place / "out" / table).exists() else []
    return [line for p in sorted(found, key=part_number) for line in p.read_text().splitlines()]


def part_number(path: Path) -> tuple[int, int, int]:
    m = re.search(r"-(\d+)-(\d+)-(\d+)\.\w+$", path.name)
    assert m is not None
    return int(m[2]), int(m[1]), int(m[3])


def result(place: Path, table: str, where: str = "") -> Counter[str]:
    """The rows that a table has come to."""
    rows: Counter[str] = Counter()
    for line in lines_of(place, where or table):
        value = json.loads(line)
        if table in APPEND:
            rows[json.dumps(value, sort_keys=True)] += 1
            continue
        for side, by in (("before", -1), ("after", 1)):
            if value[side] is not None:
                rows[json.dumps(value[side], sort_keys=True)] += by
    assert min(rows.values(), default=0) >= 0, table
    return +rows


def outputs(statements: Iterable[str]) -> list[str]:
    return [m[1] for s in statements if (m := re.match(r"INSERT INTO (\w+)", s))]


def options_of(backend: str, number: int) -> tuple[dict[str, str], dict[str, str]]:
    """Of the old and of the new job: some go on at another parallelism."""
    counts = [(1, 1), (1, 2), (2, 1), (2, 3)][number % 4]
    return tuple({"state.backend.type": backend, "parallelism.default": str(n)} for n in counts)  # type: ignore[return-value]


@pytest.mark.share(2)
@pytest.mark.parametrize("backend", ["rocksdb", "hashmap"])
@pytest.mark.parametrize("number", range(len(CASES)), ids=[c.name.replace(" ", "-") for c in CASES])
def test_a_changed_job_goes_on(tmp_path: Path, inputs: Path, number: int, backend: str) -> None:
    case = CASES[number]
    place, anew = tmp_path / "job", tmp_path / "anew"
    for p in (place, anew):
        p.mkdir()
        (p / "in").symlink_to(inputs / "in")
    before, after = options_of(backend, number)
    after |= case.options
    run(place, script(case, False), before, stop_at=ROWS // 3)
    written = {t: result(place, t) for t in COLUMNS}
    good, lines = checked(place, script(case, True), after, case.allowed)
    if case.refused:
        assert not good
        with pytest.raises(CheckpointError, match=re.escape(case.refused)):
            run(place, script(case, True), after)
        assert {t: result(place, t) for t in COLUMNS} == written
        run(place, script(case, False), before)
        run(anew, script(case, False), {**before, "pipeline.name": "n"})
        for table in outputs(case.old):
            assert result(place, table) == result(anew, table) != Counter(), table
        return
    assert good and fates(lines) == wanted(case.becomes), lines
    said = run(place, script(case, True), after, allowed=case.allowed)
    assert any("resumes from checkpoint" in s for s in said)
    run(anew, script(case, True), {**after, "pipeline.name": "n"})
    for table in outputs(case.new):
        got, expected = result(place, table), result(anew, table)
        if case.ddl[0] == f"'out/{table}'":
            assert got == written[table]
            got, expected = (result(p, table, f"{table}-new") for p in (place, anew))
        if case.later is not None and case.later[0] == table:
            rows = [case.later[1](json.loads(r)) for r in written[table].elements()]
            seen = Counter(json.dumps(r, sort_keys=True) for r in rows if r is not None)
            assert seen <= expected
            expected = written[table] + (expected - seen)
        assert got == expected != Counter(), table


POINTS = ["republished", "after-prepare", "after-delta", "mid-upload", "after-upload", "before-changed", "before-manifest",
          "after-manifest", "mid-publish", "after-changed"]  # fmt: skip


@pytest.mark.share(4)
@pytest.mark.parametrize("backend", ["rocksdb", "hashmap"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_while_it_changes(tmp_path: Path, inputs: Path, point: str, backend: str) -> None:
    """The job is as it was, or it is the changed one: never something between."""
    case = Case("", (COUNT, ROWS_OF_T), (COUNT, SUM, WINDOW, NESTED), "")
    place, anew = tmp_path / "job", tmp_path / "anew"
    for p in (place, anew):
        p.mkdir()
        shutil.copytree(inputs / "in", p / "in")
        (p / "old.sql").write_text(script(case, False))
        (p / "new.sql").write_text(script(case, True))
    options = ["-D", "execution.runtime-mode=streaming", "-D", "pipeline.name=j", "-D", f"state.backend.type={backend}",
               "-D", "execution.epoch.max-rows=40"]  # fmt: skip
    status, said = kill.run(place, ["run", "old.sql", *options], "after-publish:4")
    assert status == -signal.SIGKILL, said
    status, said = kill.run(place, ["run", "new.sql", *options], f"{point}:1")
    assert status == -signal.SIGKILL, said
    if point not in ("after-manifest", "mid-publish", "after-changed"):  # the old script goes on as if nothing had been
        copy = tmp_path / "copy"
        shutil.copytree(place, copy, ignore=shutil.ignore_patterns("*.sock"))
        for p in (copy, anew):
            status, said = kill.run(p, ["run", "old.sql", *options])
            assert status == 0, said
        for table in outputs(case.old):
            assert result(copy, table) == result(anew, table) != Counter(), table
        shutil.rmtree(anew / "out")
        shutil.rmtree(anew / ".sqlstream")
    status, said = kill.run(place, ["run", "new.sql", *options, "-D", "parallelism.default=2"], f"{point}:3")
    assert status in (0, -signal.SIGKILL), said
    status, said = kill.run(place, ["run", "new.sql", *options])
    assert status == 0, said
    status, said = kill.run(anew, ["run", "new.sql", *options])
    assert status == 0, said
    for table in outputs(case.new):
        assert result(place, table) == result(anew, table) != Counter(), table
    assert not [p for p in (place / "out").rglob("_staging/**/*") if p.is_file()]


PADDED = "INSERT INTO d SELECT t.k, u.v FROM t LEFT JOIN u ON t.k = u.k AND t.v = u.v WHERE u.v > 3"


def test_a_job_keeps_the_plan_that_it_began_with(tmp_path: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules of the optimiser that came later change the plans of new jobs alone."""
    text = f"{TABLES}{PADDED};"
    place, anew = tmp_path / "job", tmp_path / "anew"
    for p in (place, anew):
        p.mkdir()
        shutil.copytree(inputs / "in", p / "in")
    with monkeypatch.context() as before:
        before.setattr(pipeline, "RULES", FORMER_RULES)
        run(place, text, {}, stop_at=ROWS)
        assert "Join(LEFT" in plan_of(place)
    refused, said = checked(place, text, {}, Allowed())
    assert refused and "as it was" in said[0], said
    said = run(place, text, {})
    assert any("resumes" in line for line in said), said
    run(anew, text, {})
    assert "Join(LEFT" in plan_of(place) and "Join(INNER" in plan_of(anew)
    assert result(place, "d") == result(anew, "d") != Counter()


MULTI = (
    "INSERT INTO j SELECT t.k, t.v, x.v FROM t JOIN u ON t.k = u.k AND t.v = u.v JOIN t AS x ON x.k = u.k AND x.v = u.v"
)
ONE_BY_ONE = {"table.optimizer.multi-join.enabled": "false"}


@pytest.mark.parametrize(
    ("before", "after", "added", "joins"),
    [
        (ONE_BY_ONE, {}, "", "Join("),  # as versions before did, if not asked
        (ONE_BY_ONE, {}, COUNT, "Join("),
        ({}, {"table.exec.state.ttl": "100 d"}, "", "MultiJoin("),  # a new job would have Joins
        ({}, {"table.exec.state.ttl": "100 d"}, COUNT, "MultiJoin("),
    ],
)
def test_joins_stay_as_they_began(
    tmp_path: Path, inputs: Path, before: dict[str, str], after: dict[str, str], added: str, joins: str
) -> None:
    place, anew = tmp_path / "job", tmp_path / "anew"
    for p in (place, anew):
        p.mkdir()
        shutil.copytree(inputs / "in", p / "in")
    new = f"{TABLES}EXECUTE STATEMENT SET BEGIN {MULTI}; {added}; END;" if added else f"{TABLES}{MULTI};"
    run(place, f"{TABLES}{MULTI};", before, stop_at=ROWS)
    said = run(place, new, after)
    assert any("resumes" in line or "has changed" in line for line in said), said
    run(anew, new, after)
    assert f" {joins}" in plan_of(place) and f" {joins}" not in plan_of(anew)
    for table in ("j", "c") if added else ("j",):
        assert result(place, table) == result(anew, table) != Counter()


# ---- what cannot be read again, and what the user accepts


GROWING = TABLES.replace("'format' = 'json');", "'format' = 'json', 'source.monitor-interval' = '10 ms');", 2)
STREAMING = {"execution.runtime-mode": "streaming", "pipeline.name": "j"}


def until(place: Path, text: str, rows: int, allowed: Allowed | None = None) -> list[str]:
    """Runs a job over tables that grow until it has read so many rows."""
    return run(place, text, {"execution.epoch.max-rows": "400"}, stop_at=rows, allowed=allowed)


def growing(statements: Iterable[str]) -> str:
    return f"{GROWING}EXECUTE STATEMENT SET BEGIN\n" + "\n".join(f"{s};" for s in statements) + "\nEND;"


def folded(rows: Iterable[dict[str, int]], by: Callable[[dict[str, int]], int]) -> Counter[str]:
    sums: Counter[int] = Counter()
    for r in rows:
        sums[r["k"]] += by(r)
    return Counter(json.dumps({"k": k, "n": n}, sort_keys=True) for k, n in sums.items())


def write_rows(place: Path, name: str, first: int, count: int) -> list[dict[str, int]]:
    rows = [{"k": i % 5, "v": i} for i in range(first, first + count)]
    path = place / "in/t"
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text("".join(json.dumps({**r, "s": "a", "at": "2024-01-01 00:00:00.000"}) + "\n" for r in rows))
    return rows


@pytest.mark.parametrize("gone", ["deleted", "forgotten", "replaced"])
def test_what_is_gone_is_not_read_again(tmp_path: Path, gone: str) -> None:
    """Kept state needs nothing of it. What is new is refused, or begins with what is there, if the user says so."""
    first, second = write_rows(tmp_path, "1.json", 0, 100), write_rows(tmp_path, "2.json", 100, 50)
    until(tmp_path, growing([COUNT]), 150)
    if gone == "replaced":
        (tmp_path / "in/t/1.json").unlink()
        (tmp_path / "in/t/1.json").write_text('{"k": 1, "v": 1000000, "s": "something else", "at": null}\n' * 200)
        third = [{"k": 1, "v": 1_000_000}] * 200
    else:
        (tmp_path / "in/t/1.json").unlink()
        third = write_rows(tmp_path, "3.json", 150, 100)
    if gone == "forgotten":
        third += files_come(tmp_path, growing([COUNT]), 250, 12)
        assert "t/1.json" not in newest_manifest(tmp_path)
    with pytest.raises(CheckpointError) as refused:
        until(tmp_path, growing([COUNT, SUM]), 10_000)
    operator = re.search(r"--start-empty (GroupAggregate-\w+)", str(refused.value))
    assert operator is not None and "--keep-output s" in str(refused.value), refused.value
    allowed = Allowed(frozenset([operator[1]]), frozenset(["s"]))
    last = write_rows(tmp_path, "last.json", 5000, 20)
    total = len(first) + len(second) + len(third) + len(last)
    until(tmp_path, growing([COUNT, SUM]), total, allowed)
    assert result(tmp_path, "c") == folded([*first, *second, *third, *last], lambda r: 1)
    since = last if gone == "forgotten" else [*third, *last]
    assert result(tmp_path, "s") == folded(since, lambda r: r["v"])


def files_come(place: Path, text: str, rows: int, files: int) -> list[dict[str, int]]:
    """Runs a job while one file after the other comes, each when the one before was read: so it looks at the directory."""
    written: list[dict[str, int]] = []

    def look(progress: Progress) -> None:
        if progress.rows_in >= rows + len(written):
            n = len(written) // 10
            if n == files:
                session.cancel()
            else:
                written.extend(write_rows(place, f"more-{n:02d}x.json", 1000 * n + 1000, 10))

    session = Session(options=dict(STREAMING), working_directory=str(place), on_progress=look)
    list(session.execute(text))
    return written


def newest(place: Path) -> Any:
    """The manifest of the newest checkpoint."""
    (runs,) = (place / ".sqlstream/j/runs").iterdir()
    path = max(runs.glob("chk-*"), key=lambda p: int(p.name.removeprefix("chk-"))) / "manifest.json"
    return json.loads(path.read_text())


def newest_manifest(place: Path) -> str:
    """The names of the splits of the newest checkpoint."""
    return str(list(newest(place)["sources"].values()))


def plan_of(place: Path) -> str:
    """The plan of the newest checkpoint."""
    return str(newest(place)["plan"])


def test_files_that_grow_and_move_are_read_again(tmp_path: Path) -> None:
    first = write_rows(tmp_path, "1.json", 0, 100)
    until(tmp_path, growing([COUNT]), 100)
    (tmp_path / "in/t/1.json").rename(tmp_path / "in/t/1.json.old")
    with (tmp_path / "in/t/1.json.old").open("a") as f:
        f.write('{"k": 0, "v": 7, "s": "a", "at": "2024-01-01 00:00:00.000"}\n')
    until(tmp_path, growing([COUNT, SUM]), 101)
    rows = [*first, {"k": 0, "v": 7}]
    assert result(tmp_path, "c") == folded(rows, lambda r: 1)
    assert result(tmp_path, "s") == folded(rows, lambda r: r["v"])


def test_generators_are_read_again_as_fast_as_they_can(tmp_path: Path) -> None:
    table = (
        "CREATE TABLE g (k INT, v INT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000', "
        "'fields.k.min' = '0', 'fields.k.max' = '5', 'fields.v.min' = '0', 'fields.v.max' = '9');\n"
    )
    count, total = (s.replace("FROM t", "FROM g") for s in (COUNT, SUM))
    set_ = "EXECUTE STATEMENT SET BEGIN {}; END;"
    run(tmp_path, TABLES + table + set_.format(count), {}, stop_at=3000)
    run(tmp_path, TABLES + table + set_.format(f"{count}; {total}"), {}, stop_at=3100)
    counted = sum(json.loads(r)["n"] for r in result(tmp_path, "c"))
    assert counted >= 3100
    alone = tmp_path / "alone"
    alone.mkdir()
    bounded = table.replace("'2000'", f"'1000000', 'number-of-rows' = '{counted}'")
    run(alone, TABLES + bounded + set_.format(f"{count}; {total}"), {})
    for name in ("c", "s"):
        assert result(tmp_path, name) == result(alone, name), name
    timed = table.replace("v INT", "v INT, ts TIMESTAMP(3)")
    run(alone, TABLES + timed + set_.format(count), {"pipeline.name": "k"}, stop_at=100)
    with pytest.raises(CheckpointError, match="of the moment"):
        run(alone, TABLES + timed + set_.format(f"{count}; {total}"), {"pipeline.name": "k"}, stop_at=100)


def test_what_a_kept_output_takes_back_is_said(tmp_path: Path, inputs: Path) -> None:
    (tmp_path / "in").symlink_to(inputs / "in")
    case = Case("", (COUNT, ROWS_OF_T), (COUNT + " HAVING COUNT(*) > 40", ROWS_OF_T + " WHERE v > 9"), "")
    run(tmp_path, script(case, False), {}, stop_at=ROWS // 3)
    good, lines = checked(tmp_path, script(case, True), {}, keep("c", "r"))
    assert good
    said = {m[1]: m[2] for line in lines if (m := re.search(r"the output to table (\w): (.*)", line))}
    assert "also the rows that updates take back" in said["c"] and "take back" not in said["r"]


def test_a_name_that_is_not_there(tmp_path: Path) -> None:
    write_rows(tmp_path, "1.json", 0, 10)
    until(tmp_path, growing([COUNT]), 10)
    for allowed, what in (
        (Allowed(frozenset(["GroupAgregate"])), "no operator with state 'GroupAgregate'"),
        (Allowed(keep_output=frozenset(["cc"])), "no table that is written 'cc'"),
    ):
        with pytest.raises(CheckpointError, match=what):
            until(tmp_path, growing([COUNT]), 20, allowed)


def test_a_finished_job_gets_a_statement_more(tmp_path: Path, inputs: Path) -> None:
    (tmp_path / "in").symlink_to(inputs / "in")
    old, new = Case("", (COUNT,), (COUNT, WINDOW, SUM), ""), tmp_path / "new"
    run(tmp_path, script(old, False), {})
    said = run(tmp_path, script(old, True), {})
    assert any("has finished" in s for s in said)
    new.mkdir()
    (new / "in").symlink_to(inputs / "in")
    run(new, script(old, True), {})
    for table in outputs(old.new):
        assert result(tmp_path, table) == result(new, table) != Counter(), table


def test_stopped_while_it_changes(tmp_path: Path, inputs: Path) -> None:
    """The job is as it was."""
    (tmp_path / "in").symlink_to(inputs / "in")
    case = Case("", (COUNT,), (COUNT, SUM), "")
    run(tmp_path, script(case, False), {}, stop_at=ROWS // 3)
    before = newest_manifest(tmp_path)
    session = Session(options={**STREAMING}, working_directory=str(tmp_path))
    session.cancel()  # the job that begins is to stop at once
    with pytest.raises(Exception, match="the job is as it was"):
        list(session.execute(script(case, True)))
    assert newest_manifest(tmp_path) == before and result(tmp_path, "s") == Counter()
    run(tmp_path, script(case, False), {})
    assert sum(json.loads(r)["n"] for r in result(tmp_path, "c")) == ROWS


@pytest.mark.parametrize("stop_at", [ROWS // 3, ROWS - 10, ROWS + 1])
@pytest.mark.parametrize(
    "second", [INTERVAL, LEFT, WINDOW.replace("FROM TABLE(TUMBLE(TABLE t", "FROM TABLE(TUMBLE(TABLE x")]
)
def test_a_table_that_comes_late(tmp_path: Path, inputs: Path, second: str, stop_at: int) -> None:
    """Time does not go on without it: what it is to be joined with is there, whenever the other table was read."""
    place, new = tmp_path / "job", tmp_path / "new"
    for p in (place, new):
        p.mkdir()
        (p / "in").symlink_to(inputs / "in")
    case = Case("", (ROWS_OF_T,), (ROWS_OF_T, second), "", views=("", f"CREATE VIEW x AS {BOTH[1:-1]};"))
    run(place, script(case, False), {}, stop_at=stop_at)
    run(place, script(case, True), {})
    run(new, script(case, True), {})
    for table in outputs(case.new):
        assert result(place, table) == result(new, table) != Counter(), table


@pytest.mark.parametrize("statement", ["INSERT INTO h SELECT COUNT(*), SUM(CAST(v AS BIGINT)) FROM t", TOP, SESSIONS])
def test_a_finished_job_writes_elsewhere(tmp_path: Path, inputs: Path, statement: str) -> None:
    (tmp_path / "in").symlink_to(inputs / "in")
    (table,) = outputs([statement])
    case = Case("", (statement,), (statement,), "", ddl=(f"'out/{table}'", f"'out/{table}-new'"))
    run(tmp_path, script(case, False), {})
    written = result(tmp_path, table)
    for _ in range(2):
        run(tmp_path, script(case, True), {})
        assert result(tmp_path, table, f"{table}-new") == written != Counter()


def test_a_statement_less_into_one_table(tmp_path: Path, inputs: Path) -> None:
    """What it had written when its process was killed is published, whatever statement is left."""
    (tmp_path / "in").symlink_to(inputs / "in")
    more = "INSERT INTO r SELECT k, v + 1000 FROM t"
    case = Case("", (ROWS_OF_T, more), (ROWS_OF_T,), "")
    (tmp_path / "old.sql").write_text(script(case, False))
    (tmp_path / "new.sql").write_text(script(case, True))
    options = [x for k, v in {**STREAMING, "execution.epoch.max-rows": "40"}.items() for x in ("-D", f"{k}={v}")]
    status, said = kill.run(tmp_path, ["run", "old.sql", *options], "after-manifest:4")
    assert status == -signal.SIGKILL, said
    status, said = kill.run(tmp_path, ["run", "new.sql", *options])
    assert status == 0 and "dropped  the output to table r, by one statement" in said, said
    values = [json.loads(r)["b"] for r in result(tmp_path, "r").elements()]
    assert len([v for v in values if v < 1000]) == ROWS
    assert len([v for v in values if v >= 1000]) == 160


# ---- from a savepoint


def saved(place: Path, text: str, rows: int, options: dict[str, str]) -> str:
    """Stops a job with a savepoint when it has read so many rows: its path."""
    made: list[Future[Savepoint]] = []
    job: list[Any] = []

    def look(progress: Progress) -> None:
        if progress.rows_in >= rows and not made:
            made.append(job[0].stop(savepoint="saved"))

    given = {**STREAMING, "execution.epoch.max-rows": "40", **options}
    session = Session(options=given, working_directory=str(place), on_progress=look, on_job=job.append)
    list(session.execute(text))
    return made[0].result().path


def begins(path: str, **options: str) -> dict[str, str]:
    return {"pipeline.name": "k", "execution.state-recovery.path": path, **options}


IGNORE = {"execution.state-recovery.ignore-unclaimed-state": "true"}
SAVED = [
    Case("a statement more", (COUNT,), (COUNT, SUM), f"kept {G}, kept c, rebuilt {G}, rebuilt s"),
    Case("a statement without state more", (COUNT,), (ROWS_OF_T, COUNT), f"kept {G}, kept c, rebuilt r"),
    Case("an aggregate over one that is kept", (COUNT,), (COUNT, NESTED), f"kept {G}, kept c, rebuilt {G}, rebuilt h"),
    Case("a window beside a join", (JOIN,), (JOIN, WINDOW), f"kept Join, kept j, rebuilt {W}, rebuilt w"),
    Case("an interval join, with a new table", (ROWS_OF_T,), (ROWS_OF_T, INTERVAL),
         "kept r, rebuilt IntervalJoin, rebuilt j, begins table u"),
    Case("the table's name", (COUNT,), (COUNT.replace("INTO c", "INTO c2"),), f"kept {G}, kept c2", ddl=("'out/c2'", "'out/c'")),
    Case("an aggregate for another", (COUNT,), (SUM,), f"rebuilt {G}, rebuilt s", options=IGNORE),
    Case("a statement goes", (COUNT, WINDOW), (COUNT,), f"kept {G}, kept c", options=IGNORE),
    Case("a filter", (ROWS_OF_T,), (ROWS_OF_T + " WHERE v > 30",), "", "the output to table r"),
    Case("tables change places", (COUNT, SUM), (COUNT.replace("INTO c", "INTO s"), SUM.replace("INTO s", "INTO c")), "",
         "the output to table s"),
    Case("state for which there is no operator", (COUNT,), (SUM,), "", "is nowhere in the job"),
    Case("the time zone, where times are local", (LOCAL,), (LOCAL,), "", "is nowhere in the job",
         options={"table.local-time-zone": "Asia/Tokyo"}),
]  # fmt: skip


@pytest.mark.share(2)
@pytest.mark.parametrize("backend", ["rocksdb", "hashmap"])
@pytest.mark.parametrize("number", range(len(SAVED)), ids=[c.name.replace(" ", "-") for c in SAVED])
def test_a_changed_job_begins_from_a_savepoint(tmp_path: Path, inputs: Path, number: int, backend: str) -> None:
    """As from a checkpoint: both jobs together write what the new one writes from the start."""
    case = SAVED[number]
    place, new = tmp_path / "job", tmp_path / "new"
    for p in (place, new):
        p.mkdir()
        (p / "in").symlink_to(inputs / "in")
    before, after = options_of(backend, number)
    path = saved(place, script(case, False), ROWS // 3, before)
    written = {t: result(place, t) for t in COLUMNS}
    good, lines = checked(place, script(case, True), {**after, **begins(path, **case.options)}, Allowed())
    assert not (place / ".sqlstream/k").exists()
    if case.refused:
        assert not good and case.refused in "\n".join(lines)
        with pytest.raises(CheckpointError, match=re.escape(case.refused)):
            run(place, script(case, True), {**after, **begins(path, **case.options)})
        assert {t: result(place, t) for t in COLUMNS} == written
        case = Case("", case.old, case.old, "")
    else:
        assert good and fates(lines) == wanted(case.becomes), lines
    run(place, script(case, True), {**after, **begins(path, **case.options)})
    run(new, script(case, True), {**after, **case.options, "pipeline.name": "n"})
    for table in outputs(case.new):
        where = "c" if case.ddl[0] else ""
        assert result(place, table, where) == result(new, table, where) != Counter(), table


def test_joins_of_a_savepoint_stay_as_they_began(tmp_path: Path, inputs: Path) -> None:
    shutil.copytree(inputs / "in", tmp_path / "in")
    text = f"{TABLES}{MULTI};"
    path = saved(tmp_path, text, ROWS, ONE_BY_ONE)
    shutil.rmtree(tmp_path / "out")
    goes_on, said = checked(tmp_path, text, begins(path), Allowed())
    assert goes_on, said
    said = run(tmp_path, text, begins(path))
    assert "MultiJoin" not in plan_of(tmp_path), said


def test_another_table_gets_what_follows(tmp_path: Path, inputs: Path) -> None:
    """The statement is the same: what it wrote before is where the other job wrote it."""
    (tmp_path / "in").symlink_to(inputs / "in")
    case = Case("", (COUNT,), (COUNT.replace("INTO c", "INTO c2"),), "")
    path = saved(tmp_path, script(case, False), ROWS // 3, {})
    run(tmp_path, script(case, True), begins(path))
    before, both = result(tmp_path, "c"), [json.loads(x) for t in ("c", "c2") for x in lines_of(tmp_path, t)]
    rows = Counter(json.dumps(r["after"], sort_keys=True) for r in both if r["after"] is not None)
    rows.subtract(json.dumps(r["before"], sort_keys=True) for r in both if r["before"] is not None)
    new = tmp_path / "new"
    new.mkdir()
    (new / "in").symlink_to(inputs / "in")
    run(new, script(case, True), {})
    assert +rows == result(new, "c2") != before != Counter() and min(rows.values()) == 0


@pytest.mark.parametrize("ignore", [True, False])
def test_a_table_that_is_gone(tmp_path: Path, ignore: bool) -> None:
    """What is new cannot be computed: it begins with what follows, if that is to be ignored."""
    first = write_rows(tmp_path, "1.json", 0, 100)
    path = saved(tmp_path, growing([COUNT]), 100, {})
    (tmp_path / "in/t/1.json").unlink()
    last = write_rows(tmp_path, "2.json", 100, 50)
    options = begins(path, **(IGNORE if ignore else {}))
    if not ignore:
        with pytest.raises(CheckpointError, match="--keep-output s.*--start-empty GroupAggregate-"):
            run(tmp_path, growing([COUNT, SUM]), options, stop_at=150)
        return
    said = run(tmp_path, growing([COUNT, SUM]), options, stop_at=150)
    assert [s for s in said if "with what follows only" in s] != []
    assert result(tmp_path, "c") == folded([*first, *last], lambda r: 1)
    assert result(tmp_path, "s") == folded(last, lambda r: r["v"])


@pytest.mark.share(3)
@pytest.mark.parametrize("point", ["mid-recovery", "before-changed", "before-manifest", "after-changed", "restored"])
def test_killed_while_a_changed_job_begins(tmp_path: Path, inputs: Path, point: str) -> None:
    case = Case("", (COUNT, ROWS_OF_T), (COUNT, SUM, WINDOW, ROWS_OF_T), "")
    place, new = tmp_path / "job", tmp_path / "new"
    for p in (place, new):
        p.mkdir()
        (p / "in").symlink_to(inputs / "in")
        (p / "new.sql").write_text(script(case, True))
    path = saved(place, script(case, False), ROWS // 3, {})
    options = [x for k, v in {**STREAMING, **begins(path)}.items() for x in ("-D", f"{k}={v}")]
    status, said = kill.run(place, ["run", "new.sql", *options], f"{point}:1")
    assert status == -signal.SIGKILL, said
    status, said = kill.run(place, ["run", "new.sql", *options, "-D", "parallelism.default=2"])
    assert status == 0, said
    run(new, script(case, True), {"pipeline.name": "n"})
    for table in outputs(case.new):
        assert result(place, table) == result(new, table) != Counter(), table


# ---- batch first, stream after


BATCH = {"execution.runtime-mode": "batch"}


def batch_then(place: Path, statements: tuple[str, ...], more: Callable[[], int], **options: str) -> list[str]:
    """Runs statements in batch mode, then as a stream over what is there after `more`, which says how many rows that is."""
    run(place, f"{TABLES}EXECUTE STATEMENT SET BEGIN\n" + "\n".join(f"{s};" for s in statements) + "\nEND;", BATCH)
    rows = more()
    return run(place, growing(statements), {"execution.epoch.max-rows": "40", **options}, stop_at=rows)


@pytest.mark.parametrize("backend", ["rocksdb", "hashmap"])
@pytest.mark.parametrize("parallelism", ["1", "3"])
@pytest.mark.parametrize(
    "statements", [(COUNT, ROWS_OF_T), (SUM, TOP, DISTINCT), (ROWS_OF_T,), (JOIN, NESTED)], ids=str
)
def test_batch_first_stream_after(
    tmp_path: Path, inputs: Path, statements: tuple[str, ...], parallelism: str, backend: str
) -> None:
    shutil.copytree(inputs / "in", tmp_path / "in")
    tables = ("t", "u") if JOIN in statements else ("t",)
    row = '{"k": 1, "v": 59, "s": "a", "at": "2024-01-01 00:00:09.000"}\n'

    def more() -> int:
        for t in tables:
            with (tmp_path / f"in/{t}/1.json").open("a") as f:
                f.write(row * 7)
            (tmp_path / f"in/{t}/9.json").write_text(row.replace("59", "7") * 5)
        return len(tables) * (ROWS + 12)

    said = batch_then(tmp_path, statements, more, **{"parallelism.default": parallelism, "state.backend.type": backend})
    assert any("resumes from checkpoint 2" in s for s in said), said
    anew = tmp_path / "anew"
    anew.mkdir()
    (anew / "in").symlink_to(tmp_path / "in")
    run(anew, f"{TABLES}EXECUTE STATEMENT SET BEGIN\n" + "\n".join(f"{s};" for s in statements) + "\nEND;", BATCH)
    for table in outputs(statements):
        got, expected = result(tmp_path, table), result(anew, table)
        assert got == expected != Counter(), table


@pytest.mark.parametrize(
    "statements, harm, why",
    [
        ((WINDOW,), lambda path: None, "all of its time is over"),
        ((COUNT,), lambda path: path.write_text(path.read_text()[1000:]), "not the file that was read in batch mode"),
        ((COUNT,), lambda path: path.unlink(), "is gone"),
    ],
)
def test_a_stream_after_batch_that_cannot_be(
    tmp_path: Path, inputs: Path, statements: tuple[str, ...], harm: Callable[[Path], None], why: str
) -> None:
    shutil.copytree(inputs / "in", tmp_path / "in")

    def more() -> int:
        harm(tmp_path / "in/t/1.json")
        return 1

    with pytest.raises(CheckpointError, match=why):
        batch_then(tmp_path, statements, more)


def test_a_statement_that_comes_back(tmp_path: Path, inputs: Path) -> None:
    """Its rows are there already, and no checkpoint says how far they go."""
    (tmp_path / "in").symlink_to(inputs / "in")
    both, one = Case("", (COUNT, SUM), (COUNT, SUM), ""), Case("", (COUNT,), (), "")
    run(tmp_path, script(both, False), {}, stop_at=200)
    run(tmp_path, script(one, False), {}, stop_at=400)
    written = result(tmp_path, "s")
    with pytest.raises(CheckpointError, match="this job has written there before"):
        run(tmp_path, script(both, True), {})
    assert result(tmp_path, "s") == written
    shutil.rmtree(tmp_path / "out/s")
    run(tmp_path, script(both, True), {})
    totals = {r["k"]: r["n"] for r in map(json.loads, result(tmp_path, "s"))}
    rows = [json.loads(line) for p in (inputs / "in/t").iterdir() for line in p.read_text().splitlines()]
    assert totals == {k: sum(r["v"] for r in rows if r["k"] == k) for k in totals} and len(totals) == 12


def test_on_the_command_line(tmp_path: Path, inputs: Path) -> None:
    (tmp_path / "in").symlink_to(inputs / "in")
    case = Case("", (ROWS_OF_T, COUNT), (ROWS_OF_T + " WHERE v > 30", COUNT, SUM), "")
    run(tmp_path, script(case, False), {}, stop_at=ROWS // 3)
    (tmp_path / "job.sql").write_text(script(case, True))
    options = ["run", "job.sql", *(x for k, v in STREAMING.items() for x in ("-D", f"{k}={v}"))]
    before = newest_manifest(tmp_path)
    status, said = kill.run(tmp_path, [*options, "--check"])
    assert status == 1 and "refused  the output to table r" in said and "to go on: " in said, said
    status, said = kill.run(tmp_path, options)
    assert status == 1 and "refused  the output to table r" in said and "--keep-output r" in said, said
    status, said = kill.run(tmp_path, [*options, "--check", "--keep-output", "r"])
    assert status == 0 and "kept     the output to table r: what is written stays" in said, said
    assert newest_manifest(tmp_path) == before and not result(tmp_path, "s")
    status, said = kill.run(tmp_path, [*options, "--keep-output", "r", "--start-empty", "GroupAggregate"])
    assert status == 0 and "empty, as you say" in said and "what is written stays" in said, said
    status, said = kill.run(tmp_path, [*options, "--check"])
    assert status == 0 and "has finished" in said, said
