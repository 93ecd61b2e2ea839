"""Statements to ClickHouse by HTTP, and what becomes of their failures."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from sqlstream.connectors.http.client import Refused, Request, Web
from sqlstream.connectors.messages.clients import Backoff, Unreachable
from sqlstream.errors import DataError, RunError

# Numbers of errors (ClickHouse's src/Common/ErrorCodes.cpp).
_PASSING = frozenset({159, 164, 202, 203, 209, 210, 236, 241, 242, 252, 279, 285, 286, 319, 394, 425, 999})
_WHO = frozenset({192, 193, 194, 195, 497, 516})
_CODE = re.compile(r"Code: (\d+)")


class Client:
    """For one thread at a time. `retries`: of what failed for a reason that may pass. `settings`: of all statements."""

    def __init__(self, request: Request, url: str, retries: int, settings: Mapping[str, str]) -> None:
        self._web, self._url, self._retries = Web(request, 1), url, retries
        self._settings = dict(settings)
        self.where = self._web.where(url)

    def do(self, sql: str, rows: bytes = b"", settings: Mapping[str, str] | None = None) -> str:
        """A statement, which must be one that may be repeated, with rows behind it; what it says. Unreachable where the server is gone or busy, DataError for
        what it refuses of rows, RunError for the rest."""
        backoff = Backoff()
        for attempt in range(self._retries + 1):
            try:
                return self._once(sql, rows, {**self._settings, **(settings or {})})
            except Unreachable as e:
                if attempt == self._retries:
                    raise
                time.sleep(max(backoff.rest(), e.rest))
        raise AssertionError("it returns, or raises, the last time")

    def found(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        lines = self.do(f"{sql} FORMAT JSONEachRow").splitlines()
        return [json.loads(line) for line in lines]

    def _once(self, sql: str, rows: bytes, settings: Mapping[str, str]) -> str:
        # with rows the statement stands in the URL; without, in the body, which may be long
        query = {**settings, **({"query": sql} if rows else {})}
        url, body = f"{self._url}?{urlencode(query)}", rows or sql.encode()
        try:
            return self._web.loop.run(self._web.once("POST", url, body)).body.decode("utf-8", "replace")
        except (Refused, Unreachable) as e:
            found = _CODE.search(e.message)
            code = int(found[1]) if found else 0
            if code in _WHO:
                raise RunError(
                    e.message, hint="'username' and 'password' say who asks, and GRANT what they may"
                ) from None
            if code and code not in _PASSING:
                raise (DataError if rows else RunError)(
                    e.message, hint="the columns of both tables must fit" if rows else None
                ) from e
            if code and isinstance(e, Refused):
                raise Unreachable(e.message) from e
            raise

    def close(self) -> None:
        """Its connections go."""
        self._web.close()


def quoted(name: str) -> str:
    """A name."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """A text."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
