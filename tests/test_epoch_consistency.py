"""After every epoch, what a query has shown is the batch answer over exactly the rows consumed so far; and a job that is
stopped and restored ends with the batch answer over all rows.

Generated queries over generated inputs (several splits, times out of order, late rows, NULLs). Late rows are left out by
the oracle's own conditions (harness/generator.py). A failure is made as small as it can be in a minute, and shown as a
script. `python tests/fuzz.py --minutes 30` runs ever new ones; SQLSTREAM_SEED repeats a run.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import generator
from harness.generated import KINDS, Example
from harness.minimal import minimal, only, units
from harness.seed import random_of, said

CASES = [("epochs", n) for n in range(140)] + [("restored", n) for n in range(70)]


@pytest.mark.share(1)
@pytest.mark.parametrize(("kind", "number"), CASES, ids=lambda v: str(v))
def test_generated_query(kind: str, number: int, tmp_path: Path) -> None:
    example = Example.of(kind, number)
    failure = example.failure(tmp_path / "example")
    if failure is not None:
        smallest, failure = minimal(example, failure)
        raise AssertionError(said(f"{kind} {number}: {failure}\n{smallest.script()}")) from failure


def test_a_failure_is_made_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fault of one row and one part of a query is shown as that."""

    def faulty(example: Example, *_: object) -> None:
        rows = [r for split in example.data.splits for r in split]
        assert not ("v > 2" in example.text.stream and any(r.id == 3 for r in rows)), "the third row"

    monkeypatch.setitem(KINDS, "epochs", faulty)
    leaf = generator.Text("SELECT k AS a, v AS b, v AS c FROM t WHERE v > 2", "SELECT k AS a, v AS b, v AS c FROM t")
    text = leaf.wrapped("SELECT a, b, c FROM {} AS x").wrapped("SELECT DISTINCT a, b, c FROM {} AS y")
    example = Example("epochs", 0, 1, generator.data(random_of("small")), text)
    failure = example.failure(tmp_path / "example")
    assert isinstance(failure, AssertionError)
    smallest, failure = minimal(example, failure)
    assert smallest.text == leaf
    assert [r.id for split in smallest.data.splits for r in split] == [3]
    assert not any(smallest.data.changes)
    assert not any(smallest.data.records)
    script = smallest.script()
    assert script.count('"id": 3') == 1
    assert "CREATE TABLE t " in script
    assert "CREATE TABLE h " not in script


def test_the_whole_of_the_data_is_the_data() -> None:
    for number in range(20):
        data = generator.data(random_of("units", number))
        assert only(data, units(data)) == data
