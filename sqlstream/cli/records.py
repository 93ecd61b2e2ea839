"""What a command lists, for programs and documents: the forms of --output that are not a table for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from sqlstream.cli.of_jobs import printable

Record = dict[str, Any]


def as_json(records: list[Record]) -> str:
    """An object a line."""
    return "".join(json.dumps(r) + "\n" for r in records)


def as_csv(records: list[Record]) -> str:
    """With a header, where there is a record; nested values are JSON."""
    text = io.StringIO()
    if records:
        rows = csv.DictWriter(text, list(records[0]), lineterminator="\n")
        rows.writeheader()
        rows.writerows({k: _text(v) for k, v in r.items()} for r in records)
    return text.getvalue()


def as_markdown(records: list[Record]) -> str:
    """A table of Markdown, where there is a record."""
    if not records:
        return ""
    rows = [list(records[0]), *([printable(_text(v)) for v in r.values()] for r in records)]
    lines = ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "".join(f"{line}\n" for line in lines)


def as_lines(records: list[Record]) -> str:
    """A line for each value, under a line for each record."""
    out = []
    for number, record in enumerate(records, 1):
        size = max(map(len, record))
        out.append(f"-[ RECORD {number} ]".ljust(size + 8, "-"))
        out += [f"{k.ljust(size)} | {printable(_text(v))}".rstrip() for k, v in record.items()]
    return "".join(f"{line}\n" for line in out)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (dict, list, bool)) else str(value)


FORMS: dict[str, Callable[[list[Record]], str]] = {
    "csv": as_csv,
    "json": as_json,
    "jsonl": as_json,
    "markdown": as_markdown,
    "vertical": as_lines,
}
