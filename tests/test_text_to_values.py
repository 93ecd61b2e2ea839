"""CAST and TRY_CAST of text against the table of Flink's answers, as rows and as constants, in both modes."""

from __future__ import annotations

import datetime
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sqlstream.errors import SqlStreamError
from sqlstream.session import Session

TABLE = Path(__file__).parent / "expected" / "text_to_values.txt"
MODES = ("batch", "streaming")


def table(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Target types, and of each text its values in their order."""
    lines = [x for x in path.read_text().splitlines() if x.strip() and not x.startswith("#")]
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    assert {len(r) for r in rows} == {len(rows[0])}
    return rows[0][1:], {json.loads(r[0]): r[1:] for r in rows[1:]}


def expected(cell: str, target: str) -> Any:
    if cell == "-":
        return None
    if target in ("TINYINT", "INT"):
        return int(cell)
    if target == "DOUBLE":
        return float(cell)
    if target == "BOOLEAN":
        return {"true": True, "false": False}[cell]
    if target.startswith("DECIMAL"):
        return Decimal(cell)
    if target == "DATE":
        return datetime.date.fromisoformat(cell)
    return (datetime.time if target == "TIME" else datetime.datetime).fromisoformat(cell)


def same(a: Any, b: Any) -> bool:
    return a == b or isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)


def rows(sql: str, mode: str, directory: Path, setup: str = "") -> list[list[Any]]:
    session = Session(None, {"execution.runtime-mode": mode}, str(directory))
    results = list(session.execute(f"{setup};{sql}" if setup else sql))
    found: list[list[Any]] = []
    for batch, _ in results[-1].batches():
        found += [list(r) for r in zip(*(c.to_pylist() for c in batch.columns), strict=True)]
    return found


TYPES, TEXTS = table(TABLE)


@pytest.mark.parametrize("mode", MODES)
def test_try_cast_of_rows(mode: str, tmp_path: Path) -> None:
    lines = "".join(json.dumps({"id": i, "s": s}) + "\n" for i, s in enumerate(TEXTS))
    (tmp_path / "t.json").write_text(lines)
    setup = "CREATE TABLE t (id INT, s STRING) WITH ('connector' = 'filesystem', 'path' = 't.json', 'format' = 'json')"
    casts = ", ".join(f"TRY_CAST(s AS {t})" for t in TYPES)
    found = {r[0]: r[1:] for r in rows(f"SELECT id, {casts} FROM t", mode, tmp_path, setup)}
    wrong = [
        (text, t, value)
        for i, (text, cells) in enumerate(TEXTS.items())
        for value, cell, t in zip(found[i], cells, TYPES, strict=True)
        if not same(value, expected(cell, t))
    ]
    assert not wrong


@pytest.mark.parametrize("target", TYPES)
def test_try_cast_of_constants(target: str, tmp_path: Path) -> None:
    def constant(s: str) -> str:
        return "'" + s.replace("'", "''") + "'"

    at = TYPES.index(target)
    texts = [s for s in TEXTS if "\0" not in s]
    found = rows(f"SELECT {', '.join(f'TRY_CAST({constant(s)} AS {target})' for s in texts)}", "batch", tmp_path)[0]
    wrong = [(s, v) for s, v in zip(texts, found, strict=True) if not same(v, expected(TEXTS[s][at], target))]
    assert not wrong


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", TYPES)
def test_cast_fails_where_there_is_no_value(mode: str, target: str, tmp_path: Path) -> None:
    at = TYPES.index(target)
    setup = "CREATE TABLE t (s STRING) WITH ('connector' = 'filesystem', 'path' = 't.json', 'format' = 'json')"
    for text in [s for s, cells in TEXTS.items() if cells[at] == "-"][:: 3 if mode == "batch" else 24]:
        (tmp_path / "t.json").write_text(json.dumps({"s": text}) + "\n")
        with pytest.raises(SqlStreamError) as raised:
            rows(f"SELECT CAST(s AS {target}) AS x FROM t", mode, tmp_path, setup)
        assert "column 'x'" in str(raised.value)
        assert "\x1a" not in str(raised.value)
