"""A registry of schemas after Confluent's protocol, as far as tests need it, that can be told to misbehave."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote


class SchemaRegistry:
    """`user`: user:password that requests have to have; `token`: likewise. `broken`: how many requests are answered by 503 before one is
    answered; `incompatible`: subjects that take no other schema. `asked`: all requests, method and path."""

    def __init__(self, user: str = "", token: str = "") -> None:
        self.user, self.token = user, token
        self.broken, self.incompatible = 0, set[str]()
        self.schemas: list[str] = []
        self.more: list[dict[str, Any]] = []  # what else is known of each
        self.subjects: dict[str, list[int]] = {}
        self.asked: list[str] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry._answer(self)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, schema: Any, first: int = 1, kind: str = "AVRO", references: Any = (), subject: str = "") -> int:
        """A schema's number; `first`: at least. Under a subject, if there is one."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        if text not in self.schemas:
            while len(self.schemas) < first - 1:
                self.schemas.append("")
                self.more.append({})
            self.schemas.append(text)
            self.more.append(
                ({} if kind == "AVRO" else {"schemaType": kind})
                | ({"references": list(references)} if references else {})
            )
        number = self.schemas.index(text) + 1
        if subject and number not in self.subjects.setdefault(subject, []):
            self.subjects[subject].append(number)
        return number

    def _said(self, number: int) -> dict[str, Any]:
        return {"schema": self.schemas[number - 1], **self.more[number - 1]}

    def _answer(self, request: Any) -> None:
        body = json.loads(request.rfile.read(int(request.headers.get("Content-Length") or 0)) or b"{}")
        self.asked.append(f"{request.command} {request.path}")
        status, answer = self._found(request, request.path.partition("?")[0].strip("/").split("/"), body)
        data = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _found(self, request: Any, path: list[str], body: Any) -> tuple[int, Any]:
        if self.broken:
            self.broken -= 1
            return 503, {"error_code": 50302, "message": "no leader"}
        given = request.headers.get("Authorization")
        for wanted, kind in (
            (self.user and base64.b64encode(self.user.encode()).decode(), "Basic"),
            (self.token, "Bearer"),
        ):
            if wanted and given != f"{kind} {wanted}":
                return 401, {"error_code": 401, "message": f"who is this? {given}"}
        match path:
            case ["schemas", "ids", number] if 0 < int(number) <= len(self.schemas):
                return 200, self._said(int(number))
            case ["schemas", "ids", _]:
                return 404, {"error_code": 40403, "message": "Schema not found"}
            case ["subjects", subject, "versions", version]:
                number = self.subjects[unquote(subject)][int(version) - 1]
                return 200, {"subject": unquote(subject), "version": int(version), "id": number, **self._said(number)}
            case ["subjects", subject, *rest]:
                known = self.subjects.setdefault(unquote(subject), [])
                number = self.schemas.index(body["schema"]) + 1 if body["schema"] in self.schemas else 0
                if number in known:
                    return 200, {
                        "id": number,
                        "version": known.index(number) + 1,
                        "subject": subject,
                        "schema": body["schema"],
                    }
                if not rest:
                    return 404, {"error_code": 40403, "message": "Schema not found"}
                if unquote(subject) in self.incompatible:
                    return 409, {
                        "error_code": 409,
                        "message": "Schema being registered is incompatible with an earlier schema",
                    }
                kind, references = body.get("schemaType", "AVRO"), body.get("references", ())
                known.append(self.add(body["schema"], kind=kind, references=references))
                return 200, {"id": known[-1]}
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
