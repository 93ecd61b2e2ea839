"""The vectors of JSONTestSuite (tests/vendored), each as the only line of a block: what is taken, with which value, and what is
malformed stands in tests/expected/json_test_suite.txt. `pytest --rewrite` writes that anew, to be read as a difference.

Where the suite says that a parser must (y_) or must not (n_) take a text, so it is, but for what DuckDB's reader takes beside JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.decoding import EXACT, SCANNER, Way, blocks, outcome_of, switched
from harness.json_shapes import Shape

from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.types import STRING, Type, row

HERE = Path(__file__).resolve().parent
VERDICTS = HERE / "expected" / "json_test_suite.txt"
SHOWN = 60  # characters
# How a text stands in the line, and what is read of it.
READINGS: dict[str, tuple[bytes, bytes, str, Type]] = {
    "text": (b'{"v": ', b"}", "v", STRING),
    "unread": (b'{"u": ', b', "v": 1}', "v", STRING),
    "line": (b"", b"", "a", STRING),
    "row": (b'{"v": ', b"}", "v", row(("a", STRING))),
}
OBJECTS = ("line", "row")  # of anything but an object they say nothing new
# Neither is JSON, and DuckDB's reader takes both: numbers that are none, and a comma behind the last one.
LENIENT = ("NaN", "nan", "inf", "Inf", ",]", ",}")


def vectors() -> Iterator[tuple[str, bytes]]:
    """Name and bytes, in one line. Where the package has U+FFFD the suite has a byte that is no UTF-8."""
    for line in (HERE / "vendored" / "json_test_suite.jsonl").read_text().splitlines():
        vector = json.loads(line)
        text = vector["input"] * vector.get("times", 1)
        # a carriage return is white space, and none within strings, as a newline is
        yield vector["name"], text.encode().replace("\ufffd".encode(), b"\xff").replace(b"\n", b"\r")


def verdicts(way: Way) -> Iterator[str]:
    with switched(way.switch):
        decoders = {}
        for reading, (_, _, name, t) in READINGS.items():
            shape = Shape(((name, t),), ScanRequest((ScanColumn((name,), t),)))
            decoders[reading] = blocks(shape)
        for name, text in vectors():
            yield name
            for reading, (before, after, _, _) in READINGS.items():
                if reading in OBJECTS and not text.lstrip().startswith(b"{"):
                    continue
                decoder = decoders[reading]
                data = before + text + after
                outcome = outcome_of(decoder, lambda decoder=decoder, data=data: decoder.decode(data, 1))
                assert outcome.error is None
                if outcome.bad:
                    said = "malformed: " + "; ".join(b.reason for b, _ in outcome.bad)
                else:
                    values = outcome.batch.column(0).to_pylist() if outcome.batch is not None else []
                    said = ", ".join(map(ascii, values)) or "no record"
                yield f"  {reading:8}{said[:SHOWN]}"


@pytest.mark.parametrize("way", [EXACT, SCANNER], ids=lambda w: w.name)
def test_verdicts(way: Way, request: pytest.FixtureRequest) -> None:
    found = "\n".join(verdicts(way)) + "\n"
    if request.config.getoption("--rewrite"):
        VERDICTS.write_text(found)
    assert found == VERDICTS.read_text()


def test_verdicts_are_the_suites() -> None:
    """Of texts in a field that is read as text."""
    said = VERDICTS.read_text().splitlines()
    verdict = {name: text for name, text in zip(said, said[1:], strict=False) if not name.startswith(" ")}
    before, after, *_ = READINGS["text"]
    wrong = {
        name: before + text + after
        for name, text in vectors()
        if name[0] in "yn" and ("malformed" in verdict[name]) != (name[0] == "n")
    }
    assert not {name for name, text in wrong.items() if not any(x.encode() in text for x in LENIENT)}
