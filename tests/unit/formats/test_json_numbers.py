"""Decimals of JSON numbers, digit for digit: nested, in every reader, and beside text that looks like them."""

from __future__ import annotations

import io
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from connector_cases import file_table, read, read_from, read_positions, relation, schema, source_of, whole

from sqlstream.formats.json_numbers import ExactNumbers
from sqlstream.types import BIGINT, DOUBLE, STRING, Type, array, decimal, map_of, row

WIDE, LONG = decimal(38, 18), "799.929496989092949698"
LIMIT = "9" * 20 + "." + "9" * 18


@pytest.mark.parametrize(
    ("t", "text", "expected"),
    [
        (WIDE, LONG, D(LONG)),
        (WIDE, "-" + LONG, D("-" + LONG)),
        (WIDE, LIMIT, D(LIMIT)),
        (WIDE, "-" + LIMIT, D("-" + LIMIT)),
        (WIDE, f'"{LONG}"', D(LONG)),
        (WIDE, "1.2345678901234567E+3", D("1234.5678901234567")),
        (WIDE, "0.000000000000000001", D("0.000000000000000001")),
        (WIDE, "0.1", D("0.1")),
        (decimal(18, 2), "1234567890123456.78", D("1234567890123456.78")),
        (decimal(10, 2), "1.00499999999999999999999", D("1.00")),  # a DOUBLE of it is 1.005
        (decimal(38, 0), "9" * 38, D("9" * 38)),
        (array(WIDE), f"[{LONG}, null, 1]", [D(LONG), None, D(1)]),
        (array(array(WIDE)), f"[[{LONG}], []]", [[D(LONG)], []]),
        (map_of(STRING, WIDE), f'{{"any": {LONG}}}', [("any", D(LONG))]),
        (map_of(STRING, row(("x", WIDE))), f'{{"any": {{"x": {LONG}}}}}', [("any", {"f0": D(LONG)})]),
        (row(("a b", array(row(("ü", WIDE))))), f'{{"a b": [{{"ü": {LONG}}}]}}', {"f0": [{"f0": D(LONG)}]}),
    ],
)
def test_values(t: Type, text: str, expected: Any, tmp_path: Path) -> None:
    for format, line in (
        ("json", f'{{"s": "\\"v\\": {LONG}", "v": {text}}}'),
        ("debezium-json", f'{{"before": null, "after": {{"s": "\\"v\\": {LONG}", "v": {text}}}, "op": "c"}}'),
    ):
        path = tmp_path / format
        path.write_text(line + "\n")
        columns = schema(("s", STRING), ("v", t))
        wanted = [(f'"v": {LONG}', expected)]
        for options in ({}, {"ignore__parse__errors": "true"}):
            given = {f"{format.replace('-', '__')}_{k}": v for k, v in options.items()}
            tab = file_table(path, columns, format=format, **given)
            assert [r[:2] for r in read(tab)[0]] == [r[:2] for r in relation(tab)] == wanted
        growing = source_of(file_table(path, columns, format=format, source_monitor__interval="1 s"))
        got = growing.reader(growing.splits()[0], None, whole(columns)).poll(10)
        assert got is not None and tuple(got.batch.to_pylist()[0].values())[:2] == wanted[0]


def test_escaped_names_and_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    inner = f'{{"x":{LONG[:12]}}}'
    path.write_text(f'{{"\\u0076": {LONG}, "d": {LONG}, "s": {inner}, "n": 1700000000000000}}\n')
    tab = file_table(path, schema(("v", WIDE), ("d", DOUBLE), ("s", STRING), ("n", BIGINT)), format="json")
    expected = [(D(LONG), float(LONG), inner, 1700000000000000)]
    assert read(tab)[0] == relation(tab) == expected


def test_malformed_records_are_shown_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(f'{{"v": {LONG}}}\n{{"v": {LONG}, "v"}}\n{{"v": 2}}\n')
    tab = file_table(path, schema(("v", WIDE)), format="json")
    with pytest.raises(Exception, match=rf'line 2: malformed record: .*: {{"v": {LONG}, "v"}}'):
        read(tab)
    tab = file_table(path, schema(("v", WIDE)), format="json", json_ignore__parse__errors="true")
    assert read(tab) == ([(D(LONG),), (D(2),)], 1)


def test_resumption(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text("".join(f'{{"v": {i}.{"1" * 18}}}\n' for i in range(1000)))
    tab = file_table(path, schema(("v", WIDE)), format="json")
    rows = [(D(f"{i}.{'1' * 18}"),) for i in range(1000)]
    for position, first, got in read_positions(tab, 300):
        assert got == rows[first : first + len(got)]
        assert read_from(tab, position) == rows[first + len(got) :]


def test_what_is_looked_at() -> None:
    exact = ExactNumbers.of([("v", WIDE), ("s", STRING)])
    short = b'{"v": 1.23456789012345, "w": 1.2345678901234567, "s": "1.2345678901234567"}\n'
    assert exact.quoted(short) is short and exact.plain(io.BytesIO(short * 100_000))
    assert not exact.plain(io.BytesIO(short * 100_000 + b'{"v": 1.2345678901234567}'))
    long = b'{"s": "\\"v\\": 1.2345678901234567", "v": 1.2345678901234567}'
    assert exact.quoted(long) == long[:-19] + b'"1.2345678901234567"}'
    none = ExactNumbers.of([("s", STRING)])
    assert none.quoted(long) is long and none.plain(io.BytesIO(long))
