"""State stays bounded where SQL says that it can: a hundred windows leave no more of it than ten do."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from harness.ticking import Ticking

from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

SECONDS = 10  # a window's length
BEGIN = datetime(2024, 1, 1)
TABLE = """
CREATE TABLE {name} (k INT, v INT, ts TIMESTAMP(3), pt AS PROCTIME(), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND{more}) WITH (
  'connector' = 'filesystem', 'path' = '{place}/{name}.json', 'format' = '{format}');
"""
FUNCTIONS = (
    "CREATE TEMPORARY FUNCTION sums AS 'harness.aggregate_functions.sums' LANGUAGE PYTHON;"
    "CREATE TEMPORARY FUNCTION largest AS 'harness.aggregate_functions.Largest' LANGUAGE PYTHON;"
)
WINDOWS = "window_start, window_end"
TUMBLE = "TABLE(TUMBLE(TABLE {}, DESCRIPTOR(ts), INTERVAL '10' SECOND))"
A, B = TUMBLE.format("a"), TUMBLE.format("b")

# the operator that has the state -> a query
QUERIES = {
    "SliceAggregate": f"SELECT k, window_end, SUM(v) FROM {A} GROUP BY k, {WINDOWS}",
    "SliceAggregate with DISTINCT": f"SELECT k, window_end, COUNT(DISTINCT v) FROM {A} GROUP BY k, {WINDOWS}",
    "SliceAggregate of Python functions": "SELECT k, window_end, largest(v), sums(v) FROM TABLE(CUMULATE(TABLE a, DESCRIPTOR(ts), "
    f"INTERVAL '5' SECOND, INTERVAL '10' SECOND)) GROUP BY k, {WINDOWS}",
    "SliceAggregate of HOP": "SELECT k, window_end, MAX(v) FROM TABLE(HOP(TABLE a, DESCRIPTOR(ts), INTERVAL '5' SECOND, "
    f"INTERVAL '10' SECOND)) GROUP BY k, {WINDOWS}",
    "SliceAggregate of CUMULATE": "SELECT k, window_end, MAX(v) FROM TABLE(CUMULATE(TABLE a, DESCRIPTOR(ts), INTERVAL '5' SECOND, "
    f"INTERVAL '10' SECOND)) GROUP BY k, {WINDOWS}",
    "SliceAggregate of changes": f"SELECT k, window_end, MAX(v) FROM {TUMBLE.format('d')} GROUP BY k, {WINDOWS}",
    "GroupWindowAggregate": f"SELECT k, window_end, MAX(v), COUNT(DISTINCT v) FROM {A} GROUP BY k, {WINDOWS} EMIT CHANGES",
    "GroupWindowAggregate of changes": f"SELECT k, window_end, MAX(v) FROM {TUMBLE.format('d')} GROUP BY k, {WINDOWS} EMIT CHANGES",
    "SessionWindow": "SELECT k, window_end, SUM(v) FROM TABLE(SESSION(TABLE a PARTITION BY k, DESCRIPTOR(ts), INTERVAL '2' SECOND)) "
    f"GROUP BY k, {WINDOWS}",
    "SessionWindow of changes": "SELECT k, window_end, SUM(v) FROM TABLE(SESSION(TABLE d PARTITION BY k, DESCRIPTOR(ts), "
    f"INTERVAL '2' SECOND)) GROUP BY k, {WINDOWS}",
    "SliceAggregate, GROUPING SETS": f"SELECT k, window_end, SUM(v) FROM {A} GROUP BY {WINDOWS}, GROUPING SETS ((k), ())",
    "WindowJoin": f"SELECT l.v AS x, r.v AS y FROM (SELECT * FROM {A}) AS l JOIN (SELECT * FROM {B}) AS r ON l.k = r.k AND "
    "l.window_start = r.window_start AND l.window_end = r.window_end",
    "WindowJoin, FULL": f"SELECT l.v AS x, r.v AS y FROM (SELECT * FROM {A}) AS l FULL JOIN (SELECT * FROM {B}) AS r ON l.v = r.k AND "
    "l.window_start = r.window_start AND l.window_end = r.window_end",
    "WindowTopN": f"SELECT v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k, {WINDOWS} ORDER BY v DESC) AS rn FROM {A}) "
    "WHERE rn <= 2",
    "WindowTopN, first": f"SELECT v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k, {WINDOWS} ORDER BY window_time) AS rn "
    f"FROM {A}) WHERE rn = 1",
    "IntervalJoin": "SELECT a.v AS x, b.v AS y FROM a JOIN b ON a.k = b.k AND a.ts BETWEEN b.ts - INTERVAL '5' SECOND AND b.ts + "
    "INTERVAL '5' SECOND",
    "IntervalJoin, FULL": "SELECT a.v AS x, b.v AS y FROM a FULL JOIN b ON a.v = b.k AND a.ts BETWEEN b.ts - INTERVAL '5' SECOND AND b.ts + "
    "INTERVAL '5' SECOND",
    "TemporalJoin": "SELECT a.v AS x, c.v AS y FROM a LEFT JOIN c FOR SYSTEM_TIME AS OF a.ts ON a.k = c.k",
    "TemporalJoin, ASOF": "SELECT a.v AS x, b.v AS y FROM a ASOF LEFT JOIN b ON a.k = b.k AND a.ts >= b.ts",
    "NextJoin": "SELECT a.v AS x, b.v AS y FROM a ASOF LEFT JOIN b ON a.k = b.k AND a.ts < b.ts",
    "SnapshotJoin": "SELECT a.v AS x, c.v AS y FROM a LEFT JOIN LATERAL SNAPSHOT(input => TABLE c, on_time => DESCRIPTOR(ts), "
    "load_completed_time => TIMESTAMP_LTZ '2024-01-01 00:00:30') AS c ON a.k = c.k",
    "OverAggregate, RANGE": "SELECT SUM(v) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND "
    "CURRENT ROW) FROM a",
    "OverAggregate, ROWS": "SELECT SUM(v) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 5 PRECEDING AND CURRENT ROW) FROM a",
    "OverAggregate, RANGE FOLLOWING": "SELECT SUM(v) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND "
    "INTERVAL '5' SECOND FOLLOWING) FROM a",
    "OverAggregate, ROWS FOLLOWING": "SELECT SUM(v) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 5 PRECEDING AND 2 FOLLOWING), "
    "LEAD(v, 3) OVER (PARTITION BY k ORDER BY ts) FROM a",
    "OverAggregate": "SELECT SUM(v) OVER (PARTITION BY k ORDER BY ts) FROM a",
    "OverAggregate, IGNORE NULLS": "SELECT LAG(v, 3) IGNORE NULLS OVER w, NTH_VALUE(v, 2) IGNORE NULLS OVER w FROM a WINDOW w AS (PARTITION "
    "BY k ORDER BY ts)",
    "TemporalSort": "SELECT v FROM a ORDER BY ts",
    "Deduplicate": "SELECT v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM a) WHERE rn = 1",
}  # fmt: skip


def lines(windows: int, changes: bool) -> str:
    """A row a second. Of changes one in five is taken back."""
    out = []
    images = [{"k": i % 3, "v": i, "ts": str(BEGIN + timedelta(seconds=i))} for i in range(windows * SECONDS)]
    for i, image in enumerate(images):
        out.append(json.dumps({"before": None, "after": image, "op": "c"} if changes else image))
        if changes and i % 5 == 4:
            out.append(json.dumps({"before": images[i - 1], "after": None, "op": "d"}))
    return "\n".join(out) + "\n"


def peak(place: Path, sql: str, windows: int) -> tuple[int, int]:
    """The most rows of state after an epoch, and how many were written."""
    for name, format_ in (("a", "json"), ("b", "json"), ("c", "debezium-json"), ("d", "debezium-json")):
        (place / f"{name}.json").write_text(lines(windows, format_ != "json"))
    ddl = [
        TABLE.format(name=name, place=place, format=format_, more=more)
        for name, format_, more in (
            ("a", "json", ""), ("b", "json", ""), ("c", "debezium-json", ", PRIMARY KEY (k) NOT ENFORCED"), ("d", "debezium-json", ""),
        )
    ]  # fmt: skip
    most = 0

    def look(p: Progress) -> None:
        nonlocal most
        most = max(most, p.state_rows)

    options = {
        "execution.runtime-mode": "streaming", "execution.epoch.max-rows": "20", "pipeline.name": f"of-{windows}",
        "state.backend.type": "hashmap",
    }  # fmt: skip
    written = 0
    session = Session(options=options, working_directory=str(place), clock=Ticking(), on_progress=look)
    script = f"{''.join(ddl)}{FUNCTIONS} CREATE TABLE o WITH ('connector' = 'blackhole') AS {sql};"
    for result in session.execute(script):
        written = result.progress.rows_out if result.progress else written
    return most, written


@pytest.mark.share(2)
@pytest.mark.parametrize("name", QUERIES)
def test_a_hundred_windows(name: str, tmp_path: Path) -> None:
    ten, few = peak(tmp_path, QUERIES[name], 10)
    hundred, many = peak(tmp_path, QUERIES[name], 100)
    assert many > 8 * few > 0
    assert 0 < hundred <= 1.2 * ten + 3
