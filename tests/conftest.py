"""A suite started in the background of a script has Ctrl-C ignored, and so has all that it starts; tests send it."""

import atexit
import os
import random
import shutil
import signal
import tempfile

import pytest
from harness.seed import SEED, USUAL
from hypothesis import settings

# Jobs that tests start are none of the user's.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="sqlstream-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


settings.register_profile("alike", derandomize=True)
settings.load_profile("alike" if SEED == USUAL else "default")


@pytest.fixture(autouse=True)
def drawn_alike(request: pytest.FixtureRequest) -> None:
    """What a test draws goes by the run's seed and the test's name, wherever and after whatever it runs."""
    random.seed(f"{SEED}:{request.node.nodeid}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the plan files (tests/plans) anew")
