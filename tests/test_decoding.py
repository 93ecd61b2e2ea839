"""Lines of JSON and records of CSV give the same rows, errors and malformed records whichever way they are decoded: by a scanner or
without it, in blocks or one by one.

Files of them too, however they are cut, compressed, read on or growing; and nothing is touched behind what may be read and written.
The long form: tests/fuzz_decoding.py.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from harness.csv_shapes import CsvShape
from harness.decoding import CUT, EXACT, ONE_BY_ONE, WRONG, WRONG_CSV, AnyShape, Wrong
from harness.decoding_examples import FEW, Example, check, smallest, with_all_columns
from harness.decoding_files import FileExample, check_file
from harness.json_shapes import Shape

from sqlstream.connectors.blocks import PADDING
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.types import BIGINT, BOOLEAN, DOUBLE, STRING, decimal, timestamp

EXAMPLES, PARTS = 160, 8
CSV_EXAMPLES = 50
FILES, GUARDED = 12, 8
SOME = 300  # lines: with one statement for all
MANY = 120  # examples until each fault has shown
COLUMNS = (("a", STRING), ("price", DOUBLE), ("b", decimal(38, 20)), ("dateTime", timestamp(6)), ("id", BIGINT))
SHAPE = Shape(COLUMNS, ScanRequest(tuple(ScanColumn((n,), t) for n, t in COLUMNS)))
CSV_COLUMNS = (*COLUMNS, ("x", BOOLEAN))
CSV = CsvShape(CSV_COLUMNS, ScanRequest(tuple(ScanColumn((n,), t) for n, t in CSV_COLUMNS)))


@pytest.mark.parametrize(
    ("format", "numbers"),
    [("json", range(part, EXAMPLES, PARTS)) for part in range(PARTS)]
    + [("csv", range(n, n + 10)) for n in range(0, CSV_EXAMPLES, 10)],
)
def test_the_scanner_is_exact(format: str, numbers: range) -> None:
    lines = scanned = 0
    for number in numbers:
        found = check(Example.of(number, format=format))
        assert not found.differences, found.differences[0]
        lines, scanned = lines + found.lines, scanned + found.scanned
    assert scanned > lines // 20  # else it is not the scanner that was tested


@pytest.mark.parametrize("number", range(12))
def test_a_block_is_its_lines(number: int) -> None:
    example = with_all_columns(Example.of(number, FEW))
    difference = example.difference(ONE_BY_ONE)
    if difference is not None:
        least, difference = smallest(example, lambda e: e.difference(ONE_BY_ONE))
        pytest.fail(least.shown(difference))


def test_a_block_of_csv_is_its_parts() -> None:
    """Cut where the whole records of a piece end."""
    for number in range(CSV_EXAMPLES):
        found = check(with_all_columns(Example.of(number, FEW, "csv")), [CUT])
        assert not found.differences, found.differences[0]


@pytest.mark.parametrize(
    ("shapes", "wrong"),
    [
        ((SHAPE,), WRONG),
        ((CSV, replace(CSV, comments=True, null="NULL"), replace(CSV, escape="\\", null="NULL")), WRONG_CSV),
    ],
    ids=["json", "csv"],
)
def test_faults_are_found(shapes: tuple[AnyShape, ...], wrong: tuple[Wrong, ...]) -> None:
    """Of decoders that are wrong on purpose, each in one thing that others got wrong before."""
    left = {w.name: w for w in wrong}
    for number in range(MANY):
        if not left:
            break
        example = Example.over(shapes[number % len(shapes)], number, SOME)
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


@pytest.mark.parametrize("format", ["json", "csv"])
def test_files_are_read_alike(format: str) -> None:
    """All in one: a file may hold nothing that the scanner reads, so only their sum says that it was tested."""
    lines = scanned = 0
    for number in range(FILES):
        found = check_file(FileExample.of(number, format))
        assert not found.differences, found.differences[0]
        lines, scanned = lines + found.lines, scanned + found.scanned
    assert scanned > lines // 20


@pytest.mark.parametrize("format", ["json", "csv"])
def test_nothing_is_touched_behind_what_may_be(format: str) -> None:
    fuzz = Path(__file__).with_name("fuzz_decoding.py")
    given = ("--format", format, "--of", "guarded", "--examples", str(GUARDED), "--lines", str(FEW), "--processes", "1")
    done = subprocess.run([sys.executable, str(fuzz), *given], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 in place" not in done.stdout


@pytest.mark.parametrize("behind", [0, PADDING])
def test_who_touches_what_is_guarded_dies(behind: int) -> None:
    """The scanner itself, where less stands behind a block than it may read."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]; import numpy as np; from harness.guarded import guarded; "
        "from harness.decoding import blocks, switched; from sqlstream.connectors.blocks import Block; from test_decoding import SHAPE\n"
        f"buffer = guarded(np.frombuffer(b'{{\"a\":7}}\\n' * 9 + b' ' * {behind}, np.uint8))\n"
        f"with switched('on'): print(blocks(SHAPE).decode(Block(buffer, 0, len(buffer) - {behind}), 1).num_rows)"
    )
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code, str(here), str(here.parent)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == ((0, "9\n") if behind else (-signal.SIGSEGV, "")), done.stderr
