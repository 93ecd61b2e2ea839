"""Columns on a screen of so many characters."""

from __future__ import annotations

import pytest

from sqlstream.cli.layout import ASCII, COLOURED, GAP, Box, Head, cut, fit, padded, width


def test_cut_and_padded() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
    assert cut("日本語", 5) == "日本…" and cut("日本語", 4) == "日…"
    assert padded("ab", 5) == "ab   " and padded("ab", 5, ">") == "   ab" and padded("ab", 5, "^") == " ab  "
    assert width(padded("日本", 7)) == 7


def test_what_fits_is_as_wide_as_it_wants() -> None:
    fitted = fit([3, 5], 80)
    assert (fitted.shown, fitted.widths, fitted.total, fitted.hidden) == ((0, 1), (3, 5), 15, False)


def test_the_widest_gives() -> None:
    fitted = fit([3, 360, 20], 60)
    assert fitted.widths == (3, 27, 20) and fitted.total == 60
    fitted = fit([100, 100], 47)
    assert fitted.widths == (20, 20)


def test_numbers_are_never_cut_while_something_else_can_give() -> None:
    assert fit([19, 36, 19], 60, [True, False, True]).widths == (19, 12, 19)
    fitted = fit([19, 36, 19, 19], 60, [True, False, True, True])
    assert GAP in fitted.shown and all(w in (1, 12, 19) for w in fitted.widths)


@pytest.mark.parametrize("columns", [1, 2, 7, 40, 300])
@pytest.mark.parametrize("screen", [10, 40, 80, 200])
@pytest.mark.parametrize("size", [1, 8, 30, 500])
def test_no_row_is_wider_than_the_screen(columns: int, screen: int, size: int) -> None:
    fitted = fit([size] * columns, screen)
    assert fitted.total <= screen or len(fitted.shown) == 1
    kept = [i for i in fitted.shown if i != GAP]
    assert kept == sorted(kept) and kept[0] == 0 and all(w >= 1 for w in fitted.widths)
    if columns > 1 and len(kept) > 1:
        assert kept[-1] == columns - 1  # both ends are there


def test_a_box() -> None:
    heads = (Head("n", "INT", True), Head("name", "STRING"))
    box = Box(heads, fit([3, 8], 80))
    assert [*box.head(), box.row(["1", None]), *box.dots()[:1], *box.end("2 rows (1 shown)")] == [
        "┌─────┬──────────┐",
        "│  n  │   name   │",
        "│ INT │  STRING  │",
        "├─────┼──────────┤",
        "│   1 │ NULL     │",
        "│  ·  │    ·     │",
        "├─────┴──────────┤",
        "│ 2 rows (1 sho… │",
        "└────────────────┘",
    ]
    assert Box(heads, fit([3, 8], 80), ASCII).end() == ["+-----+----------+"]


def test_colours_change_no_width() -> None:
    heads = (Head("op"), Head("n", "INT", True))
    plain = Box(heads, fit([2, 3], 80), changes=True)
    coloured = Box(heads, fit([2, 3], 80), paint=COLOURED, changes=True)
    import re

    for row in (["+I", "1"], ["-D", None]):
        assert re.sub("\x1b[^m]*m", "", coloured.row(row)) == plain.row(row)
    assert "\x1b[31m-D" in coloured.row(["-D", "1"])
