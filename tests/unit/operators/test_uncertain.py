"""Option table.optimizer.non-deterministic-update.strategy: where UUID() and the like are refused."""

from __future__ import annotations

import pytest

from sqlstream import udf
from sqlstream.errors import NotSupported
from sqlstream.session import Session


@udf(deterministic=False)
def guess(n: int) -> int:
    """Says that it may give anything."""
    return n


@udf
def sure(n: int) -> int:
    """Does not."""
    return n


TABLES = """
CREATE TEMPORARY FUNCTION guess AS 'test_uncertain.guess' LANGUAGE PYTHON;
CREATE TEMPORARY FUNCTION sure AS 'test_uncertain.sure' LANGUAGE PYTHON;
CREATE TABLE a (k INT, v BIGINT) WITH ('connector' = 'datagen');
CREATE TABLE p (k INT, v BIGINT, PRIMARY KEY (k) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = 'nothing', 'format' = 'debezium-json');
CREATE TABLE all_changes (k INT, v STRING) WITH ('connector' = 'print');
CREATE TABLE by_key (k INT, v STRING, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'blackhole');
SET 'execution.runtime-mode' = 'streaming';
"""
TRY = "SET 'table.optimizer.non-deterministic-update.strategy' = 'TRY_RESOLVE';"

REFUSED = {
    "its column": ("all_changes", "SELECT k, UUID() FROM p", "UUID\\(\\) in column '.*' is not deterministic"),
    "above GROUP BY": ("all_changes", "SELECT k, UUID() || CAST(COUNT(*) AS STRING) FROM a GROUP BY k", "UUID"),
    "inside another call": ("all_changes", "SELECT k, UPPER(UUID() || 'x') FROM p", "UUID"),
    "a condition": ("all_changes", "SELECT k, 'x' FROM p WHERE RAND() > 0.5", "RAND.* in a condition"),
    "a time": ("all_changes", "SELECT k, CAST(NOW() AS STRING) FROM p", "is not deterministic"),
    "a Python function": ("all_changes", "SELECT k, CAST(guess(v) AS STRING) FROM p", "guess"),
    "a key": ("by_key", "SELECT RAND_INTEGER(k), 'x' FROM p ON CONFLICT DO DEDUPLICATE", "RAND_INTEGER"),
    "what is grouped by": (
        "all_changes",
        "SELECT CAST(v AS INT), MAX(u) FROM (SELECT v, UUID() AS u FROM p) GROUP BY v",
        "UUID",
    ),
    "a condition before a key": ("by_key", "SELECT k, 'x' FROM p WHERE RAND() > 0.5", "RAND"),
    "a condition of a join": (
        "all_changes",
        "SELECT p.k, 'x' FROM p JOIN p AS q ON p.k = q.k AND p.v < q.v + RAND()",
        "RAND",
    ),
}
TAKEN = {
    "rows that only come": ("all_changes", "SELECT k, UUID() FROM a"),
    "below what makes them change": ("by_key", "SELECT k, MAX(u) FROM (SELECT k, UUID() AS u FROM a) GROUP BY k"),
    "beside a key": ("by_key", "SELECT k, UUID() FROM p"),
    "beside the key of a GROUP BY": (
        "by_key",
        "SELECT k, CAST(NOW() AS STRING) || CAST(COUNT(*) AS STRING) FROM a GROUP BY k",
    ),
    "a function that is deterministic": ("all_changes", "SELECT k, CAST(sure(v) AS STRING) FROM p"),
}


def explain(options: str, table: str, query: str) -> None:
    list(Session().execute(f"{TABLES} {options} EXPLAIN INSERT INTO {table} {query};"))


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_not_be_taken_back_is_refused(name: str) -> None:
    table, query, message = REFUSED[name]
    with pytest.raises(NotSupported, match=message) as e:
        explain(TRY, table, query)
    assert e.value.hint is not None and "PRIMARY KEY" in e.value.hint
    explain("", table, query)


@pytest.mark.parametrize("name", TAKEN)
def test_what_nobody_compares_is_not(name: str) -> None:
    table, query = TAKEN[name]
    explain(TRY, table, query)
