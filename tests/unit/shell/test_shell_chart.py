"""Numbers as dots."""

from __future__ import annotations

from sqlstream.shell.chart import plot


def test_a_line_that_rises() -> None:
    lines = plot([[(0, 0), (1, 1), (2, 2), (3, 3)]], 16, 1, coloured=False)
    assert lines == ["           3 ┤⡠⠊"]


def test_one_point_and_equal_values() -> None:
    assert len(plot([[(0, 5)]], 40, 4, coloured=False)) == 4
    lines = plot([[(x, 7) for x in range(9)]], 30, 3, coloured=False)
    assert "⠒" in lines[1] or "⠤" in lines[1] or "⠉" in lines[1]


def test_its_size_is_the_screens() -> None:
    lines = plot([[(x, x * x) for x in range(500)], [(x, -x) for x in range(500)]], 60, 10, coloured=False)
    assert len(lines) == 10 and all(len(line) <= 60 for line in lines)
    assert lines[0].strip().startswith("249001") and lines[-1].strip().startswith("-499")
