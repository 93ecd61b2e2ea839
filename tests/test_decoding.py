"""Lines of JSON give the same rows, errors and malformed records whichever way they are decoded: by the scanner or without it, in
blocks or one by one.

The long form: tests/fuzz_decoding.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from harness.decoding import EXACT, ONE_BY_ONE, WRONG
from harness.decoding_examples import Example, check, smallest
from harness.json_shapes import Shape

from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.types import BIGINT, DOUBLE, STRING, decimal, timestamp

EXAMPLES, PARTS = 160, 8
FEW, SOME = 60, 300  # lines: with a statement for each; with one for all
MANY = 120  # examples until each fault has shown
COLUMNS = (("a", STRING), ("price", DOUBLE), ("b", decimal(38, 20)), ("dateTime", timestamp(6)), ("id", BIGINT))
SHAPE = Shape(COLUMNS, ScanRequest(tuple(ScanColumn((n,), t) for n, t in COLUMNS)))


@pytest.mark.parametrize("part", range(PARTS))
def test_the_scanner_is_exact(part: int) -> None:
    lines = scanned = 0
    for number in range(part, EXAMPLES, PARTS):
        found = check(Example.of(number))
        assert not found.differences, found.differences[0]
        lines, scanned = lines + found.lines, scanned + found.scanned
    assert scanned > lines // 20  # else it is not the scanner that was tested


@pytest.mark.parametrize("number", range(12))
def test_a_block_is_its_lines(number: int) -> None:
    example = Example.of(number, FEW)
    if example.shape.request.derived or not example.shape.request.columns:
        # Which of a malformed line and a derived column's error comes first, and, where nothing is read of a line, what is one,
        # depends on the block.
        columns = tuple(ScanColumn((n,), t) for n, t in example.shape.columns)
        example = replace(example, shape=replace(example.shape, request=ScanRequest(columns)))
    difference = example.difference(ONE_BY_ONE)
    if difference is not None:
        least, difference = smallest(example, lambda e: e.difference(ONE_BY_ONE))
        pytest.fail(least.shown(difference))


def test_faults_are_found() -> None:
    """Of decoders that are wrong on purpose, each in one thing that others got wrong before."""
    left = {w.name: w for w in WRONG}
    for number in range(MANY):
        if not left:
            break
        example = Example.over(SHAPE, number, SOME)
        exact = EXACT.decode(example.shape, example.data)
        left = {n: w for n, w in left.items() if w.decode(example.shape, example.data).differs(exact) is None}
    assert not left


def test_the_smallest_example_is_small() -> None:
    wrong = next(w for w in WRONG if w.name == "-0.0 is 0.0")
    examples = (Example.over(SHAPE, n, FEW) for n in range(MANY))
    example = next(e for e in examples if e.difference(wrong) is not None)
    least, difference = smallest(example, lambda e: e.difference(wrong))
    assert (
        len(least.data) < 60
        and least.shape.request == ScanRequest((ScanColumn(("price",), DOUBLE),))
        and "-0.0" in difference
    )
