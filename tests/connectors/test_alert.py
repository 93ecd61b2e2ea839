"""Connector 'alert': notifications as a service gets them (apprise's json:// to a server of the tests)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from harness.queues import declared, error_of, page_of
from harness.web import Answer, Web

import sqlstream
from sqlstream.connectors.alert.connector import AlertConnector
from sqlstream.connectors.alert.sink import AlertSink
from sqlstream.contracts import SinkTask, TableContext
from sqlstream.testing.connectors import table

pytest.importorskip("apprise")
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # by one of apprise's services


@pytest.fixture
def connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(tmp_path)
    with sqlstream.connect() as c:
        yield c


@pytest.fixture
def web() -> Iterator[Web]:
    with Web(lambda asked: Answer(500 if b"boom" in asked.body else 200)) as made:
        yield made


def told(web: Web) -> list[tuple[str, str]]:
    return [(a.json["title"], a.json["message"]) for a in web.asked]


def url(web: Web) -> str:
    return web.url.replace("http://", "json://user:topsecret@")


def test_columns_stand_in_titles_and_bodies(connection: Any, web: Web) -> None:
    columns = "host STRING, n INT, x DECIMAL(4, 1)"
    connection.execute(
        declared(
            "a", columns, "alert", {"notification-urls": url(web)}, title="{host} {{n}}", body="n is {n}", kind="info"
        )
    )
    connection.execute("INSERT INTO a VALUES ('h', 1, 2.5), (NULL, NULL, 1)")
    assert told(web) == [("h {n}", "n is 1"), ("null {n}", "n is null")]
    assert {a.json["type"] for a in web.asked} == {"info"}
    web.asked.clear()
    connection.execute(declared("b", columns, "alert", {"notification-urls": url(web)}))
    connection.execute("INSERT INTO b VALUES ('h', 1, 2.5)")
    assert [m for _, m in told(web)] == ["host: h\nn: 1\nx: 2.5"]
    shown = connection.execute("SHOW CREATE TABLE b").fetchall()[0][0]
    assert "topsecret" not in shown and "json://" not in shown


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_is_too_much_is_held_back_and_counted(web: Web) -> None:
    options = {
        "notification-urls": url(web),
        "title": "t",
        "body": "{n}",
        "deduplication-key": "{k}",
        "deduplication-interval": "5 min",
        "max-per-minute": "3",
    }
    made = table(AlertConnector(), "k STRING, n INT", options)
    clock = Clock()
    sink = AlertConnector().sink(TableContext(made.name, made.schema, made.options, seconds=clock))
    assert isinstance(sink, AlertSink)
    writer = sink.writer(SinkTask("job", "run", 0))

    def write(*rows: tuple[str, int]) -> list[str]:
        web.asked.clear()
        k, n = zip(*rows, strict=True) if rows else ((), ())
        writer.write(pa.record_batch({"k": pa.array(k, pa.string()), "n": pa.array(n, pa.int32())}), None)
        writer.flush()
        return [m for _, m in told(web)]

    assert write(("a", 1), ("a", 2), ("b", 3)) == ["1", "3"]
    clock.now += 10
    assert write(("c", 4), ("d", 5), ("e", 6)) == ["4"]
    clock.now += 61
    (summary,) = write()
    assert summary == "2 were held back, as there were more than 3 in a minute; 1 repeated what had been told"
    clock.now += 300
    assert write(("a", 7)) == ["7"]
    assert write(("x", 8), ("y", 9), ("z", 10)) == ["8", "9"]
    web.asked.clear()
    writer.close()
    assert [m for _, m in told(web)] == ["1 were held back, as there were more than 3 in a minute"]


def test_what_was_held_back_or_could_not_be_sent_was_not_told(web: Web) -> None:
    """The same again is told, when there is room, or the service takes it."""
    options = {"notification-urls": url(web), "title": "t", "body": "{n}", "deduplication-key": "{k}", "max-per-minute": "1", "on-failure": "skip",
               "max-retries": "0"}  # fmt: skip
    made, clock = table(AlertConnector(), "k STRING, n STRING", options), Clock()
    writer = (
        AlertConnector()
        .sink(TableContext(made.name, made.schema, made.options, seconds=clock))
        .writer(SinkTask("job", "run", 0))
    )

    def write(*rows: tuple[str, str]) -> list[str]:
        web.asked.clear()
        k, n = zip(*rows, strict=True)
        writer.write(pa.record_batch({"k": pa.array(k, pa.string()), "n": pa.array(n, pa.string())}), None)
        writer.flush()
        return [m for _, m in told(web)]

    assert write(("a", "1"), ("b", "2")) == ["1"]
    clock.now += 61
    assert write(("a", "3"), ("b", "4"))[0] == "4"
    clock.now += 130
    assert write(("c", "boom"))[0] == "boom"
    clock.now += 61
    assert write(("c", "5"))[0] == "5"


def test_a_service_that_fails(connection: Any, web: Web, capfd: pytest.CaptureFixture[str]) -> None:
    more = {"body": "{b}", "max__retries": "0"}
    connection.execute(declared("a", "b STRING", "alert", {"notification-urls": url(web)}, **more))
    connection.execute(declared("s", "b STRING", "alert", {"notification-urls": url(web)}, **more, on__failure="skip"))
    said = error_of(connection, "INSERT INTO a VALUES ('boom')")
    assert "could not be sent to all of the 1 services" in said
    connection.execute("INSERT INTO s VALUES ('boom'), ('fine')")
    assert told(web)[-1][1] == "fine"
    out = capfd.readouterr()
    assert "topsecret" not in said + out.out + out.err


def test_mistakes_are_explained(connection: Any) -> None:
    def said(**more: str) -> str:
        t = f"e{len(more)}{abs(hash(str(more)))}"
        made = declared(t, "b STRING", "alert", {}, **more)
        return error_of(connection, made, f"INSERT INTO {t} VALUES ('x')")

    wrong = said(notification__urls="json://h nowhere://topsecret")
    assert "URL 2 (scheme nowhere) is none that apprise knows" in wrong and "topsecret" not in wrong
    assert "option 'notification-urls' is missing" in said(body="x")
    assert "there is no column 'c'" in said(notification__urls="json://h", body="{c}")
    assert "needs 'deduplication-key'" in said(notification__urls="json://h", deduplication__interval="1 min")
    connection.execute(declared("r", "b STRING", "alert", {"notification-urls": "json://h"}))
    assert "cannot be read from" in error_of(connection, "SELECT * FROM r")


def test_the_page_is_as_shown(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_URLS", url(web))
    out, shown = page_of("alert", tmp_path, {})
    assert out == shown
    assert told(web) == [("hot: attic", "attic has 41.5 degrees"), ("wet: cellar", "cellar has 12.0 degrees")]
