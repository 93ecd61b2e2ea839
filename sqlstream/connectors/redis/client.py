"""A connection to Redis, and what becomes of its failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sqlstream.connectors.messages.clients import Backoff, Unreachable, library
from sqlstream.errors import OptionError, RunError

T = TypeVar("T")
SECONDS = 5.0  # that a server may take to answer


@dataclass(frozen=True)
class Address:
    """Where the server is, who asks, and by which files its connection is secured (redis-py's settings)."""

    url: str
    username: str | None = None
    password: str | None = None
    tls: tuple[tuple[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """Without who asks."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or ''}:{parts.port or 6379}{parts.path}"


class Client:
    """For one thread at a time. `retries`: of what failed as the server was gone, or busy."""

    def __init__(
        self, address: Address, table: str, retries: int = 0, warn: Callable[[str], None] | None = None
    ) -> None:
        self._redis = library("redis", "redis", "redis")
        self._errors = library("redis.exceptions", "redis", "redis")
        self._address, self._table, self._retries, self._warn = address, table, retries, warn
        given = {k: v for k, v in (("username", address.username), ("password", address.password)) if v is not None}
        self.connection = self._redis.Redis.from_url(
            address.url, socket_connect_timeout=SECONDS, socket_timeout=SECONDS, client_name="sqlstream",
            health_check_interval=30, **given, **dict(address.tls),
        )  # fmt: skip

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self._table}: {self._address.text}"

    def do(self, work: Callable[[Any], T]) -> T:
        """`work` with the connection; again, where it failed for a reason that may pass. It must be one that may be repeated."""
        backoff = Backoff()
        for attempt in range(self._retries + 1):
            try:
                return self.once(work)
            except Unreachable as e:
                if attempt == self._retries:
                    raise
                if self._warn is not None:
                    self._warn(f"warning: {e.message}; it is tried again")
                time.sleep(backoff.rest())
        raise AssertionError("it returns, or raises, the last time")

    def once(self, work: Callable[[Any], T]) -> T:
        """`work`. Unreachable where the server is gone or busy; RunError for what it refuses."""
        errors = self._errors
        try:
            return work(self.connection)
        except (errors.AuthenticationError, errors.AuthorizationError, errors.NoPermissionError) as e:
            raise RunError(
                f"{self.where} does not let us in: {e}", hint="'username' and 'password' say who asks"
            ) from None
        except (errors.BusyLoadingError, errors.ConnectionError, errors.TimeoutError, errors.ReadOnlyError) as e:
            raise Unreachable(
                f"{self.where} does not answer: {e}", hint="is Redis there, and can it be reached from here?"
            ) from e
        except errors.ResponseError as e:
            if "NOAUTH" in str(e) or "WRONGPASS" in str(e):
                raise RunError(
                    f"{self.where} does not let us in: {e}", hint="'username' and 'password' say who asks"
                ) from None
            raise RunError(f"{self.where}: {e}") from e
        except (errors.RedisError, OSError) as e:
            raise RunError(f"{self.where}: {e or type(e).__name__}") from e

    def close(self) -> None:
        """It is made again when it is used again."""
        self.connection.close()


def check_url(table: str, url: str) -> bool:
    """Whether it asks for TLS. OptionError where it is no address of Redis."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        fine &= not parts.path.strip("/") or parts.path.strip("/").isdigit()
    except ValueError:
        fine = False
    if not fine:
        raise OptionError(
            f"table {table}: option 'url': '{url}' is not of the form redis://host:6379/0",
            hint="rediss://host:6379/0 is secured",
        )
    return parts.scheme == "rediss"
