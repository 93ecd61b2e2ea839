"""A short soak; the long form: soak.py."""

from __future__ import annotations

from pathlib import Path

import soak
from harness.seed import SEED, said


def test_nothing_grows_and_every_row_is_right(tmp_path: Path) -> None:
    """Files of a checkpoint stay for a minute after it was retired: disk and files are left to the long form."""
    soaked = soak.soak(tmp_path, 0.5, rate=200, ttl=45, every=2, seed=SEED)
    assert not soaked.wrong and soaked.compared > 1000, said(str(soaked.wrong))
    growing = [text for text in soaked.growing() if ": disk" not in text and ": files" not in text]
    assert not growing, soaked.text()
