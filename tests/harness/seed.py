"""The seed of a test run. Every failure names it.

Runs are alike unless they are asked to differ, so that who lands a change is judged by that change: `SQLSTREAM_SEED=new`
draws another one, a number repeats it. What a new seed finds becomes a test of its own.
"""

from __future__ import annotations

import os
import random

USUAL = 20_261_129


def _seed(text: str) -> int:
    return random.SystemRandom().randrange(1, 2**31) if text == "new" else int(text)


SEED = _seed(os.environ.get("SQLSTREAM_SEED") or str(USUAL))
os.environ["SQLSTREAM_SEED"] = str(SEED)  # that of all processes of the run


def random_of(*names: object) -> random.Random:
    """A generator of its own for each place, so that a test alone draws what it drew among others."""
    return random.Random(f"{SEED}:" + ":".join(map(str, names)))


def said(text: str) -> str:
    return f"{text}\nto repeat: SQLSTREAM_SEED={SEED}"
