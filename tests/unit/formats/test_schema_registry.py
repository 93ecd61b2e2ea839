"""The client of a schema registry beside servers that answer wrongly, slowly, or what no registry answers."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from sqlstream.errors import OptionError
from sqlstream.formats.confluent import client
from sqlstream.formats.confluent.client import Registry, RegistryError, UnknownSchema
from sqlstream.formats.confluent.settings import options_of, registry_of

Answer = tuple[int, bytes, dict[str, str]]


class Server:
    """Answers each request by `answer`, and keeps what was asked."""

    def __init__(self, answer: Callable[[str], Answer], certificate: trustme.LeafCert | None = None) -> None:
        self.asked: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append({k.lower(): v for k, v in self.headers.items()})
                status, body, headers = answer(self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            certificate.configure_cert(context)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


Serve = Callable[[Callable[[str], Answer]], Server]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    monkeypatch.setattr(client, "PAUSES", ())
    servers: list[Server] = []

    def made(answer: Callable[[str], Answer]) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield made
    for s in servers:
        s.close()


def error(code: int, message: str = "no") -> bytes:
    return json.dumps({"error_code": code, "message": message}).encode()


@pytest.mark.parametrize(
    ("status", "body", "headers", "transient", "said", "hint"),
    [
        (200, b"{}", {}, False, "answers what none does: {}", ".url'"),
        (200, b'{"schema": 5, "id": "x"}', {}, False, "answers what none does", ".url'"),
        (200, b"<html>", {}, True, "its answer is none of a schema registry: '<html>'", ".url'"),
        (200, b"[" * 100_000, {}, True, "its answer is none of a schema registry", ".url'"),
        (200, b"[1]", {}, True, "its answer is none of a schema registry", ".url'"),
        (200, b'{"sch', {"Content-Length": "100"}, True, "does not answer", ".url'"),
        (401, error(401), {}, False, "HTTP 401: no", "user-info"),
        (403, b"<html>", {}, False, "HTTP 403: <html>", "user-info"),
        (404, b"<html>nothing is here", {}, False, "HTTP 404: <html>nothing is here", ".url'"),
        (404, b"", {}, False, "HTTP 404", ".url'"),
        (500, b"\xff" * 1000, {}, True, "HTTP 500", ".url'"),
        (503, error(50302, "no leader"), {"Content-Length": "1000"}, True, "HTTP 503", ".url'"),
        (422, error(42201, "Invalid schema"), {}, False, "HTTP 422: Invalid schema", None),
    ],
)
def test_answers_that_are_wrong(
    serve: Serve, status: int, body: bytes, headers: dict[str, str], transient: bool, said: str, hint: str | None
) -> None:
    registry = Registry((serve(lambda _: (status, body, headers)).url,), timeout=2)
    for ask in (lambda: registry.schema(7), lambda: registry.number("t-value", '"int"', True)):
        with pytest.raises(RegistryError) as e:
            ask()
        assert said in e.value.message and registry.shown in e.value.message and e.value.transient is transient
        assert hint is None or hint in str(e.value.hint)


def test_what_a_registry_does_not_know(serve: Serve) -> None:
    registry = Registry((serve(lambda _: (404, error(40403), {})).url,))
    with pytest.raises(UnknownSchema, match="does not know schema 7"):
        registry.schema(7)
    with pytest.raises(
        RegistryError, match="does not know subject 't-value': the table's schema is not registered"
    ) as e:
        registry.number("t-value", '"int"', False)
    assert not e.value.transient


def test_a_registry_that_is_slow_is_not_waited_for(serve: Serve) -> None:
    registry = Registry((serve(lambda _: (time.sleep(0.3), (200, b"{}", {}))[1]).url,), timeout=0.05)
    with pytest.raises(RegistryError, match="does not answer for schema 7: .*timed out") as e:
        registry.schema(7)
    assert e.value.transient


def test_who_asks_is_told_to_the_registry_alone(serve: Serve) -> None:
    """And not to the server that it may point to."""
    other = serve(lambda _: (200, b'{"schema": "\\"int\\""}', {}))
    registry = serve(lambda path: (302, b"", {"Location": other.url + path}))
    asked = Registry((registry.url,), user_info="ann:pass-word")
    assert asked.schema(7).text == '"int"'
    assert "authorization" in registry.asked[0] and "authorization" not in other.asked[0]
    assert "pass-word" not in repr(asked)
    assert "tok-en" not in repr(Registry(("http://u:tok-en@x",), token="tok-en", certificate_password="tok-en"))


def test_a_registry_that_is_not_trusted_is_not_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(client, "PAUSES", ())
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = Server(lambda _: (200, b'{"schema": "\\"int\\""}', {}), authority.issue_cert("127.0.0.1"))
    try:
        with pytest.raises(RegistryError, match="is not trusted: ") as e:
            Registry((server.url,), timeout=5).schema(7)
        assert not e.value.transient and "ssl.truststore.location" in str(e.value.hint) and server.asked == []
        assert Registry((server.url,), ca=str(tmp_path / "ca.pem"), timeout=5).schema(7).text == '"int"'
        with pytest.raises(OptionError, match="the certificates for the schema registry .* cannot be read"):
            Registry((server.url,), ca=__file__).schema(8)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "ftp://x"}, "is no URL"), ({"url": "http://"}, "is no URL"), ({"url": "http://x:port"}, "is no URL"), ({"url": "http://[::1"}, "is no URL"),
        ({"url": "http://a b"}, "is no URL"), ({"url": "htp://ann:pass-word@x"}, "is no URL"), ({"url": "http://x", "bearer-auth.token": "tok\nen"}, "has characters that no token has"),
        ({"url": "http://x", "properties.http.read.timeout.ms": "0"}, "is no number of milliseconds"), ({"url": "http://x", "properties.http.read.timeout.ms": "-5"}, "is no number of milliseconds"),
    ],
)  # fmt: skip
def test_options_that_cannot_be(given: dict[str, str], said: str) -> None:
    options = {o.key: o.default for o in options_of("f")} | {f"f.{k}": v for k, v in given.items()}
    with pytest.raises(OptionError, match=said) as e:
        registry_of("f", "t", options)
    assert "pass-word" not in e.value.message
