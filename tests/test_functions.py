"""Every scalar function against a table of Flink's answers: usual values, NULL in each argument, limits, wrong values.

Each call runs with constants and with columns, in batch and as a stream. The type of the result is that over columns: a
constant may be of a narrower type (CHAR(1)), or of a wider one (-2147483648 is a BIGINT, negated).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from harness import function_table as table
from harness import rows, ways

from sqlstream.functions.scalar import SCALARS
from sqlstream.session import Session
from sqlstream.types import Schema

SECTIONS = [s for f in sorted((Path(__file__).parent / "functions").glob("*.txt")) for s in table.load(f)]
MODES = ("batch", "streaming")


def test_every_function_has_every_sort() -> None:
    sections = defaultdict(list)
    for s in SECTIONS:
        for name in s.names:
            sections[name].append(s)
    assert not sections.keys() - SCALARS.keys(), "there are no such functions"
    missing = []
    for name in SCALARS:
        given = {line.sort for s in sections[name] for line in s.lines} | {w for s in sections[name] for w in s.without}
        missing += [f"{name}: {sort}" for sort in table.SORTS if sort not in given]
        for s in sections[name]:
            nulls = {i for line in s.lines for i, a in enumerate(line.arguments) if a == "NULL"}
            if "null" not in s.without and nulls != set(range(len(s.types))):
                missing.append(f"{s.id}: NULL in each argument")
    assert not missing, "rows are missing in tests/functions:\n" + "\n".join(missing)


def results(sql: str, mode: str, zone: str) -> tuple[list[rows.Row], Schema]:
    """The rows, the first column being their number, in its order; and the schema."""
    session = Session(options={"execution.runtime-mode": mode, "table.local-time-zone": zone})
    (result,) = session.execute(sql)
    assert result.schema is not None
    found: list[rows.Row] = []
    for batch, _ in result.batches():
        found += rows.rows_of(batch, result.schema)
    return sorted(found, key=lambda r: int(r[0])), result.schema


@pytest.mark.parametrize("section", SECTIONS, ids=lambda s: s.id)
def test_answers(section: table.Section) -> None:
    lines = [line for line in section.lines if line.error is None]
    for name in section.names:
        for mode in MODES:
            if lines:
                compare(section, lines, mode, constants(section, lines, name), checked=not section.types)
                if section.types:
                    compare(section, lines, mode, columns(section, lines, name), checked=True)
            for line in section.lines:
                if line.error is not None:
                    fails(section, line, mode, name)


def typed(argument: str, t: str) -> str:
    return f"CAST({argument} AS {t})"


def constants(section: table.Section, lines: list[table.Line], name: str) -> str:
    """Each call with its arguments as they are written."""
    calls = []
    for i, line in enumerate(lines):
        given = tuple(typed(a, t) if a == "NULL" else a for a, t in zip(line.arguments, section.types, strict=True))
        calls.append(f"SELECT {i} AS n, {section.over(given, name)} AS x")
    return " UNION ALL ".join(calls)


def columns(section: table.Section, lines: list[table.Line], name: str) -> str:
    """One call over a column for each argument."""
    values = []
    for i, line in enumerate(lines):
        given = (typed(a, t) for a, t in zip(line.arguments, section.types, strict=True))
        values.append(f"({', '.join((str(i), *given))})")
    names = tuple(f"a{i}" for i in range(len(section.types)))
    call = section.over(names, name)
    return f"SELECT n, {call} AS x FROM (VALUES {', '.join(values)}) AS v(n, {', '.join(names)})"


def compare(section: table.Section, lines: list[table.Line], mode: str, sql: str, checked: bool) -> None:
    try:
        found, schema = results(sql, mode, section.zone)
    except Exception as e:
        raise AssertionError(f"{mode}: {e}\n{sql}") from e
    assert not checked or schema[1].type.text() == section.type, f"{mode}: the type is {schema[1].type.text()}\n{sql}"
    wrong = []
    for line, (n, x) in zip(lines, found, strict=True):
        expected = rows.expected_row(f"[{n}, {line.answer}]", schema)
        if rows.difference(Counter([(n, x)]), Counter([expected]), schema) is not None:
            wrong.append(f"{section.file}:{line.number}: {'; '.join(line.arguments)} => {x!r}, not {line.answer}")
    assert not wrong, f"{mode}\n" + "\n".join(wrong) + f"\n{sql[:2000]}"


def fails(section: table.Section, line: table.Line, mode: str, name: str) -> None:
    sql = (columns if section.types else constants)(section, [line], name)
    error = ways.failure(lambda: results(sql, mode, section.zone))
    assert error is not None, f"{mode}: no error\n{sql}"
    assert re.search(line.error or "", str(error)), f"{mode}: another error: {error}\n{sql}"
