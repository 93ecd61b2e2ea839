"""What the session refuses, and what it shows, statement by statement."""

from __future__ import annotations

import pytest

from sqlstream.batches import KIND_TEXT
from sqlstream.session import Session


def test_explain_looks_at_no_file() -> None:
    table = "CREATE TABLE t (id INT) WITH ('connector' = 'filesystem', 'path' = '/nowhere/t.json', 'format' = 'json')"
    for mode in ("batch", "streaming"):
        session = Session(options={"execution.runtime-mode": mode})
        for _ in session.execute(table):
            pass
        for sql in ("SELECT id, COUNT(*) FROM t GROUP BY id", "INSERT INTO t SELECT id FROM t"):
            (explained,) = session.execute(f"EXPLAIN {sql}")
            ((batch, _),) = explained.batches()
            assert "table=t, columns=[id]" in batch.column(0)[0].as_py()


def test_one_row_under_a_limit_is_updated() -> None:
    options = {"execution.runtime-mode": "streaming", "execution.epoch.max-rows": "100"}
    session = Session(options=options)
    for _ in session.execute("CREATE TABLE t WITH ('connector' = 'nexmark', 'events.num' = '300')"):
        pass
    (result,) = session.execute("SELECT COUNT(*) AS n FROM t WHERE event_type = 2 LIMIT 5")
    changes = []
    for _, kinds in result.batches():
        assert kinds is not None
        changes += [KIND_TEXT[k] for k in kinds]
    assert changes[:3] == ["+I", "-U", "+U"]
    assert set(changes[1:]) == {"-U", "+U"}


@pytest.mark.parametrize(
    ("query", "waits"),
    [
        ("SELECT k FROM (SELECT k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY t DESC) AS rn FROM e) WHERE rn = 1", False),
        ("SELECT k, COUNT(*) AS n FROM e GROUP BY k", False),
        ("SELECT k, COUNT(*) OVER (PARTITION BY k ORDER BY t) AS n FROM e", True),
        ("SELECT k, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(t), INTERVAL '1' MINUTE)) GROUP BY k, window_end, window_start", True),
    ],
)  # fmt: skip
def test_watermarks_are_computed_where_an_operator_waits_for_them(query: str, waits: bool) -> None:
    session = Session(options={"execution.runtime-mode": "streaming"})
    table = "CREATE TABLE e (k INT, t TIMESTAMP(3), WATERMARK FOR t AS t) WITH ('connector' = 'datagen')"
    for _ in session.execute(table):
        pass
    (result,) = session.execute(f"EXPLAIN {query}")
    text = "\n".join(row for batch, _ in result.batches() for row in batch.column(0).to_pylist())
    physical = text[text.index("== Physical") : text.index("== Optimized")]
    assert ("watermark=" in physical) is waits
