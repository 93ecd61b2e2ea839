"""`sqlstream` processes that are told when to die. They are forked from a server that has the imports done, so one starts in
a few hundredths of a second."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NEVER = ("Traceback (most recent call last)", "internal error", "Exception in thread", "Segmentation fault")


def _child(arguments: list[str], directory: str, log: str, fault: str | None, scanner: str) -> None:
    """In the new process: the command line, with its output in a file."""
    os.chdir(directory)
    os.environ["SQLSTREAM_SCANNER"] = scanner
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for fd in (1, 2):
        os.dup2(handle, fd)
    import faulthandler

    faulthandler.register(signal.SIGUSR1)
    from sqlstream import faults
    from sqlstream.cli import script
    from sqlstream.cli.main import main

    interruptible = script.run_interruptible

    def ready(work: Callable[[], int], cancel: Callable[[], None]) -> int:
        def begun() -> int:
            Path(log).with_suffix(".ready").touch()
            return work()

        return interruptible(begun, cancel)

    script.run_interruptible = ready
    faults.arm(fault)
    status = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        "sqlstream.cli.main",
        "sqlstream.cli.script",
        "sqlstream.runtime.job",
        "sqlstream.operators.lowering",
        "pyarrow.json",
    ]
)


@dataclass
class Run:
    """A started `sqlstream` process."""

    process: multiprocessing.process.BaseProcess
    log: Path

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def signal(self, number: int) -> None:
        """Sends it once the process is far enough to take it: the fork server's children ignore SIGINT at first."""
        while number != signal.SIGKILL and self.process.is_alive() and not self.log.with_suffix(".ready").exists():
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, number)

    def wait(self, seconds: float = 120) -> int:
        """Its exit status, negative for a signal. Says what it said when it hangs."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            os.kill(self.process.pid or 0, signal.SIGUSR1)  # where its threads are
            time.sleep(0.5)
            self.process.kill()
            self.process.join()
            raise AssertionError(f"still running after {seconds} s: {self.text()}")
        for bad in NEVER:
            assert bad not in self.text(), self.text()
        return self.process.exitcode


_started = 0


def start(directory: Path, arguments: list[str], fault: str | None = None) -> Run:
    global _started
    _started += 1
    log = directory / f"log-{_started}.txt"
    # One life reads JSON and CSV by their scanners, the next goes on without them: a position is a position.
    scanner = ("on", "off")[_started % 2]
    process = _SERVER.Process(target=_child, args=(arguments, str(directory), str(log), fault, scanner), daemon=True)
    process.start()
    return Run(process, log)


def run(directory: Path, arguments: list[str], fault: str | None = None) -> tuple[int, str]:
    """Exit status and what it said."""
    started = start(directory, arguments, fault)
    status = started.wait()
    return status, started.text()
