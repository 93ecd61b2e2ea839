"""A suite started in the background of a script has Ctrl-C ignored, and so has all that it starts; tests send it."""

import atexit
import math
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator

import pytest
from harness.seed import SEED, USUAL, random_of
from harness.servers.fixtures import (  # noqa: F401 (fixtures for all tests)
    kafka,
    mariadb,
    mosquitto,
    nats,
    postgresql,
    rabbitmq,
    redis,
    run_directory,
)
from hypothesis import settings

from sqlstream import secrets

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


@pytest.fixture(autouse=True)
def own_connection() -> Iterator[None]:
    """The connection that the module keeps is in the directory of the test that asked for it first: the next one has its own."""
    yield
    if (relation := sys.modules.get("sqlstream.dbapi.relation")) is not None:
        for connection in relation._default:
            connection.close()


@pytest.fixture(autouse=True)
def own_secrets() -> Iterator[None]:
    """What one test has for a password is an ordinary word in the messages of another."""
    before = frozenset(secrets.learnt())
    yield
    secrets.forget(secrets.learnt() - before)


SPARSER = 3  # what CI, which has half an hour, leaves out of all shares alike


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="write the plan files (tests/plans) anew")
    parser.addoption("--every", action="store_true", help="all combinations, also of tests that run a share of them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of tests with `share(n)` one combination in SPARSER * n stays, unless all are asked for, or tests by their names."""
    if config.getoption("--every") or any("::" in a for a in config.args):
        return
    of: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("share"):
            of.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left: set[pytest.Item] = set()
    for name, some in of.items():
        n = next(some[0].iter_markers("share")).args[0]
        left.update(some)
        drawn = random_of(name).sample(some, math.ceil(len(some) / n))
        left.difference_update(drawn[: math.ceil(len(drawn) / SPARSER)])
    if left:
        config.hook.pytest_deselected(items=sorted(left, key=lambda i: i.nodeid))
        items[:] = [i for i in items if i not in left]
