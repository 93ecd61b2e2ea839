"""The seed of a test run: SQLSTREAM_SEED, else a new one. Every failure names it."""

from __future__ import annotations

import os
import random

SEED = int(os.environ.get("SQLSTREAM_SEED") or random.SystemRandom().randrange(1, 2**31))


def random_of(*names: object) -> random.Random:
    """A generator of its own for each place, so that a test alone draws what it drew among others."""
    return random.Random(f"{SEED}:" + ":".join(map(str, names)))


def said(text: str) -> str:
    return f"{text}\nto repeat: SQLSTREAM_SEED={SEED}"
