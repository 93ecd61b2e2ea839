"""INSERT … ON CONFLICT: what becomes of rows of a query that meet in one PRIMARY KEY of the table, however the job runs."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from harness.seed import random_of, said
from harness.ticking import Ticking

from sqlstream.connectors.registry import CONNECTORS
from sqlstream.connectors.upsert import UpsertSink, UpsertWriter
from sqlstream.contracts import Connector, Sink, SinkTask, SinkWriter, TableContext
from sqlstream.errors import DataError, NotSupported, SqlStreamError
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

KEPT: dict[tuple[Any, ...], dict[str, Any]] = {}


class KeptWriter(UpsertWriter):
    def __init__(self, key: tuple[str, ...]) -> None:
        super().__init__(key)
        self.names = key

    def upsert(self, rows: pa.RecordBatch) -> None:
        for row in rows.to_pylist():
            KEPT[tuple(row[n] for n in self.names)] = row

    def delete(self, keys: pa.RecordBatch) -> None:
        for row in keys.to_pylist():
            KEPT.pop(tuple(row.values()), None)


class KeptSink(UpsertSink):
    def writer(self, task: SinkTask) -> SinkWriter:
        return KeptWriter(self.table.primary_key)


class Kept(Connector):
    def sink(self, table: TableContext) -> Sink:
        return KeptSink(table)


@pytest.fixture(autouse=True)
def _connector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONNECTORS, "kept", Kept)
    KEPT.clear()


# Flink's example: an order has one product, and the table one row a product.
TABLES = """
CREATE TABLE orders (order_id BIGINT, product_name STRING, quantity INT, PRIMARY KEY (order_id) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'orders.json', 'format' = 'debezium-json');
CREATE TABLE products (name STRING, PRIMARY KEY (name) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'products.json', 'format' = 'debezium-json');
CREATE TABLE product_orders (product_name STRING, last_order_id BIGINT, PRIMARY KEY (product_name) NOT ENFORCED)
  WITH ('connector' = 'kept');
CREATE TABLE plain (product_name STRING, last_order_id BIGINT, PRIMARY KEY (product_name) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'plain', 'format' = 'json');
CREATE TABLE changed (product_name STRING, last_order_id BIGINT, PRIMARY KEY (product_name) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'changed', 'format' = 'debezium-json');
CREATE TABLE hole (product_name STRING, last_order_id BIGINT, PRIMARY KEY (product_name) NOT ENFORCED)
  WITH ('connector' = 'blackhole');
"""
JOIN = "INSERT INTO {} SELECT p.name, o.order_id FROM orders o JOIN products p ON o.product_name = p.name"
INSERT = JOIN.format("product_orders")
ORDERS = [("+", 1, "Laptop"), ("+", 2, "Phone"), ("+", 3, "Laptop")]


def write(place: Path, orders: list[tuple[str, int, str]], products: tuple[str, ...] = ("Laptop", "Phone")) -> None:
    lines = []
    for sign, number, name in orders:
        row = {"order_id": number, "product_name": name, "quantity": 1}
        lines.append(
            {"before": None, "after": row, "op": "c"} if sign == "+" else {"before": row, "after": None, "op": "d"}
        )
    (place / "orders.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (place / "products.json").write_text(
        "".join(json.dumps({"before": None, "after": {"name": n}, "op": "c"}) + "\n" for n in products)
    )


def session(place: Path, options: dict[str, str] | None = None, **more: Any) -> Session:
    made = Session(
        options={"execution.runtime-mode": "streaming", **(options or {})}, working_directory=str(place), **more
    )
    for _ in made.execute(TABLES):
        pass
    return made


def run(place: Path, sql: str, options: dict[str, str] | None = None) -> dict[Any, Any]:
    for _ in session(place, options).execute(sql):
        pass
    return {k[0]: row["last_order_id"] for k, row in KEPT.items()}


def stopped_after(place: Path, sql: str, options: dict[str, str], wanted: int | None) -> None:
    """Runs a job, which is asked to stop after so many epochs."""
    epochs = 0

    def watch(p: Progress) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == wanted:
            assert made.current_job is not None
            made.current_job.stop()

    made = session(place, options, on_progress=watch)
    for _ in made.execute(sql):
        pass


@pytest.mark.parametrize("parallelism", ["1", "3"])
def test_flinks_example(tmp_path: Path, parallelism: str) -> None:
    # a row an epoch: the order in which they come is that of the file
    options = {"execution.epoch.max-rows": "1", "parallelism.default": parallelism}
    write(tmp_path, ORDERS)
    assert run(tmp_path, f"{INSERT} ON CONFLICT DO NOTHING", options) == {"Laptop": 1, "Phone": 2}
    assert run(tmp_path, f"{INSERT} ON CONFLICT DO DEDUPLICATE", options) == {"Laptop": 3, "Phone": 2}
    with pytest.raises(DataError, match=r"PRIMARY KEY \[product_name=Laptop\]"):
        run(tmp_path, f"{INSERT} ON CONFLICT DO ERROR", options)
    # "What happens on retraction?"
    KEPT.clear()
    write(tmp_path, [*ORDERS, ("-", 3, "Laptop")])
    assert run(tmp_path, f"{INSERT} ON CONFLICT DO NOTHING", options) == {"Laptop": 1, "Phone": 2}
    assert run(tmp_path, f"{INSERT} ON CONFLICT DO DEDUPLICATE", options) == {"Laptop": 1, "Phone": 2}


def test_what_comes_to_nothing_within_an_epoch_is_no_conflict(tmp_path: Path) -> None:
    """Flink's example of compaction: order 1 goes over to another product."""
    write(tmp_path, [("+", 1, "Laptop"), ("+", 3, "Laptop"), ("-", 1, "Laptop"), ("+", 1, "Phone")])
    assert run(tmp_path, f"{INSERT} ON CONFLICT DO ERROR") == {"Laptop": 3, "Phone": 1}


