"""A web server of the tests, of the standard library alone: what it is asked is kept, and what it answers is said by a function."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """`chunks`: are sent one by one, and then the connection ends."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] | None = None


class Web:
    """`answer` says what comes of a request; an exception hangs up. `tls`: of the server, if it speaks that."""

    def __init__(self, answer: Callable[[Asked], Answer], port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                asked = Asked(self.command, self.path, dict(self.headers.items()), self.rfile.read(size))
                web.asked.append(asked)
                try:
                    found = answer(asked)
                except ConnectionAbortedError:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(found.status)
                for k, v in found.headers.items():
                    self.send_header(k, v)
                if found.chunks is not None:
                    self.send_header("Connection", "close")
                    self.end_headers()
                    for c in found.chunks:
                        self.wfile.write(c)
                        self.wfile.flush()
                    self.close_connection = True
                    return
                data = found.body if isinstance(found.body, bytes) else json.dumps(found.body).encode()
                if found.status not in (204, 304):
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if found.status not in (204, 304):
                    self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Who asked has hung up."""

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def __enter__(self) -> Web:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
