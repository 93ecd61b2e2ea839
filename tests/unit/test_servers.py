"""The servers that tests of connectors run on: each answers, forgets nothing when it is killed, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness.servers import SERVERS, Kafka, PostgreSQL, Redis, Server, ServerError, wanted
from harness.servers.base import asked

USED = {"kafka", "mosquitto", "nats", "postgresql", "redis"}  # by tests that .ci/run runs
KINDS = [pytest.param(k, id=n, marks=[] if n in USED else [pytest.mark.slow]) for n, k in SERVERS.items()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_starts_and_leaves_nothing(kind: type[Server]) -> None:
    wanted(kind)
    with kind() as server:
        first, port = server.pid, server.port
        server.kill()
        assert not server.running
        server.start()
        assert server.pid != first and server.port == port and server.answers()
        last, directory = server.pid, server.directory
    assert not Path(f"/proc/{last}").exists() and not directory.exists()


def test_redis_has_its_data_after_a_kill() -> None:
    wanted(Redis)
    with Redis() as server:
        assert asked(server.port, b"SET a 1\r\n", 5) == b"+OK\r\n"
        time.sleep(1.1)  # written to the disk each second
        server.kill()
        server.start()
        assert asked(server.port, b"GET a\r\n", 7) == b"$1\r\n1\r\n"


def test_postgresql_has_its_data_after_a_kill(postgresql: PostgreSQL) -> None:
    database = postgresql.database()
    assert (
        postgresql.psql("CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2); SELECT sum(a) FROM t", database)
        == "3\n"
    )
    assert postgresql.psql("SHOW wal_level") == "logical\n"
    with pytest.raises(AssertionError, match="whole test run's"):
        postgresql.kill()


def test_a_server_that_does_not_start_says_why() -> None:
    wanted(PostgreSQL)
    with (
        pytest.raises(ServerError, match=r"(?s)postgresql ended \(1\).*unrecognized configuration parameter"),
        PostgreSQL(no_such_setting="1"),
    ):
        pass


def test_what_is_not_installed_is_skipped_or_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SQLSTREAM_TEST_CACHE", str(tmp_path))
    monkeypatch.delenv("SQLSTREAM_TEST_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"python -m tests\.harness\.servers install kafka"):
        wanted(Kafka)
    monkeypatch.setenv("SQLSTREAM_TEST_SERVERS", "require")
    with pytest.raises(pytest.fail.Exception, match="kafka is not installed"):
        wanted(Kafka)


def test_a_server_goes_with_its_owner() -> None:
    wanted(Redis)
    script = "import sys, time; from harness.servers import Redis\nr = Redis(); r.start(); print(r.pid, r.directory, flush=True); time.sleep(99)"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        os.kill(owner.pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while (Path(f"/proc/{pid}").exists() or Path(directory).exists()) and time.monotonic() < end:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists() and not Path(directory).exists()
