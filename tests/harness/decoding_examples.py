"""Examples for decoders of records, each known by the run's seed and its number; and the smallest that still tells two ways apart
(Zeller and Hildebrandt's ddmin over lines, then over the bytes of those that are left)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from harness import csv_lines, json_lines
from harness.csv_shapes import CsvShape, a_csv_shape
from harness.decoding import EXACT, POISONED, AnyShape, Way
from harness.json_shapes import Shape, a_shape
from harness.seed import random_of, said
from sqlstream.contracts import ScanColumn, ScanRequest

MOST, FEW = 20_000, 60  # records: with a statement for all; with one for each or for few


@dataclass(frozen=True)
class Example:
    """A block, the first of whose lines is line `line` of the file."""

    number: int
    shape: AnyShape
    data: bytes
    line: int = 1

    @staticmethod
    def of(number: int, most: int = MOST, format: str = Shape.name) -> Example:
        """`most`: records."""
        rng = random_of("decoding", number)
        shape = a_csv_shape(rng) if format == CsvShape.name else a_shape(rng, flat=rng.random() < 0.8)
        return Example.over(shape, number, most)

    @staticmethod
    def over(shape: AnyShape, number: int, most: int = MOST) -> Example:
        """One for a table that is given."""
        rng = random_of("decoding over", shape, number)
        data = (csv_lines if isinstance(shape, CsvShape) else json_lines).block(shape, rng, most)
        if rng.random() < 0.3:
            data = data.removesuffix(b"\n")
        return Example(number, shape, data, rng.choice((1, 1, 4711)))

    def difference(self, way: Way, than: Way = EXACT) -> str | None:
        """What `way` makes of the block that the other way does not."""
        return way.decode(self.shape, self.data, self.line).differs(than.decode(self.shape, self.data, self.line))

    def shown(self, difference: str) -> str:
        data = "\n".join(f"  {line!r}" for line in self.data.split(b"\n"))
        return said(f"example {self.number}: {self.shape}\nlines from {self.line}:\n{data}\n{difference}")


def with_all_columns(example: Example) -> Example:
    """Which of a malformed record and a derived column's error comes first, and, where nothing is read of a line, what is one, depends
    on the block: then all columns are read instead."""
    shape = example.shape
    if not shape.request.derived and shape.request.columns:
        return example
    columns = tuple(ScanColumn((n,), t) for n, t in shape.columns)
    return replace(example, shape=replace(shape, request=ScanRequest(columns)))


def smallest(example: Example, difference: Callable[[Example], str | None], seconds: float = 20) -> tuple[Example, str]:
    """The smallest found in that time, and what differs there."""
    end = time.monotonic() + seconds
    found = difference(example)
    assert found is not None
    kind = kind_of(found)
    tried = True
    while tried and time.monotonic() < end:
        tried = False
        for smaller in _smaller(example):
            if time.monotonic() > end:
                break
            now = difference(smaller)
            if now is not None and kind_of(now) == kind:
                example, found, tried = smaller, now, True
                break
    return example, found


def kind_of(difference: str) -> str:
    """What of it is the same for smaller examples."""
    return re.split(r"[^a-z ]", re.sub(r"^[0-9]+ |row [0-9]+,", "", difference))[0]


def _smaller(example: Example) -> Iterator[Example]:
    """With half of the lines, a quarter of them and so on left out; then columns; then bytes."""
    parts = example.data.split(b"\n")
    if len(parts) > 2:
        for fewer in _without(parts):
            yield replace(example, data=b"\n".join(fewer))
    request = example.shape.request
    for i in range(len(request.columns)):
        columns = request.columns[:i] + request.columns[i + 1 :]
        if not request.derived:
            yield replace(example, shape=replace(example.shape, request=ScanRequest(columns)))
    if request.derived:
        yield replace(example, shape=replace(example.shape, request=ScanRequest(request.columns)))
    if len(parts) <= 4:
        for left in _without([bytes((b,)) for b in example.data]):
            yield replace(example, data=b"".join(left))


def _without(parts: list[bytes]) -> Iterator[list[bytes]]:
    size = len(parts) // 2
    while size:
        for i in range(0, len(parts), size):
            yield parts[:i] + parts[i + size :]
        size //= 2


@dataclass
class Found:
    """What an example showed: `lines` were decoded, `scanned` of them without DuckDB."""

    lines: int = 0
    scanned: int = 0
    differences: list[str] = field(default_factory=list)


def check(example: Example, ways: Sequence[Way] = (POISONED,)) -> Found:
    """The example in all `ways`, beside the exact one."""
    found = Found()
    exact = EXACT.decode(example.shape, example.data, example.line)
    for way in ways:
        outcome = way.decode(example.shape, example.data, example.line)
        found.lines += example.data.count(b"\n")
        found.scanned += outcome.scanned
        if outcome.differs(exact) is not None:
            least, difference = smallest(example, lambda e, way=way: e.difference(way))
            found.differences.append(least.shown(f"{way.name}: {difference}"))
    return found
