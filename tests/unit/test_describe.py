"""DESCRIBE of tables and functions, and SHOW PARTITIONS: what Flink 2.3 answers, in its columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqlstream.errors import BindError
from sqlstream.session import Session

T = "WITH ('connector' = 'datagen')"


def rows(session: Session, sql: str) -> list[tuple[Any, ...]]:
    """The rows of the last statement."""
    found: list[tuple[Any, ...]] = []
    for result in session.execute(sql):
        found = [tuple(row.values()) for batch, _ in result.batches() for row in batch.to_pylist()]
    return found


def test_comments_are_a_column_where_there_are_any() -> None:
    session = Session()
    rows(session, f"CREATE TABLE t (id INT COMMENT 'the id', v INT, PRIMARY KEY (id) NOT ENFORCED) {T}")
    rows(session, f"CREATE TABLE u (id INT) {T}")
    assert rows(session, "DESCRIBE t") == [
        ("id", "INT", "FALSE", "PRI(id)", None, None, "the id"),
        ("v", "INT", "TRUE", None, None, None, None),
    ]
    assert rows(session, "SHOW COLUMNS FROM t LIKE 'v'") == [("v", "INT", "TRUE", None, None, None, None)]
    assert rows(session, "DESC u") == [("id", "INT", "TRUE", None, None, None)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("`SUM`", {"is system function": "true", "is temporary": "false"}),
        (
            "EXTENDED UPPER",
            {
                "is system function": "true",
                "is temporary": "false",
                "kind": "SCALAR",
                "requirements": "[]",
                "is deterministic": "true",
                "example": "UPPER('AbC')",
            },
        ),
        (
            "EXTENDED RAND",
            {
                "is system function": "true",
                "is temporary": "false",
                "kind": "SCALAR",
                "requirements": "[]",
                "is deterministic": "false",
                "example": "RAND()",
            },
        ),
        (
            "EXTENDED f",
            {
                "is system function": "false",
                "is temporary": "true",
                "class name": None,
                "function language": "PYTHON",
                "kind": "SCALAR",
                "requirements": "[]",
                "is deterministic": "false",
                "signature": "f(INT) => BIGINT",
            },
        ),
        (
            "g",
            {
                "is system function": "false",
                "is temporary": "false",
                "class name": "sqlstream.secrets.redacted",
                "function language": "PYTHON",
            },
        ),
    ],
)
def test_functions_are_described(sql: str, expected: dict[str, str | None]) -> None:
    session = Session()
    rows(session, "CREATE TEMPORARY FUNCTION f(x INT) RETURNS BIGINT LANGUAGE PYTHON AS $$ return 2 * x $$")
    rows(session, "CREATE FUNCTION g AS 'sqlstream.secrets.redacted' LANGUAGE PYTHON")
    assert dict(rows(session, f"DESCRIBE FUNCTION {sql}")) == expected


def test_a_function_that_there_is_not_is_no_function() -> None:
    with pytest.raises(BindError, match="there is no function 'UPPR'") as e:
        rows(Session(), "DESCRIBE FUNCTION UPPR")
    assert "UPPER" in (e.value.hint or "")


def test_a_table_may_be_called_function() -> None:
    session = Session()
    rows(session, f"CREATE TABLE `function` (a INT) {T}")
    assert rows(session, "DESCRIBE `function`") == [("a", "INT", "TRUE", None, None, None)]


def test_partitions_are_shown(tmp_path: Path) -> None:
    session = Session(options={"execution.runtime-mode": "batch"})
    files = f"WITH ('connector' = 'filesystem', 'path' = '{tmp_path}/p', 'format' = 'csv')"
    rows(session, f"CREATE TABLE p (id INT, d STRING, e INT) PARTITIONED BY (d, e) {files}")
    rows(
        session,
        "INSERT INTO p VALUES (1, 'a/b', 1), (2, 'c', 1), (3, 'c', 2), (4, 'c', 2), (5, CAST(NULL AS STRING), 3)",
    )
    default = "d=__DEFAULT_PARTITION__/e=3"
    assert rows(session, "SHOW PARTITIONS p") == [(default,), ("d=a%2Fb/e=1",), ("d=c/e=1",), ("d=c/e=2",)]
    assert rows(session, "SHOW PARTITIONS p PARTITION (d = 'c', e = 2)") == [("d=c/e=2",)]
    assert rows(session, "SHOW PARTITIONS p PARTITION (d = 'a/b')") == [("d=a%2Fb/e=1",)]
    assert rows(session, "SHOW PARTITIONS p PARTITION (d = NULL)") == [(default,)]
    assert rows(session, "SHOW PARTITIONS p PARTITION (e = 9)") == []
    with pytest.raises(BindError, match="'id' is no partition column of p"):
        rows(session, "SHOW PARTITIONS p PARTITION (id = 1)")
    rows(session, f"CREATE TABLE t (id INT) {T}")
    with pytest.raises(BindError, match="'t' has no partitions"):
        rows(session, "SHOW PARTITIONS t")
