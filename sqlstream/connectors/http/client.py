"""Requests, with what they are asked as, and what becomes of their failures."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import io
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from sqlstream.connectors.messages.clients import LONGEST_REST, TLS_OPTIONS, Unreachable, library
from sqlstream.connectors.messages.loop import Loop
from sqlstream.contracts import TableContext
from sqlstream.errors import DataError, OptionError, RunError
from sqlstream.options import Option
from sqlstream.secrets import is_secret, learn

PASSING = frozenset({408, 409, 425, 429})  # answers that another try may not have, beside those from 500 on
LASTING = frozenset({501, 505})  # which are from 500 on, and not such
REDIRECTED, MOVED = frozenset({301, 302, 303, 307, 308}), frozenset({301, 302})
REDIRECTIONS = 10  # that are followed
PORTS = {"http": 80, "https": 443}
LET_NOBODY_IN = frozenset({401, 403, 407})
PIECES = 1 << 20  # bytes of a body, above which it is sent in pieces
ENDING = 0.5  # s that a job which ends waits for answers to what it only asked
BEGINNING = 1 << 16  # bytes that are read of an answer whose body is not wanted
SHOWN = 200  # characters of an answer in an error

REQUEST_OPTIONS = (
    Option("headers.*", "string", doc="a header of requests: 'headers.Accept' = 'text/csv'. Values of headers are shown nowhere", compared="nothing"),
    Option("username", doc="who asks, by basic authentication", compared="nothing"),
    Option("password", doc="of this user", compared="nothing"),
    Option("token", doc="what goes into the header Authorization, behind Bearer", compared="nothing"),
    Option("request.timeout", "duration", 30_000_000, "how long an answer may take", minimum=1000, compared="nothing"),
    *TLS_OPTIONS,
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What requests of a table have in common. `timeout`: s; `connector`: which makes them, and is an extra's name; `largest`: bytes of an
    answer, where it is wanted."""

    table: str
    headers: Mapping[str, str]
    timeout: float
    tls: Callable[[], ssl.SSLContext | None]
    connector: str = "http"
    largest: int | None = None


