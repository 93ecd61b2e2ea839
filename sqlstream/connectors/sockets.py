"""Sockets of databases: whether something is there to read, and that a peer that is gone without a word is missed."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from typing import Any

_IDLE, _INTERVAL, _COUNT, _UNACKNOWLEDGED = 30, 10, 3, 60_000  # seconds, and milliseconds: those that libpq is told


def readable(socket_or_number: Any, seconds: float) -> bool:
    """Whether there is something to read, or is within so many seconds. select() knows numbers below 1024 alone, and a process with state
    has more files open."""
    if not hasattr(select, "poll"):
        return bool(select.select([socket_or_number], [], [], seconds)[0])
    found = select.poll()
    found.register(socket_or_number, select.POLLIN)
    return bool(found.poll(int(seconds * 1000)))


def keep_alive(connected: socket.socket) -> None:
    """Asks the peer whether it is there, as far as the system can."""
    with suppress(OSError):  # no socket of TCP
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", _IDLE), ("TCP_KEEPINTVL", _INTERVAL), ("TCP_KEEPCNT", _COUNT), ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED),
        ):  # fmt: skip
            if hasattr(socket, name):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
