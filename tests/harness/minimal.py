"""The smallest example that fails as a given one does: parts of the query, then rows left out by halves, quarters and so on
(Zeller and Hildebrandt's ddmin)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from harness import generator
from harness.generated import Example

# A thing that can be left out: table, number of its file, the places of its records there.
Unit = tuple[str, int, frozenset[int]]


def minimal(example: Example, failure: Exception, seconds: float = 60) -> tuple[Example, Exception]:
    """The smallest found in `seconds`, and what it fails with: an error of the same class."""
    end = time.monotonic() + seconds

    def failing(smaller: Example) -> Exception | None:
        if time.monotonic() > end:
            return None
        with tempfile.TemporaryDirectory() as name:
            try:
                found = smaller.failure(Path(name) / "example")
            except Exception:  # the oracle refuses it: not this fault
                return None
        return found if type(found) is type(failure) else None

    found = True
    while found:
        found = False
        for part in example.text.parts:
            smaller = replace(example, text=part)
            if (e := failing(smaller)) is not None:
                example, failure, found = smaller, e, True
                break
    for smaller, e in _shrunk(example, failing):
        example, failure = smaller, e
    return example, failure


def _shrunk(example: Example, failing: Callable[[Example], Exception | None]) -> Iterator[tuple[Example, Exception]]:
    """Ever smaller examples that fail."""
    kept = units(example.data)
    size = len(kept) // 2
    while size:
        i = 0
        while i < len(kept):
            fewer = kept[:i] + kept[i + size :]
            smaller = replace(example, data=only(example.data, fewer))
            if (e := failing(smaller)) is not None:
                yield smaller, e
                kept = fewer
            else:
                i += size
        size //= 2


def units(data: generator.Data) -> list[Unit]:
    """Rows of t, records of p, and those of h with what takes them back."""
    out: list[Unit] = [("t", s, frozenset({i})) for s, split in enumerate(data.splits) for i in range(len(split))]
    out += [("p", s, frozenset({i})) for s, part in enumerate(data.records) for i in range(len(part))]
    for s, part in enumerate(data.changes):
        since: dict[int, int] = {}
        for i, (sign, row) in enumerate(part):
            if sign > 0:
                since[row.id] = i
            else:
                out.append(("h", s, frozenset({since.pop(row.id), i})))
        out += [("h", s, frozenset({i})) for i in since.values()]
    return out


def only(data: generator.Data, kept: list[Unit]) -> generator.Data:
    """What is kept of the data; files stay, empty ones too, as splits count."""
    there: dict[tuple[str, int], set[int]] = {}
    for table, number, places in kept:
        there.setdefault((table, number), set()).update(places)

    def left(table: str, number: int, length: int) -> list[int]:
        return [i for i in range(length) if i in there.get((table, number), ())]

    return generator.Data(
        tuple(generator.marked([s[i] for i in left("t", n, len(s))], data.delay) for n, s in enumerate(data.splits)),
        data.delay,
        tuple(tuple(s[i] for i in left("h", n, len(s))) for n, s in enumerate(data.changes)),
        tuple(tuple(s[i] for i in left("p", n, len(s))) for n, s in enumerate(data.records)),
    )
