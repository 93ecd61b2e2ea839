"""pytest's fixtures of the run's servers. Their tests share them: each takes a topic, database or name of its own.

A test that stops a server starts one of its own, after `wanted(Kafka)`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from . import NATS, Kafka, MariaDB, Mosquitto, PostgreSQL, RabbitMQ, Redis
from .shared import shared


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all workers of this test run have."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def kafka(run_directory: Path) -> Kafka:
    return shared(Kafka, run_directory)


@pytest.fixture(scope="session")
def postgresql(run_directory: Path) -> PostgreSQL:
    return shared(PostgreSQL, run_directory)


@pytest.fixture(scope="session")
def redis(run_directory: Path) -> Redis:
    return shared(Redis, run_directory)


@pytest.fixture(scope="session")
def mariadb(run_directory: Path) -> MariaDB:
    return shared(MariaDB, run_directory)


@pytest.fixture(scope="session")
def mosquitto(run_directory: Path) -> Mosquitto:
    return shared(Mosquitto, run_directory)


@pytest.fixture(scope="session")
def nats(run_directory: Path) -> NATS:
    return shared(NATS, run_directory)


@pytest.fixture(scope="session")
def rabbitmq(run_directory: Path) -> RabbitMQ:
    return shared(RabbitMQ, run_directory)
