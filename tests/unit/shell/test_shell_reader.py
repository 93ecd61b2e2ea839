"""Where an input ends."""

from __future__ import annotations

import pytest

from sqlstream.shell.reader import inputs, is_meta, is_whole


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("SELECT 1;", True),
        ("SELECT 1", False),
        ("SELECT ';'", False),
        ("SELECT ';';", True),
        ("SELECT 1 -- ;", False),
        ("SELECT /* ; */ 1", False),
        ("SELECT `a;b` FROM t", False),
        ("SELECT 1; SELECT 2", False),
        ("SELECT 1; SELECT 2;", True),
        ("BEGIN STATEMENT SET; INSERT INTO a SELECT 1;", False),
        ("BEGIN STATEMENT SET; INSERT INTO a SELECT 1; END;", True),
        ("\\d", True),
        (".tables", True),
        ("!ls", True),
        ("quit", True),
        ("  EXIT ", True),
        ("", True),
        (".5", False),
    ],
)
def test_is_whole(text: str, whole: bool) -> None:
    assert is_whole(text) is whole


def test_is_meta() -> None:
    assert [is_meta(t) for t in ("\\?", " .mode csv", "SELECT 1;", ".5;", "\\! ls")] == [True, True, False, False, True]


def test_inputs_keep_their_lines() -> None:
    lines = ["-- a comment", "SELECT", "  1;", "-- another", ".tables", "SELECT 2; SELECT 3;", "SELECT", "4"]
    assert list(inputs(lines)) == [
        "\nSELECT\n  1;",
        ".tables",
        "\n" * 5 + "SELECT 2; SELECT 3;",
        "\n" * 6 + "SELECT\n4",
    ]


def test_a_command_within_a_statement_is_a_part_of_it() -> None:
    assert list(inputs(["SELECT '", ".tables", "';"])) == ["SELECT '\n.tables\n';"]