@pytest.mark.parametrize("conflict", ["NOTHING", "DEDUPLICATE"])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_stopped_and_restored(tmp_path: Path, conflict: str, parallelism: int) -> None:
    """However it runs, each product with an order has one row, of an order that is there; what is deleted leaves nothing."""
    rng = random_of(conflict, parallelism)
    live: dict[int, str] = {}
    orders: list[tuple[str, int, str]] = []
    for _ in range(60):
        if live and rng.random() < 0.4:
            number = rng.choice([*live])
            orders.append(("-", number, live.pop(number)))
        else:
            number = rng.choice([n for n in range(100) if n not in live])
            live[number] = rng.choice("ABC")
            orders.append(("+", number, live[number]))
    write(tmp_path, orders, ("A", "B", "C"))
    for attempt in range(8):
        options = {
            "pipeline.name": "j", "execution.epoch.max-rows": str(rng.randint(1, 9)), "execution.checkpointing.interval": "1 ms",
            "parallelism.default": str(parallelism), "state.backend.type": rng.choice(["hashmap", "rocksdb"]),
        }  # fmt: skip
        stopped_after(tmp_path, f"{INSERT} ON CONFLICT DO {conflict}", options, 3 if attempt < 7 else None)
    found = {k[0]: row["last_order_id"] for k, row in KEPT.items()}
    assert all(live.get(number) == product for product, number in found.items()), said(f"{found} of {live}")
    if conflict == "DEDUPLICATE":
        assert set(found) == set(live.values()), said(f"{found} of {live}")


def test_deduplicate_keeps_nothing_of_what_is_gone(tmp_path: Path) -> None:
    rng, left = random.Random(7), 0
    orders = [("+", n, rng.choice("AB")) for n in range(40)]
    write(tmp_path, [*orders, *(("-", n, p) for _, n, p in rng.sample(orders, 40))], ("A", "B"))

    def look(p: Progress) -> None:
        nonlocal left
        left = p.state_rows

    options = {"execution.epoch.max-rows": "7", "pipeline.name": "j"}
    for _ in session(tmp_path, options, clock=Ticking(), on_progress=look).execute(
        "CREATE TABLE by_rows (order_id BIGINT, product_name STRING) WITH ('connector' = 'filesystem', 'path' = 'orders.json', "
        "'format' = 'debezium-json'); INSERT INTO product_orders SELECT product_name, order_id FROM by_rows "
        "ON CONFLICT DO DEDUPLICATE"
    ):
        pass
    assert (KEPT, left) == ({}, 0)


