"""Faults of the past (`faults/<what>`): a script and its data, and the rows or the error that are right, in both modes.

`expected` holds the lines of `--output json` in any order, changes folded; `ERROR word` is a run that fails and says the
word; lines that begin with `|` are another right answer.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from sqlstream.cli.main import main

CASES = sorted(p for p in (Path(__file__).parent / "faults").iterdir() if p.is_dir())
MODES = {
    "batch": ["-D", "execution.runtime-mode=batch"],
    "streaming": ["-D", "execution.runtime-mode=streaming"],
    "parallel": ["-D", "execution.runtime-mode=streaming", "-D", "parallelism.default=3"],
    "epochs of one row": ["-D", "execution.runtime-mode=streaming", "-D", "execution.epoch.max-rows=1"],
}


def folded(lines: list[str]) -> Counter[str]:
    """The rows that are left: an output of changes has `op` first."""
    rows: Counter[str] = Counter()
    for line in lines:
        row = json.loads(line)
        op = row.pop("op", "+I")
        rows[json.dumps(row, sort_keys=True)] += 1 if op in ("+I", "+U") else -1
    return +rows


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES, ids=lambda p: p.name)
def test_case(
    case: Path, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(case, tmp_path / "case")
    monkeypatch.chdir(tmp_path / "case")
    answers: list[list[str]] = [[], []]
    for line in (case / "expected").read_text().splitlines():
        answers[line.startswith("|")].append(line.removeprefix("|"))
    status = main(["run", "case.sql", "--output", "json", *MODES[mode]])
    out, err = capfd.readouterr()
    words = [line.removeprefix("ERROR ") for a in answers for line in a if line.startswith("ERROR")]
    if status:
        assert words and any(w in err for w in words), err
        return
    rows = folded(out.splitlines())
    right = [folded(a) for a in answers if a and not a[0].startswith("ERROR")]
    assert rows in right, f"{rows}\n{err}"
