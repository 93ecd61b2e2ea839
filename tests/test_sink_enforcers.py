"""What becomes of rows that do not fit the columns that they are written to, as Flink's two options say, in both modes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqlstream.errors import SqlStreamError
from sqlstream.session import Session

SCRIPT = """
CREATE TABLE i (a INT, b VARCHAR(3), c CHAR(2)) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json');
CREATE TABLE o (a INT NOT NULL, b VARCHAR(3), c CHAR(2), d VARCHAR(2), e STRING)
WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
INSERT INTO o SELECT a, b, c, b, b FROM i;
"""
ROWS = [{"a": 1, "b": "abcdef", "c": "x"}, {"a": None, "b": "y", "c": "yy"}, {"a": 3, "b": None, "c": "zzzz"}]


def written(place: Path, mode: str, **options: str) -> list[list[object]]:
    (place / "in.json").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    given = {"execution.runtime-mode": mode} | {f"table.exec.sink.{k.replace('_', '-')}": v for k, v in options.items()}
    list(Session(options=given, working_directory=str(place)).execute(SCRIPT))
    lines = [line for p in sorted((place / "out").glob("*.json")) for line in p.read_text().splitlines()]
    return sorted((list(json.loads(line).values()) for line in lines), key=str)


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_rows_that_lack_a_value_are_left_out(tmp_path: Path, mode: str) -> None:
    """What is of another type is cast, as by Flink 2.3 whatever the option for lengths says."""
    assert written(tmp_path, mode, not_null_enforcer="DROP") == [
        [1, "abcdef", "x", "ab", "abcdef"],
        [3, None, "zzzz", None, None],
    ]


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_lengths_are_those_of_the_columns(tmp_path: Path, mode: str) -> None:
    assert written(tmp_path, mode, not_null_enforcer="DROP", type_length_enforcer="TRIM_PAD") == [
        [1, "abc", "x ", "ab", "abcdef"],
        [3, None, "zz", None, None],
    ]


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_the_default_is_an_error(tmp_path: Path, mode: str) -> None:
    with pytest.raises(SqlStreamError, match="table o: NULL for column 'a', which is NOT NULL"):
        written(tmp_path, mode)
