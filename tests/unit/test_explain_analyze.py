"""EXPLAIN ANALYZE: the plan with what its operators did; and when epochs begin."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from sqlstream import faults
from sqlstream.errors import NotSupported, OptionError
from sqlstream.session import Session

TABLES = """
CREATE TABLE events (k INT, v INT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000',
  'number-of-rows' = '{rows}', 'fields.k.min' = '1', 'fields.k.max' = '3', 'fields.v.kind' = 'sequence',
  'fields.v.start' = '1', 'fields.v.end' = '1000');
CREATE TABLE o (k INT, n BIGINT) WITH ('connector' = 'blackhole');
"""


def explained(sql: str, rows: int = 1000, **options: str) -> str:
    session = Session(options={k.replace("__", "."): v for k, v in options.items()})
    *_, result = session.execute(TABLES.format(rows=rows) + sql)
    ((batch, _),) = result.batches()
    (text,) = batch.column(0).to_pylist()
    return str(text)


def operators(text: str) -> dict[str, tuple[int, int, int]]:
    """Rows in, rows out and the share of the time (%) of each operator by name."""
    found = re.findall(r"^ *([\d,]+) +([\d,]+) +[\d.]+ s +(\d+)%  +(\w+)\(", text, re.M)
    return {name: (int(a.replace(",", "")), int(b.replace(",", "")), int(share)) for a, b, share, name in found}


@pytest.mark.parametrize("parallelism", ["1", "2"])
def test_rows_of_all_tasks(parallelism: str) -> None:
    text = explained(
        "EXPLAIN ANALYZE INSERT INTO o SELECT k, COUNT(*) FROM events WHERE v <= 900 GROUP BY k",
        parallelism__default=parallelism,
    )
    found = operators(text)
    assert found["Source"][:2] == (1000, 900)
    assert found["GroupAggregate"][0] == 900 and found["GroupAggregate"][1] >= 3
    assert found["Sink"][0] >= 3 and found["Sink"][1] == 0
    assert ("Exchange" in found) == (parallelism == "2")
    assert 95 <= sum(share for _, _, share in found.values()) <= 105
    assert re.search(r"^\d+ epochs in \d+\.\d{3} s, \d+\.\d{3} s of it waiting for sources$", text, re.M)


def test_a_query_is_run_without_its_rows_and_without_a_durable_job() -> None:
    found = operators(explained("EXPLAIN ANALYZE SELECT v FROM events WHERE v > 400", pipeline__name="never-made"))
    assert found["Collect"][:2] == (600, 0)


@pytest.mark.parametrize("parallelism", ["1", "2"])
def test_what_keyed_state_is_like(parallelism: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three keys; of a durable job, none stays in memory after the last epoch."""
    insert = "EXPLAIN ANALYZE INSERT INTO o SELECT k, COUNT(*) FROM events GROUP BY k"
    text = explained(insert, parallelism__default=parallelism)
    assert re.search(r"^state of GroupAggregate: \w+ 3 rows$", text, re.M), text
    options = {
        "parallelism.default": parallelism,
        "execution.checkpointing.dir": str(tmp_path),
        "execution.checkpointing.interval": "1 ms",
        "execution.epoch.max-rows": "50",
        "state.changelog.enabled": "false",
        "state.backend.hot-rows": "0",
        "state.backend.rocksdb.metrics.estimate-num-keys": "true",
        "state.backend.rocksdb.metrics.block-cache-usage": "false",
    }
    monkeypatch.setattr(faults, "stepwise", lambda: True)  # a checkpoint with each epoch, waited for
    text = explained(insert, **{k.replace(".", "__"): v for k, v in options.items()})
    found = re.search(
        r"^state of GroupAggregate: \w+ (\d+) rows; (\d+) rows left memory and (\d+) came back; (\d+) folds, the last in "
        r"[\d.]+ s, and \d+ bytes since; (\d+) files of RocksDB, ([\d,]+) bytes; estimate-num-keys (\d+)$",
        text,
        re.M,
    )
    assert found, text
    rows, left, returned, folds, files, _, _ = (int(n.replace(",", "")) for n in found.groups())
    assert rows <= 3 and left - returned == 3 - rows and left >= 3 and folds >= 1 and files >= 1


def test_figures_of_rocksdb_that_there_are_not() -> None:
    with pytest.raises(OptionError, match="unknown option 'state.backend.rocksdb.metrics.bloom-filter-useless'"):
        Session(options={"state.backend.rocksdb.metrics.bloom-filter-useless": "true"})


def test_an_operator_read_twice_is_counted_once() -> None:
    text = explained(
        "EXPLAIN ANALYZE STATEMENT SET BEGIN INSERT INTO o SELECT k, v FROM events; "
        "INSERT INTO o SELECT v, k FROM events; END"
    )
    assert re.findall(r"^ *([\d,]+) .* +Source\(", text, re.M) == ["1,000"]
    assert re.findall(r"^ +(Source\(.*\)|)\(reuse_id=\[1\]\)$|^ +Reused\(reference_id=\[1\]\)$", text, re.M)


def test_unbounded_input_is_refused() -> None:
    session = Session()
    with pytest.raises(NotSupported, match="runs the statement to its end"):
        for _ in session.execute("CREATE TABLE t (a INT) WITH ('connector' = 'datagen'); EXPLAIN ANALYZE TABLE t"):
            continue


def test_a_paced_source_that_always_has_more_makes_no_epoch_of_a_second() -> None:
    """40,000 rows a second: at least a row is due by the time the ones before it were read."""
    sizes, before = [], 0
    ends = []

    def on_progress(progress: object) -> None:
        nonlocal before
        rows = progress.rows_in  # type: ignore[attr-defined]
        sizes.append(rows - before)
        ends.append(time.monotonic())
        before = rows

    session = Session(options={"execution.runtime-mode": "streaming"}, on_progress=on_progress)
    for _ in session.execute(
        "CREATE TABLE t (a INT) WITH ('connector' = 'datagen', 'rows-per-second' = '40000', "
        "'number-of-rows' = '40000'); CREATE TABLE o WITH ('connector' = 'blackhole') AS SELECT a + 1 AS a FROM t"
    ):
        continue
    assert sum(sizes) == 40_000
    assert len(sizes) > 10, sizes  # not one of a second; on a machine at rest about 150
