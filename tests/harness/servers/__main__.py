"""`python -m tests.harness.servers install [NAME…]`: what the tests' servers need, all or those that are named.

Debian's packages by apt-get, where we are root and it is there (else says what is missing, and ends with 1), without any
service being started; then what else a server needs (Kafka's jars, by mvn). What is there is left alone. `list` says what
is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import SERVERS, Server, ServerError

_POLICY = Path("/usr/sbin/policy-rc.d")


@contextmanager
def no_services() -> Iterator[None]:
    """Debian's packages start their services when they are installed, unless this file says no."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def absent(package: str) -> bool:
    """Whether dpkg does not have it."""
    found = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package], capture_output=True, text=True)
    return found.stdout != "installed"


def install(servers: list[type[Server]]) -> int:
    """0: all are there now."""
    wanting = [s for s in servers if s.missing() is not None]
    if shutil.which("apt-get") and os.getuid() == 0:
        packages = sorted({p for s in wanting for p in s.packages if absent(p)})
        if packages:
            quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            with no_services():
                for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
                    done = subprocess.run(["apt-get", *command], env=quiet, capture_output=True, text=True)
                    if done.returncode:
                        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    failed = 0
    for server in wanting:
        begun = time.monotonic()
        try:
            server.install()
            if (missing := server.missing()) is not None:
                raise ServerError(f"{missing}: needs Debian's {' '.join(server.packages)}")
            print(f"{server.name}: installed ({time.monotonic() - begun:.0f} s)")
        except ServerError as e:
            failed = 1
            print(e, file=sys.stderr)
    return failed


def main(arguments: list[str]) -> int:
    """Runs the command; the exit status."""
    command, *names = arguments or [""]
    if command not in ("install", "list") or any(n not in SERVERS for n in names):
        print(f"{__doc__}\nservers: {' '.join(SERVERS)}", file=sys.stderr)
        return 2
    servers = [SERVERS[n] for n in names] or list(SERVERS.values())
    if command == "list":
        for server in servers:
            print(f"{server.name}: {server.missing() or 'installed'}")
        return 0
    return install(servers)


sys.exit(main(sys.argv[1:]))
