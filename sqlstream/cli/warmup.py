"""`sqlstream warmup`: compiles the loops of streaming queries ahead, so that no query waits for it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import Any

_DESCRIPTION = """\
Compiles all loops of keyed state and aggregation into the cache, on all processors. A streaming query compiles those
that it needs when it first runs on a machine, and waits a second or three; after a warmup none does. What is in the
cache is left as it is. The cache is in $XDG_CACHE_HOME/sqlstream/kernels (XDG_CACHE_HOME is ~/.cache by default), and
of no use to other versions of Python or other processors.
"""

_EPILOG = """\
examples:
  sqlstream warmup
  XDG_CACHE_HOME=/var/cache/etl sqlstream warmup --verbose

exit status:
  0 all are in the cache; 1 there is no cache directory that can be written, or a loop could not be compiled;
  130 after Ctrl-C, and what was compiled by then stays
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "warmup",
        help="compile the loops of streaming queries ahead",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "--verbose", action="store_true", default=argparse.SUPPRESS, help="say on standard error how long each took"
    )
    parser.set_defaults(command=warm_up)


def warm_up(args: argparse.Namespace) -> int:
    """`sqlstream warmup`."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    from sqlstream.cli.terminal import Terminal
    from sqlstream.errors import SqlStreamError
    from sqlstream.operators.kernels import all_kernels, compile_kernel, is_cached
    from sqlstream.state.kernel_cache import CACHE, candidates

    terminal = Terminal()
    started = time.monotonic()
    if CACHE.directory is None:
        places = " or ".join(map(str, candidates()))
        terminal.error(f"no cache directory that can be written: {places}\n  hint: set XDG_CACHE_HOME to one")
        return 1
    kernels = all_kernels()
    missing = [name for name, k in kernels.items() if not is_cached(k)]
    if missing:
        # Processes that start anew: a fork would take over half-used locks of libraries' threads.
        pool = ProcessPoolExecutor(min(os.cpu_count() or 1, len(missing)), get_context("spawn"), _leave_signals)
        try:
            names = {pool.submit(compile_kernel, name): name for name in missing}
            for n, done in enumerate(as_completed(names), 1):
                seconds = done.result()
                terminal.progress(f"compiling: {n} of {len(missing)}, {names[done]}")
                if getattr(args, "verbose", False):
                    terminal.say(f"{names[done]}: {seconds * 1000:.0f} ms")
        except SqlStreamError as e:
            terminal.error(str(e))
            return 1
        finally:
            pool.shutdown(cancel_futures=True)
            terminal.progress("")
    lost = [name for name in missing if not is_cached(kernels[name])]
    if lost:
        terminal.error(f"{CACHE.directory} does not take what is written: {len(lost)} of {len(kernels)} are missing")
        return 1
    print(
        f"{len(kernels)} kernels in {CACHE.directory}: {len(missing)} compiled, {len(kernels) - len(missing)} there "
        f"before, {time.monotonic() - started:.1f} s",
        file=sys.stdout,
    )
    return 0


def _leave_signals() -> None:
    """Ctrl-C goes to the whole group: the parent ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
