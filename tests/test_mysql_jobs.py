"""Jobs that write to MariaDB, killed: nothing is lost, twice or half seen. Those that follow it: connectors/test_contract_databases.py; the long forms:
kill_postgres.py, kill_cdc.py with --server mariadb."""

from __future__ import annotations

from pathlib import Path

import kill_postgres
from harness.seed import SEED
from harness.servers import MariaDB


def test_killed_at_random(mariadb: MariaDB, tmp_path: Path) -> None:
    outcome = kill_postgres.Outcome()
    n = 0
    while outcome.kills < 4:
        kill_postgres.one_job(mariadb, tmp_path / str(n), SEED + n, outcome, 4, servers=False, size=1500)
        n += 1
    assert outcome.looks
