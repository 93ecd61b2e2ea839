"""Expressions of very many parts, as programs write them: no depth of Python's or DuckDB's is in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sqlstream.errors import ParseError
from sqlstream.session import Session

N = 1500
NUMBERS = "(VALUES (1), (2), (-3)) AS t(x)"


def rows(sql: str, mode: str, directory: Path) -> list[tuple[Any, ...]]:
    session = Session(None, {"execution.runtime-mode": mode}, str(directory))
    (result,) = session.execute(sql)
    return sorted(r for b, _ in result.batches() for r in zip(*(c.to_pylist() for c in b.columns), strict=True))


def joined(word: str, part: str) -> str:
    return f" {word} ".join(part.format(i=i) for i in range(N))


@pytest.mark.parametrize("mode", ["batch", "streaming"])
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (f"SELECT x FROM {NUMBERS} WHERE {joined('AND', 'x <> -{i}')}", [(1,), (2,)]),
        (f"SELECT x FROM {NUMBERS} WHERE {joined('OR', 'x = {i}')}", [(1,), (2,)]),
        (f"SELECT x, {joined('AND', 'x <> -{i}')} FROM {NUMBERS}", [(-3, False), (1, True), (2, True)]),
        (f"SELECT x FROM {NUMBERS} WHERE {joined('OR', 'x = {i} AND x > 1')}", [(2,)]),
        (f"SELECT x FROM {NUMBERS} GROUP BY x HAVING {joined('AND', 'COUNT(*) + x <> {i} + 2')}", [(-3,)]),
        (
            f"SELECT t.x FROM {NUMBERS} JOIN (VALUES (1), (2)) AS u(y) ON t.x = u.y AND {joined('AND', 't.x * u.y <> {i} + 4')}",
            [(1,)],
        ),
        (f"SELECT CASE {joined('', 'WHEN x = {i} THEN {i} * 10')} ELSE 0 END FROM {NUMBERS}", [(0,), (10,), (20,)]),
        (f"SELECT CASE x {joined('', 'WHEN {i} THEN {i} * 10')} END FROM (VALUES (7)) AS t(x)", [(70,)]),
        (f"SELECT x FROM {NUMBERS} WHERE x IN ({', '.join(map(str, range(2, 10_000)))})", [(2,)]),
        (f"SELECT x FROM {NUMBERS} WHERE x NOT IN ({', '.join(map(str, range(2, 10_000)))})", [(-3,), (1,)]),
        (f"SELECT CHAR_LENGTH(CONCAT({', '.join(['s'] * N)})) FROM (VALUES ('ab')) AS t(s)", [(2 * N,)]),
        (f"SELECT COALESCE({', '.join(['NULLIF(x, 1)'] * N)}, 5) FROM (VALUES (1)) AS t(x)", [(5,)]),
    ],
    ids=lambda v: v[:40] if isinstance(v, str) else None,
)
def test_many_parts(sql: str, expected: list[tuple[Any, ...]], mode: str, tmp_path: Path) -> None:
    assert rows(sql, mode, tmp_path) == expected


def test_a_deep_chain_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ParseError, match="more than 200 operators deep"):
        rows(f"SELECT {' + '.join(['x'] * N)} FROM {NUMBERS}", "batch", tmp_path)
