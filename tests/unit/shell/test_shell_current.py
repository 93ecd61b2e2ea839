"""The rows of a result as they are now: bounded, changed in their place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from sqlstream.cli.cells import Cells
from sqlstream.shell.current import Appended, Changed, Changes, Current
from sqlstream.types import INT, STRING, Column, Schema

SCHEMA = Schema((Column("k", STRING), Column("n", INT)))


@pytest.fixture(scope="module")
def cells() -> Iterator[Cells]:
    made = Cells(SCHEMA, "UTC", readable=True)
    yield made
    made.close()


def add(current: Current, rows: list[tuple[str, int | None]], kinds: list[int] | None = None) -> None:
    batch = pa.record_batch({"k": pa.array([r[0] for r in rows]), "n": pa.array([r[1] for r in rows], pa.int32())})
    current.add(batch, None if kinds is None else np.array(kinds, np.int8))


def test_rows_that_stay(cells: Cells) -> None:
    current = Appended(SCHEMA, cells, 5)
    for i in range(4):
        add(current, [("a", i), ("b", 10 - i)])
    assert (current.count, current.received, current.dropped) == (5, 8, 3)
    assert current.rows(0, 2) == [("b", "9"), ("a", "2")]
    assert current.rows(3, 9) == [("a", "3"), ("b", "7")]
    assert [r[1] for r in current.rows(0, 5, (1, False))] == ["2", "3", "7", "8", "9"]
    assert [r[1] for r in current.rows(0, 2, (1, True))] == ["9", "8"]


def test_rows_that_change(cells: Cells) -> None:
    current = Changed(SCHEMA, cells, 100)
    add(current, [("a", 1), ("b", 2), ("c", None)])
    add(current, [("a", 1), ("a", 11), ("c", None)], [1, 2, 3])
    assert current.rows(0, 9) == [("a", "11"), ("b", "2")]  # an altered row stays where it is
    add(current, [("b", 2), ("b", 2)], [0, 0])
    add(current, [("b", 2)], [3])
    assert current.count == 3 and current.rows(0, 9).count(("b", "2")) == 2
    add(current, [("d", None)])
    assert [r[1] for r in current.rows(0, 9, (1, True))] == ["11", "2", "2", None]


def test_no_more_rows_than_asked(cells: Cells) -> None:
    current = Changed(SCHEMA, cells, 3)
    add(current, [(str(i), i) for i in range(10)])
    assert (current.count, current.dropped) == (3, 7)
    add(current, [("1", 1), ("9", 9)], [3, 3])  # one of them has gone before
    assert current.rows(0, 9) == [("7", "7"), ("8", "8")]


def test_the_last_changes(cells: Cells) -> None:
    current = Changes(SCHEMA, cells, 3)
    add(current, [("a", 1), ("a", 1), ("a", 2)], [0, 1, 2])
    add(current, [("a", 2)], [3])
    assert current.rows(0, 9) == [("-U", "a", "1"), ("+U", "a", "2"), ("-D", "a", "2")]
    add(current, [(str(i), i) for i in range(10)])
    assert current.rows(0, 9)[0] == ("+I", "7", "7") and current.dropped == 11
    assert Changes(SCHEMA, cells, 10**9).most == 1000
