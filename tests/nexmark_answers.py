"""The Nexmark answers that Flink gave, as multisets that any engine's result can be compared with.

They lie beside the checkout (`../shared/nexmark`, or `$SQLSTREAM_SHARED/nexmark`) and not in it: `load()` is
None where they are absent, and tests skip with `MISSING` as the reason. Numbers compare as decimals,
timestamps as instants, rows as a multiset.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

MISSING = "no Nexmark answers: neither ../shared/nexmark nor $SQLSTREAM_SHARED/nexmark is there"
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?")

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Expected:
    """One query's final rows. `columns` is None where there are no rows to name them by."""

    columns: tuple[str, ...] | None
    rows: Counter[Row]


@dataclass(frozen=True)
class Answers:
    directory: Path

    @property
    def queries(self) -> tuple[str, ...]:
        """q0, q1, … in order: those with an expected answer."""
        names = (p.stem for p in (self.directory / "expected").glob("q*.jsonl"))
        return tuple(sorted(names, key=lambda n: int(n[1:])))

    def sql(self, query: str) -> str:
        """The SELECT, without its `;`."""
        return (self.directory / "queries" / f"{query}.sql").read_text().strip().rstrip(";")

    def ddl(self, events: Path | str) -> str:
        """The script of table and views over the events at `events`, a file or a directory."""
        return (self.directory / "ddl.sql").read_text().replace("${EVENTS}", str(events))

    def unpack(self, directory: Path) -> Path:
        """Writes the events as JSON lines into `directory` (once) and returns the file."""
        target = directory / "events.jsonl"
        if not target.exists():
            directory.mkdir(parents=True, exist_ok=True)
            partial = directory / f".events-{os.getpid()}"
            with gzip.open(self.directory / "events.jsonl.gz") as packed, partial.open("wb") as out:
                shutil.copyfileobj(packed, out)
            partial.replace(target)  # another process may be unpacking too
        return target

    def expected(self, query: str) -> Expected:
        with (self.directory / "expected" / f"{query}.jsonl").open() as lines:
            columns = json.loads(next(lines))["columns"]
            rows = Counter(canonical_row(json.loads(line, parse_float=Decimal)) for line in lines)
        return Expected(None if columns is None else tuple(columns), rows)


def load() -> Answers | None:
    """The answers, or None where they are not on this machine."""
    shared = os.environ.get("SQLSTREAM_SHARED")
    roots = [Path(shared)] if shared else [p / "shared" for p in Path(__file__).resolve().parents[1:3]]
    for root in roots:
        if (root / "nexmark" / "expected").is_dir():
            return Answers(root / "nexmark")
    return None


def canonical(value: Any) -> Any:
    """A hashable form in which equal values are equal: 1, 1.0 and Decimal('1.00') are, '1' is not."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float, Decimal)):
        number = value if isinstance(value, Decimal) else Decimal(repr(value))
        return number.normalize() if number else Decimal(0)
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, (list, tuple)):
        return tuple(canonical(v) for v in value)
    if isinstance(value, dict):
        return tuple((k, canonical(v)) for k, v in value.items())
    return value


def canonical_row(row: Iterable[Any]) -> Row:
    return tuple(canonical(v) for v in row)


def compare(columns: Sequence[str], rows: Iterable[Iterable[Any]], expected: Expected, shown: int = 5) -> str | None:
    """None when the result is the expected one, else a text that says what is missing and what is extra."""
    if expected.columns is not None and tuple(columns) != expected.columns:
        return f"columns are {list(columns)}, expected {list(expected.columns)}"
    actual = Counter(canonical_row(r) for r in rows)
    if actual == expected.rows:
        return None
    missing, extra = expected.rows - actual, actual - expected.rows
    lines = [f"{actual.total()} rows, expected {expected.rows.total()}"]
    for title, part in (("missing", missing), ("extra", extra)):
        if part:
            lines.append(f"{title} ({part.total()}):")
            ordered = sorted(part.elements(), key=lambda r: tuple(str(v) for v in r))
            lines += [f"  {_text(r)}" for r in ordered[:shown]]
    return "\n".join(lines)


def _text(row: Row) -> str:
    shown = (f"{v:f}" if isinstance(v, Decimal) else str(v).removesuffix("+00:00") for v in row)
    return "[" + ", ".join(shown) + "]"
