"""Jobs that write to PostgreSQL, killed: nothing is lost, twice or half seen. Those that follow it: connectors/test_contract_databases.py; the long forms:
kill_postgres.py, kill_cdc.py."""

from __future__ import annotations

from pathlib import Path

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
