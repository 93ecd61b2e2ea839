"""Tables of JSON lines, and what is read of them: every type, in rows too, with every option of the format."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlstream.contracts import ScanColumn, ScanRequest, TableContext
from sqlstream.formats.base import Decoder
from sqlstream.formats.conversion import ISO_STANDARD, SQL_STANDARD, is_scalar
from sqlstream.formats.json import METADATA, JsonFormat
from sqlstream.types import (
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    STRING,
    Schema,
    Type,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

NAMES = ("a", "b", "price", "dateTime", "event_type", "url", "id", "extra_data", "k" * 40, "é", "東京", "a b", "x.y", "_",
         "a/b", "a~b", 'q"q', "back\\slash", "null", "true", "😀", "0")  # fmt: skip
RAISING = "flink_mod(CAST(7 AS BIGINT)"  # by zero
COLLIDING = ("", "A", "Price", "DATETIME", "É")


@dataclass(frozen=True)
class Shape:
    """What is read of a table's lines, and how. `columns`: all of the lines' fields that the table has."""

    columns: tuple[tuple[str, Type], ...]
    request: ScanRequest
    standard: str = SQL_STANDARD
    fail_on_missing: bool = False
    skips: bool = True
    keeps: bool = True
    name = JsonFormat.name

    def decoder(self) -> Decoder:
        """As the connector makes it."""
        return JsonFormat().decoder(TableContext("t", Schema(()), {}), self.request, self.options)

    @property
    def options(self) -> dict[str, object]:
        return {
            "json.fail-on-missing-field": self.fail_on_missing,
            "json.ignore-parse-errors": self.skips,
            "json.timestamp-format.standard": self.standard,
        }

    @property
    def flat(self) -> bool:
        """Whether malformed lines are looked at all at once; else a block is halved for each, which takes long."""
        return all(is_scalar(c.type) for c in self.request.columns) and not any(
            RAISING in e for _, e in self.request.derived
        )

    def __str__(self) -> str:
        columns = ", ".join(f"`{n}` {t}" for n, t in self.columns)
        read = ", ".join("`" + "`.`".join(c.path) + f"` {c.type}" for c in self.request.columns)
        derived = "".join(f", {alias} = {sql}" for alias, sql in self.request.derived)
        flags = [n for n in ("fail_on_missing", "skips", "keeps") if getattr(self, n)]
        return f"table ({columns}); read ({read}{derived}); {' '.join([self.standard, *flags])}"


def a_scalar(rng: random.Random) -> Type:
    """One of the types that a value of text is."""
    made: tuple[Callable[[], Type], ...] = (
        lambda: Type(rng.choice(("TINYINT", "SMALLINT", "INT", "INT", "BIGINT", "BIGINT", "BIGINT"))),
        lambda: rng.choice((STRING, STRING, STRING, Type("VARCHAR", 5), Type("CHAR", 3))),
        lambda: timestamp(rng.choice((0, 1, 2, 3, 3, 3, 4, 5, 6))),
        lambda: timestamp_ltz(rng.choice((0, 1, 3, 3, 6))),
        lambda: a_decimal(rng),
        lambda: rng.choice((DOUBLE, DOUBLE, FLOAT)),
        lambda: rng.choice((BOOLEAN, BOOLEAN, DATE, Type("TIME", rng.choice((0, 0, 3, 6))), BYTES_TYPE)),
    )
    return rng.choice(made)()


def a_decimal(rng: random.Random) -> Type:
    precision = rng.choice((1, 4, 5, 9, 10, 12, 18, 19, 20, 37, 38, 38))
    return decimal(precision, rng.choice((0, min(2, precision), precision // 2, precision)))


def a_type(rng: random.Random, depth: int = 2) -> Type:
    """Any of a table's types."""
    x = rng.random()
    if not depth or x < 0.8:
        return a_scalar(rng)
    if x < 0.9:
        return a_row(rng, depth - 1)
    if x < 0.95:
        return array(a_type(rng, depth - 1))
    return map_of(rng.choice((STRING, STRING, Type("INT"))), a_type(rng, depth - 1))


def a_row(rng: random.Random, depth: int) -> Type:
    names = rng.sample(NAMES, rng.randrange(1, 5))
    if rng.random() < 0.05:
        names.append(rng.choice(COLLIDING))
    return row(*((n, a_type(rng, depth)) for n in names))


def a_shape(rng: random.Random, flat: bool) -> Shape:
    """What is read of some table. `flat`: scalars, which may stand in rows."""
    names = rng.sample(NAMES, rng.randrange(1, 7))
    if rng.random() < 0.06:
        names.append(rng.choice(COLLIDING))
    rng.shuffle(names)
    columns = [(n, a_row(rng, 1) if rng.random() < 0.25 else a_scalar(rng) if flat else a_type(rng)) for n in names]
    columns = [(n, t.null(rng.random() > 0.06)) for n, t in columns]
    read: list[ScanColumn] = []
    for name, t in columns:
        if rng.random() < 0.15:
            continue  # not read
        if t.kind == "ROW" and (flat or rng.random() < 0.7):
            leaves = [leaf for leaf in _leaves((name,), t) if not flat or is_scalar(leaf.type)]
            read += rng.sample(leaves, rng.randrange(len(leaves) + 1))
        else:
            read.append(ScanColumn((name,), t))
    if rng.random() < 0.03 and read:
        read.append(rng.choice(read))  # twice
    if rng.random() < 0.04:
        read.insert(rng.randrange(len(read) + 1), ScanColumn((METADATA, "file.name"), STRING))
    shape = Shape(tuple(columns), ScanRequest(tuple(read), derived(rng, read)))
    skips = rng.random() < 0.8
    return replace(
        shape,
        standard=rng.choice((SQL_STANDARD, SQL_STANDARD, ISO_STANDARD)),
        fail_on_missing=rng.random() < 0.08,
        skips=skips,
        keeps=skips and rng.random() < 0.8,
    )


def _leaves(path: tuple[str, ...], t: Type) -> list[ScanColumn]:
    out: list[ScanColumn] = []
    for f in t.fields:
        below = (*path, f.name)
        out += _leaves(below, f.type) if f.type.kind == "ROW" else [ScanColumn(below, f.type)]
    return out or [ScanColumn(path, t)]


def derived(rng: random.Random, read: list[ScanColumn]) -> tuple[tuple[str, str], ...]:
    """Columns that are computed of those that are read, now and then."""
    numbers = [f"c{i}" for i, c in enumerate(read) if c.type.is_integer and c.path[0] != METADATA]
    if not numbers or rng.random() < 0.8:
        return ()
    x = rng.choice(numbers)
    return (("_keep", rng.choice((f"({x} = 2)", f"(flink_mod({x}, 123) = 0)", f"({RAISING}, {x}) = 1)"))),)
