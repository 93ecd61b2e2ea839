"""Rows as an HTML table, as notebooks show results: types under the names, numbers to the right, long values cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from typing import Any

SHOWN = 20  # rows, where nothing else is said
_WIDTH = 60  # characters of a value
_RIGHT = ' style="text-align: right"'


def shown(value: Any) -> str:
    """A value as text, cut where it is long."""
    text = "NULL" if value is None else str(value)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def count(rows: int, there: int) -> str:
    """How many rows a result has, and how many of them are shown."""
    total = f"{rows:,} row{'' if rows == 1 else 's'}"
    return total if there == rows else f"{total}, the first {there} shown"


def html_table(names: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[Any]], note: str) -> str:
    """The table, with a line below it."""
    head = "".join(
        f"<th>{escape(n)}<br><small style='font-weight: normal'>{escape(shown(t))}</small></th>"
        for n, t in zip(names, types, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><small>{escape(note)}</small>"


def _cell(value: Any) -> str:
    if value is None:
        return "<td><i>NULL</i></td>"
    number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    return f"<td{_RIGHT if number else ''}>{escape(shown(value))}</td>"
