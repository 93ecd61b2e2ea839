"""A connection to NATS for threads: nats-py is asynchronous, and runs on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlstream.connectors.messages.clients import Unreachable, library
from sqlstream.connectors.messages.loop import Loop
from sqlstream.errors import OptionError, RunError, SqlStreamError

T = TypeVar("T")
SECONDS = 5  # that a connection may take to be made
ANSWER = 10.0  # s that a server may take to answer
CLOSING = 1.0  # s that a connection may take to be closed
RECONNECT = 0.25  # s between two tries of a connection that was lost


@dataclass(frozen=True)
class Address:
    """Where servers are, and who asks. `settings`: nats-py's; `secured`: they are connected to by TLS."""

    servers: tuple[str, ...]
    settings: Mapping[str, Any]
    tls: Callable[[], Any]

    @property
    def text(self) -> str:
        """As users know them."""
        return ", ".join(self.servers)


class Client:
    """From any thread. Unreachable where no server answers; RunError where it does not let us in. `warn` is told what passes by itself, `lost`
    (else `warn`) that the connection is lost, and `renewed` called, on the loop's thread, when a connection is there again."""

    def __init__(
        self,
        address: Address,
        table: str,
        warn: Callable[[str], None] = lambda text: None,
        renewed: Callable[[], None] = lambda: None,
        lost: Callable[[str], None] | None = None,
    ) -> None:
        self._nats = library("nats.aio.client", "nats", "nats")
        self.errors = library("nats.errors", "nats", "nats")
        self.stream_errors = library("nats.js.errors", "nats", "nats")
        self.api = library("nats.js.api", "nats", "nats")
        self._address, self._table, self._warn, self._renewed = address, table, warn, renewed
        self._lost = lost or warn
        self._loop = Loop("nats")
        try:
            self.run(self._connect(), SECONDS * (len(address.servers) + 1))
        except BaseException:
            self.close()
            raise

    async def _connect(self) -> None:
        self.connection = self._nats.Client()
        said: list[str] = []

        async def failed(error: Exception) -> None:
            said.append(str(error))
            self._warn(f"warning: table {self._table}: {error}")

        async def lost() -> None:
            self._lost(
                f"warning: table {self._table}: the connection to {self._address.text} is lost, and is made again"
            )

        async def renewed() -> None:
            self._renewed()

        try:
            await self.connection.connect(
                list(self._address.servers), name="sqlstream", allow_reconnect=False, connect_timeout=SECONDS,
                max_reconnect_attempts=1, reconnect_time_wait=RECONNECT, error_cb=failed, disconnected_cb=lost,
                reconnected_cb=renewed, tls=self._address.tls(), **self._address.settings,
            )  # fmt: skip
        except TimeoutError as e:
            raise Unreachable(
                f"table {self._table}: the servers {self._address.text} do not answer in {SECONDS} s"
            ) from e
        except (ValueError, FileNotFoundError) as e:
            raise OptionError(f"table {self._table}: {self._address.text}: {e}") from e
        except (OSError, self.errors.NoServersError) as e:
            reason = said[-1] if said else str(e)
            raise Unreachable(
                f"table {self._table}: the servers {self._address.text} do not answer: {reason}",
                hint="is NATS there, and can it be reached from here?",
            ) from e
        except self.errors.Error as e:
            if "authorization" in str(e).lower() or isinstance(e, self.errors.AuthorizationError):
                raise RunError(
                    f"table {self._table}: {self._address.text} does not let us in: authorization violation",
                    hint="'username' and 'password', 'token', 'credentials-file' or 'nkey-seed-file' say who asks",
                ) from None
            raise Unreachable(f"table {self._table}: {self._address.text}: {e}") from e
        # from now on, for ever: who cannot connect at all is to know it at once
        self.connection.options.update({"allow_reconnect": True, "max_reconnect_attempts": -1})
        self.stream = self.connection.jetstream(timeout=ANSWER, publish_async_max_pending=4096)

    def run(self, work: Coroutine[Any, Any, T], seconds: float = ANSWER) -> T:
        """What it gives. Errors of the library come as ours."""
        try:
            return self._loop.run(work, seconds)
        except SqlStreamError:
            raise
        except (TimeoutError, concurrent.futures.TimeoutError) as e:
            raise Unreachable(f"table {self._table}: {self._address.text} does not answer in {seconds:.0f} s") from e
        except self.stream_errors.ServiceUnavailableError as e:
            raise Unreachable(
                f"table {self._table}: {self._address.text}: JetStream is not available",
                hint="nats-server runs with it by -js, or by jetstream {} in its configuration",
            ) from e
        except self.stream_errors.APIError as e:
            raise RunError(f"table {self._table}: {self._address.text}: {e.description or e}") from e
        except (self.errors.Error, OSError) as e:
            raise Unreachable(f"table {self._table}: {self._address.text}: {e}") from e

    def close(self) -> None:
        """What was not sent may be lost."""
        with suppress(Exception):
            self._loop.run(asyncio.wait_for(self.connection.close(), CLOSING / 2), CLOSING)
        self._loop.close()