@dataclass(frozen=True)
class Answer:
    """`status` 2xx, or 304. `charset`: of the body, if it is said; `next`: the URL that a header Link has for the next page."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    charset: str | None = None
    next: str | None = None


def request_of(table: TableContext, options: Mapping[str, Any], tls: Callable[[], ssl.SSLContext | None]) -> Request:
    """By REQUEST_OPTIONS. OptionError for ways to say who asks that do not go together."""
    headers: dict[str, str] = {}
    for key, value in options.items():
        name = key.removeprefix("headers.")
        if name != key and name != "*" and value is not None:
            if is_secret(key):
                learn("header.secret", value.removeprefix("Bearer ").removeprefix("Basic "))
            if any(c in name + value for c in "\r\n\0"):
                raise OptionError(f"table {table.name}: option '{key}' is no header: it has a line end", subject=key)
            headers[name] = value
    if (options["username"] is None) != (options["password"] is None):
        raise OptionError(f"table {table.name}: options 'username' and 'password' go together")
    ways = [w for w in ("username", "token") if options[w] is not None]
    if any(h.lower() == "authorization" for h in headers):
        ways.append("headers.Authorization")
    if len(ways) > 1:
        raise OptionError(f"table {table.name}: options '{ways[0]}' and '{ways[1]}' both say who asks", subject=ways[1])
    if options["username"] is not None:
        headers |= basic(options["username"], options["password"])
    elif options["token"] is not None:
        headers["Authorization"] = f"Bearer {options['token']}"
    return Request(table.name, headers, options["request.timeout"] / 1e6, tls)


def basic(username: str, password: str) -> dict[str, str]:
    """The header that says who asks."""
    said = base64.b64encode(f"{username}:{password}".encode()).decode()
    learn("basic.secret", said)
    return {"Authorization": f"Basic {said}"}


class Web:
    """A session on a loop of its own. From any thread."""

    def __init__(self, request: Request, limit: int = 16) -> None:
        self.aiohttp = library("aiohttp", request.connector, request.connector)
        self.request = request
        self.loop = Loop("http")
        self.session: Any = self.loop.run(self._made(limit))

    async def _made(self, limit: int) -> Any:
        context = self.request.tls()
        connector = self.aiohttp.TCPConnector(limit=limit, ssl=True if context is None else context)
        timeout = self.aiohttp.ClientTimeout(total=None, sock_connect=min(10.0, self.request.timeout))
        return self.aiohttp.ClientSession(connector=connector, timeout=timeout, headers={"User-Agent": "sqlstream"})

    def where(self, url: str) -> str:
        """What errors begin with: no query, which may hold secrets."""
        return f"table {self.request.table}: {shown(url)}"

    async def opened(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Any:
        """The beginning of an answer. It may come from elsewhere, where the server says so: but what is sent goes to no other host, nor does
        it become a question (as 301 and 302 have it in practice), and headers that say who asks stay here."""
        said = {name.lower() for name in headers}
        given = {k: v for k, v in self.request.headers.items() if k.lower() not in said} | dict(headers)
        at, where = url, self.where(url)
        for _ in range(REDIRECTIONS + 1):
            got = await self.session.request(method, at, data=_sent(body), headers=given, allow_redirects=False)
            to = got.headers.get("Location")
            if got.status not in REDIRECTED or not to:
                return got
            got.close()
            to = urljoin(str(got.url), to)
            here = same_host(url, to)
            if got.status == 303:
                method, body = "GET", None
            elif method != "GET" and (got.status in MOVED or not here):
                raise Refused(
                    f"{where} answers {got.status}: it is at {shown(to)}",
                    got.status,
                    "'url' must say where it is: what is sent is not sent elsewhere",
                )
            at, given = to, given if here else dict(headers)
        raise RunError(f"{where} leads round in a circle")

    async def once(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Unreachable where another try may do better; RunError for what is refused."""
        aiohttp, where, headers = self.aiohttp, self.where(url), headers or {}
        try:
            async with asyncio.timeout(self.request.timeout):
                async with await self.opened(method, url, body, headers) as got:
                    links = {rel: str(link["url"]) for key, link in got.links.items() for rel in key.lower().split()}
                    body_of_it = await self._body(got, where)
                    answer = Answer(got.status, got.headers, body_of_it, str(got.url), got.charset, links.get("next"))
        except TimeoutError as e:
            raise Unreachable(f"{where} does not answer in {self.request.timeout:g} s") from e
        except aiohttp.InvalidURL as e:
            raise OptionError(f"{where} is no URL") from e
        except (aiohttp.ClientError, OSError) as e:
            raise Unreachable(
                f"{where} does not answer: {getattr(e, 'strerror', None) or e or type(e).__name__}",
                hint="is a server there, and can it be reached from here?",
            ) from e
        if 200 <= answer.status < 300 or answer.status == 304 and any(h.startswith("If-") for h in headers):
            return answer
        text = answer.body[:SHOWN].decode("utf-8", "replace").strip()
        said = f"{where} answers {answer.status}" + (f": {text}" if text else "")
        if passes(answer.status):
            raise Busy(said, rest_of(answer.headers))
        hint = "'token', 'username' and 'password', or a header of 'headers.*' say who asks"
        raise Refused(said, answer.status, hint if answer.status in LET_NOBODY_IN else None)

    async def _body(self, got: Any, where: str) -> bytes:
        """All of it where it is wanted, else its beginning. DataError where it is too long."""
        largest = self.request.largest
        wanted = largest is not None and 200 <= got.status < 300
        most = largest if largest is not None and wanted else BEGINNING
        parts, size = [], 0
        async for part in got.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > most:
                if wanted:
                    raise DataError(
                        f"{where}: an answer is longer than {most:,} bytes",
                        hint="'max-body-size' says how long one may be",
                    )
                break
        return b"".join(parts)

    async def tried(
        self, retries: int, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Again, after a rest that is longer each time, or as long as the server says."""
        rest = 0.2
        for attempt in range(retries + 1):
            try:
                return await self.once(method, url, body, headers)
            except Unreachable as e:
                if attempt == retries:
                    raise
                await asyncio.sleep(min(LONGEST_REST * 3, max(rest, e.rest)))
                rest = min(2 * rest, LONGEST_REST)
        raise AssertionError("it returns, or raises, the last time")

    def close(self) -> None:
        """What is under way is given up."""

        async def closed() -> None:
            await self.session.close()

        try:
            self.loop.run(closed(), 1.0)
        except Exception:  # the loop ends anyhow
            self.loop.close()
            return
        self.loop.close()


class Busy(Unreachable):
    """`rest`: seconds that the server wants to be left alone."""

    def __init__(self, message: str, rest: float) -> None:
        super().__init__(message)
        self.rest = rest


class Refused(RunError):
    """What another try would not change."""

    def __init__(self, message: str, status: int, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


def _sent(body: bytes | None) -> bytes | io.BytesIO | None:
    """A large body goes in pieces, between which the loop does other things."""
    return io.BytesIO(body) if body is not None and len(body) > PIECES else body


def rest_of(headers: Mapping[str, str]) -> float:
    """Retry-After, in seconds; 0: it says nothing."""
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdecimal():
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):  # it is no time
        return 0.0


def passes(status: int) -> bool:
    """Whether another try may not have such an answer."""
    return status in PASSING or status >= 500 and status not in LASTING


def same_host(a: str, b: str) -> bool:
    """Whether what is said to the one may be said to the other: they are the same server, or it speaks TLS there."""
    x, y = urlsplit(a), urlsplit(b)
    ports = (x.port or PORTS.get(x.scheme), y.port or PORTS.get(y.scheme))
    return x.hostname == y.hostname and ((x.scheme, ports[0]) == (y.scheme, ports[1]) or ports == (80, 443))


def shown(url: str) -> str:
    """Without user and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def check_url(table: str, key: str, url: str, schemes: tuple[str, ...]) -> bool:
    """Whether it asks for TLS. OptionError where it is none of these."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fine = False
    if not fine:
        raise OptionError(f"table {table}: option '{key}': it is not of the form {schemes[0]}://host/path", subject=key)
    return parts.scheme in ("https", "wss")
