"""A server that speaks the bulk protocol of OpenSearch and Elasticsearch, as far as a sink needs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .web import Answer, Asked, Web

Refuse = Callable[
    [str, dict[str, Any], dict[str, Any] | None], tuple[int, str] | None
]  # of an operation: status, reason


class Bulk:
    """`documents`: by index and id. `refuse` says which operations fail, `away` what whole requests are answered."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, dict[str, Any]]] = {}
        self.refuse: Refuse = lambda kind, of, document: None
        self.away: list[Answer] = []
        self.sizes: list[int] = []  # operations of each request
        self.web = Web(self._answer)
        self.url = self.web.url

    def _answer(self, asked: Asked) -> Answer:
        if self.away:
            return self.away.pop(0)
        path = urlsplit(asked.path).path
        if asked.method == "GET" and path == "/":
            return Answer(body={"version": {"number": "2.19.0", "distribution": "opensearch"}})
        assert (asked.method, path) == ("POST", "/_bulk") and asked.headers["Content-Type"] == "application/x-ndjson"
        assert asked.body.endswith(b"\n"), "a bulk request ends with a line end"
        lines = [json.loads(line) for line in asked.body.splitlines()]
        items, at = [], 0
        while at < len(lines):
            ((kind, of),) = lines[at].items()
            body = None if kind == "delete" else lines[at + 1]
            at += 1 if kind == "delete" else 2
            items.append({kind: self._done(kind, of, body)})
        self.sizes.append(len(items))
        return Answer(
            body={"took": 1, "errors": any("error" in i for item in items for i in item.values()), "items": items}
        )

    def _done(self, kind: str, of: dict[str, Any], body: dict[str, Any] | None) -> dict[str, Any]:
        index = self.documents.setdefault(of["_index"], {})
        name = of.get("_id", f"made-{len(index)}")
        said = {"_index": of["_index"], "_id": name}
        if (refused := self.refuse(kind, of, body)) is not None:
            status, reason = refused
            return {**said, "status": status, "error": {"type": "some_exception", "reason": reason}}
        if kind == "delete":
            return {**said, "status": 200 if index.pop(name, None) is not None else 404}
        assert body is not None
        if kind == "update":
            assert body["doc_as_upsert"] is True
            index[name] = {**index.get(name, {}), **body["doc"]}
        else:
            index[name] = body
        return {**said, "status": 201}

    def close(self) -> None:
        self.web.close()

    def again(self) -> None:
        """After `close`: at the same address, with what it had."""
        self.web = Web(self._answer, self.web.port)