def test_rows_that_only_come(tmp_path: Path) -> None:
    values = "INSERT INTO product_orders VALUES ('a', 1), ('b', 2), ('a', 3)"
    assert run(tmp_path, values) == {"a": 3, "b": 2}
    assert run(tmp_path, f"{values} ON CONFLICT DO DEDUPLICATE") == {"a": 3, "b": 2}
    KEPT.clear()
    assert run(tmp_path, f"{values} ON CONFLICT DO NOTHING") == {"a": 1, "b": 2}
    with pytest.raises(DataError, match="product_name=a"):
        run(tmp_path, f"{values} ON CONFLICT DO ERROR")


def plan(place: Path, sql: str, options: dict[str, str] | None = None) -> str:
    (result,) = session(place, options).execute(f"EXPLAIN {sql}")
    text = "\n".join(row for batch, _ in result.batches() for row in batch.column(0).to_pylist())
    return text[text.index("Physical") :]


GROUPED = "SELECT product_name, COUNT(*) FROM orders GROUP BY product_name"


def test_where_it_stands(tmp_path: Path) -> None:
    write(tmp_path, ORDERS)
    assert "SinkMaterializer(key=[product_name], onConflict=ERROR" in plan(tmp_path, f"{INSERT} ON CONFLICT DO ERROR")
    # the query's key is the table's: nothing can meet
    assert "SinkMaterializer" not in plan(tmp_path, f"INSERT INTO product_orders {GROUPED} ON CONFLICT DO ERROR")
    # what only comes takes the place of what was there in the table itself
    values = "INSERT INTO product_orders VALUES ('a', 1)"
    assert "SinkMaterializer" not in plan(tmp_path, f"{values} ON CONFLICT DO DEDUPLICATE")
    assert "SinkMaterializer" in plan(tmp_path, f"{values} ON CONFLICT DO NOTHING")


MATERIALIZE, REQUIRE = "table.exec.sink.upsert-materialize", "table.exec.sink.require-on-conflict"


def test_options(tmp_path: Path) -> None:
    write(tmp_path, [*ORDERS, ("-", 3, "Laptop")])
    one = {"execution.epoch.max-rows": "1"}
    assert run(tmp_path, INSERT, {REQUIRE: "false", **one}) == {"Laptop": 1, "Phone": 2}
    assert "onConflict=DEDUPLICATE" in plan(tmp_path, f"INSERT INTO product_orders {GROUPED}", {MATERIALIZE: "FORCE"})
    assert "onConflict=DEDUPLICATE" in plan(
        tmp_path, "INSERT INTO product_orders VALUES ('a', 1)", {MATERIALIZE: "FORCE"}
    )
    KEPT.clear()
    # nobody knows that another order has the product: the last change of the key is a deletion
    alone = "INSERT INTO product_orders SELECT product_name, order_id FROM orders"
    assert "SinkMaterializer" not in plan(tmp_path, alone, {MATERIALIZE: "NONE"})
    assert run(tmp_path, alone, {MATERIALIZE: "NONE", **one}) == {"Phone": 2}


REFUSED = [
    (INSERT, {}, "rows of this query change and have no key|are known by"),
    (JOIN.format("hole"), {}, "rows of this query change and"),
    (f"{INSERT} ON CONFLICT DO NOTHING", {MATERIALIZE: "NONE"}, "nobody would see that rows meet"),
    (f"{INSERT} ON CONFLICT DO NOTHING", {"execution.runtime-mode": "batch"}, "in batch no row of table product_orders comes"),
    ("INSERT INTO plain VALUES ('a', 1) ON CONFLICT DO NOTHING", {}, "takes inserts only: it does not know rows by a key"),
    (f"{JOIN.format('changed')} ON CONFLICT DO ERROR", {}, "takes all changes, with the row before each"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "options", "message"), REFUSED)
def test_what_is_refused(tmp_path: Path, sql: str, options: dict[str, str], message: str) -> None:
    write(tmp_path, ORDERS)
    with pytest.raises(SqlStreamError, match=message) as e:
        run(tmp_path, sql, options)
    assert e.value.hint
    if not options and sql.startswith(INSERT):
        assert isinstance(e.value, NotSupported) and "ON CONFLICT DO ERROR" in e.value.hint
