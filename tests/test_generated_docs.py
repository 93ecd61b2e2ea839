"""The generated pages are those of the registries, and every example of a function runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from harness.features import FEATURES, covered

from sqlstream.functions.scalar import SCALARS
from sqlstream.session import Session

ROOT = Path(__file__).parent.parent


def test_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "tools/generate_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("section", FEATURES)
def test_every_feature_has_a_test(section: str) -> None:
    """Or is named as missing."""
    (found,) = [c for name, c in covered() if name == section]
    assert [c.feature.name for c in found if not c.feature.missing and not c.files] == []


def test_every_function_has_an_example() -> None:
    """Those without are not in docs/functions.md. Operators need none: they have a syntax of their own."""
    assert [f.name for f in SCALARS.values() if not f.example and not f.operator] == []


OF_TABLES = {"CURRENT_WATERMARK"}  # of a table's rows: sql/current_watermark.slt


@pytest.mark.parametrize("name", sorted(f.name for f in SCALARS.values() if f.example and f.name not in OF_TABLES))
def test_example_runs_the_same_in_both_modes(name: str) -> None:
    example = SCALARS[name].example
    answers = []
    for mode in ("batch", "streaming"):
        session = Session(options={"execution.runtime-mode": mode})
        (result,) = session.execute(f"SELECT {example} AS x")
        answers.append([b.to_pydict() for b, _ in result.batches()])
    assert answers[0] == answers[1] or SCALARS[name].volatile
    assert answers[0][0]["x"][0] is not None or "NULLIF" in example
