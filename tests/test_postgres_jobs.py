"""Jobs that write to PostgreSQL, and follow it, killed: nothing is lost, twice or half seen. The long forms: kill_postgres.py, kill_cdc.py."""

from __future__ import annotations

from pathlib import Path

import kill_cdc
import kill_postgres
from harness.seed import SEED
from harness.servers import PostgreSQL


def test_killed_at_random(postgresql: PostgreSQL, tmp_path: Path) -> None:
    outcome = kill_postgres.Outcome()
    n = 0
    while outcome.kills < 5:
        kill_postgres.one_job(postgresql, tmp_path / str(n), SEED + n, outcome, 5, servers=False, size=2000)
        n += 1
    assert outcome.looks


def test_killed_while_it_follows(postgresql: PostgreSQL, tmp_path: Path) -> None:
    outcome = kill_cdc.Outcome()
    kill_cdc.one_job(postgresql, tmp_path / "job", SEED, outcome, 2)
    assert outcome.kills == 2
