"""One server of a kind for a whole test run: the first test that wants it starts it, whatever worker it is in.

All workers of pytest-xdist find it by a file in the run's directory. It ends with the run: its guard sees that the process
which the run belongs to is gone.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pickle
from pathlib import Path
from typing import TypeVar

import pytest

from .base import Server

REQUIRE = "SQLSTREAM_TEST_SERVERS"
Kind = TypeVar("Kind", bound=Server)


def wanted(kind: type[Server]) -> None:
    """Skips the test where a server is not installed; an error where SQLSTREAM_TEST_SERVERS says `require`, or names it."""
    missing = kind.missing()
    if missing is None and kind.client is not None and importlib.util.find_spec(kind.client) is None:
        missing = f"{kind.client}, which speaks to {kind.name}, is not installed: pip install -e '.[test]'"
    if missing is not None:
        required = os.environ.get(REQUIRE, "").split()
        if "require" in required or kind.name in required:
            pytest.fail(f"{missing} ({REQUIRE}=require)", pytrace=False)
        pytest.skip(missing)


def shared(kind: type[Kind], run: Path) -> Kind:
    """The run's server of this kind, started if it is the first time. `run`: a directory that all workers of the run have."""
    wanted(kind)
    with open(run / f"server-{kind.name}", "a+b") as known:
        fcntl.flock(known, fcntl.LOCK_EX)  # let go of when the file is closed
        known.seek(0)
        if found := known.read():
            server: Kind = pickle.loads(found)
            return server
        server = kind()
        # xdist's workers come and go, and are children of the run's own process.
        server.owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
        server.start()
        server.detach()
        known.write(pickle.dumps(server))
        return server
