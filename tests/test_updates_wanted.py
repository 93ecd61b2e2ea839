"""A sink that wants no row before an update gets what another one gets, without those rows; and EXPLAIN says so."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from sqlstream.batches import Kind
from sqlstream.connectors.registry import CONNECTORS
from sqlstream.contracts import Connector, Sink, SinkTask, SinkWriter, TableContext
from sqlstream.session import Session
from sqlstream.sql.parser import parse_script
from sqlstream.sql.statements import Select

WRITTEN: dict[str, list[tuple[Any, ...]]] = {}


class KeepingWriter(SinkWriter):
    def __init__(self, table: str) -> None:
        self.table = table

    def write(self, batch: pa.RecordBatch, kinds: Any) -> None:
        kinds = [int(Kind.INSERT)] * batch.num_rows if kinds is None else kinds.tolist()
        WRITTEN.setdefault(self.table, []).extend(zip(kinds, *(c.to_pylist() for c in batch.columns), strict=True))


class KeepingSink(Sink):
    changelog = True

    def __init__(self, table: str, update_before: bool) -> None:
        self.table, self.update_before = table, update_before

    def writer(self, task: SinkTask) -> SinkWriter:
        return KeepingWriter(f"{self.table}{task.subtask}")


class WithBefore(Connector):
    update_before = True

    def sink(self, table: TableContext) -> Sink:
        return KeepingSink(table.name, self.update_before)


class WithoutBefore(WithBefore):
    update_before = False


@pytest.fixture(autouse=True)
def _connectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONNECTORS, "with-before", WithBefore)
    monkeypatch.setitem(CONNECTORS, "without-before", WithoutBefore)
    WRITTEN.clear()


EVENTS = """CREATE TABLE e WITH ('connector' = 'nexmark', 'events.num' = '3000', 'splits' = '2');
CREATE VIEW bid AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, `dateTime` FROM e WHERE event_type = 2;
CREATE VIEW auction AS SELECT auction.id, auction.category FROM e WHERE event_type = 1;"""

COUNTED = "SELECT auction, COUNT(*) AS n, MAX(price) AS most FROM bid GROUP BY auction"
QUERIES = {
    "counted": (COUNTED, True),
    "compared": ("SELECT auction, MAX(price) AS most, MIN(channel) AS c FROM bid GROUP BY auction", True),
    "moved": (f"SELECT most, n, auction FROM ({COUNTED}) AS c", True),
    "one row": ("SELECT COUNT(*) AS n, SUM(price) AS s FROM bid", True),
    "computed": (f"SELECT auction, n * 2 AS twice FROM ({COUNTED}) AS c", False),
    "filtered": (f"SELECT auction, n FROM ({COUNTED}) AS c WHERE MOD(n, 2) = 0", False),
    "regrouped": (f"SELECT n, COUNT(*) AS m FROM ({COUNTED}) AS c GROUP BY n", True),
    "joined": (f"SELECT a.category, c.n, a.id FROM ({COUNTED}) AS c JOIN auction a ON a.id = c.auction", False),
    "top": (
        "SELECT auction, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS rn "
        "FROM bid) WHERE rn <= 2",
        False,
    ),
}


def session(parallelism: int) -> Session:
    made = Session(
        options={
            "execution.runtime-mode": "streaming",
            "parallelism.default": str(parallelism),
            "execution.epoch.random-seed": "7",
            "execution.epoch.max-rows": "500",
        }
    )
    for _ in made.execute(EVENTS):
        pass
    return made


def explained(made: Session, sql: str) -> str:
    (result,) = made.execute(f"EXPLAIN {sql}")
    text = "\n".join(row for batch, _ in result.batches() for row in batch.column(0).to_pylist())
    return text[text.index("Physical") :]


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("name", QUERIES)
def test_the_same_but_for_rows_before_updates(name: str, parallelism: int) -> None:
    query, early = QUERIES[name]
    for connector in ("with-before", "without-before"):
        made = session(parallelism)
        ddl = ", ".join(f"c{i} {t}" for i, t in enumerate(_types(made, query)))
        for _ in made.execute(f"CREATE TABLE `{connector}` ({ddl}) WITH ('connector' = '{connector}')"):
            pass
        plan = explained(made, f"INSERT INTO `{connector}` {query}")
        for _ in made.execute(f"INSERT INTO `{connector}` {query}"):
            pass
        sink_line = plan.splitlines()[1]
        assert ("changelogMode=[I,UA,D]" in sink_line) is (connector == "without-before"), plan
        if connector == "without-before":
            (aggregate, *_) = [line for line in plan.splitlines() if "GroupAggregate(" in line] or [""]
            assert ("changelogMode=[I,UA,D]" in aggregate) is early, plan
    for task in range(parallelism):
        given = WRITTEN.pop(f"with-before{task}", [])
        assert any(row[0] == Kind.UPDATE_BEFORE for row in given) or name in ("joined", "top") or parallelism == 2
        wanted = [row for row in given if row[0] != Kind.UPDATE_BEFORE]
        assert WRITTEN.pop(f"without-before{task}", []) == wanted
    assert not WRITTEN


def _types(made: Session, query: str) -> list[str]:
    (statement,) = parse_script(query)
    assert isinstance(statement, Select)
    return [str(c.type) for c in made.environment.bind(statement.query).schema]


def test_what_others_read_as_well_keeps_them() -> None:
    made = session(1)
    for name, connector in (("a", "with-before"), ("b", "without-before")):
        table = f"CREATE TABLE {name} (k BIGINT, n BIGINT, m BIGINT) WITH ('connector' = '{connector}')"
        for _ in made.execute(table):
            pass
    both = f"STATEMENT SET BEGIN INSERT INTO a {COUNTED}; INSERT INTO b {COUNTED}; END"
    plan = explained(made, both)
    assert plan.count("GroupAggregate(") == 1 and "Reused(reference_id=[" in plan
    assert all("changelogMode=[I,UB,UA,D]" in line for line in plan.splitlines() if "GroupAggregate(" in line)
    for _ in made.execute(f"EXECUTE {both}"):
        pass
    before, without = WRITTEN["a0"], WRITTEN["b0"]
    assert any(row[0] == Kind.UPDATE_BEFORE for row in before)
    assert without == [row for row in before if row[0] != Kind.UPDATE_BEFORE]
