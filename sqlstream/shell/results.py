"""How the shell shows what a statement gives: a message, rows in a form, or a view that moves."""

from __future__ import annotations

import contextlib
import io
import queue
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlstream.cli.of_jobs import counted
from sqlstream.cli.output import FORMS, Output, output, written
from sqlstream.cli.progress import ProgressLine
from sqlstream.cli.terminal import Terminal
from sqlstream.results import Result
from sqlstream.shell.pager import Held

if TYPE_CHECKING:
    from sqlstream.shell.shell import Shell

# modes of Flink's client; a result that ends is a table in all three
LIVE = ("table", "changelog")
TABLES = (*LIVE, "tableau")


def mode_of(shell: Shell) -> str:
    """How rows are shown now."""
    return "vertical" if shell.expanded else shell.session.settings.result_mode


@contextlib.contextmanager
def watched(shell: Shell) -> Iterator[None]:
    """While it lasts, a terminal shows how the session's job is."""
    with shell.terminal.guarding_stdout(), ProgressLine(shell.session, shell.terminal, shell.settings.progress):
        yield


def show(shell: Shell, result: Result) -> None:
    """Shows it to its end, or until the user has seen enough."""
    if result.schema is None:
        if result.message:
            shell.terminal.say(result.message)
    else:
        _rows(shell, result)
    p = result.progress
    if p is not None and p.late_rows:
        shell.terminal.say(f"warning: dropped as too late for their windows: {counted(p.late_rows, 'row')}")
    if p is not None and p.skipped_records:
        shell.terminal.say(f"warning: skipped as malformed: {counted(p.skipped_records, 'record')}")


def _rows(shell: Shell, result: Result) -> None:
    mode = mode_of(shell)
    if mode in LIVE and result.streaming and shell.interactive and shell.output is None:
        from sqlstream.shell.live import view

        view(shell, result, mode, shell.session.settings.most_shown)
        return
    held = (
        Held(shell.terminal) if shell.paged and shell.interactive and not (shell.output or result.streaming) else None
    )
    shown = held or terminal_of(shell)
    try:
        writer = writer_of(result, mode, shown, shell.session.settings.time_zone)
        with watched(shell):
            done = shell.call(lambda: written(result, writer, lambda: shell.session.canceled))
        if held is not None:
            held.show()
    finally:
        if shown is not shell.terminal:
            shown.out.close()
    if result.kind != "SELECT" or not shell.interactive:
        return
    if mode == "tableau" and result.streaming:
        shell.terminal.say(f"Received a total of {counted(done.rows, 'row')}")
    if shell.session.settings.print_time:
        shell.terminal.say(str(done))


def writer_of(result: Result, mode: str, terminal: Terminal, zone: str) -> Output:
    """The writer of rows in a mode of the shell."""
    return output(result, mode if mode in FORMS else "table", terminal, zone)


def terminal_of(shell: Shell) -> Terminal:
    """Where rows go: the terminal, or the file of \\o."""
    if shell.output is None:
        return shell.terminal
    file = Terminal()
    file.out = io.TextIOWrapper(open(shell.output, "ab"), encoding="utf-8")  # noqa: SIM115  # closed behind the last row
    file.draws = file.paints = False
    return file


class Pulled:
    """The batches of a result, taken on a thread: never more than a few ahead."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._queue: queue.Queue[object] = queue.Queue(4)
        self._over = threading.Event()
        self.error: BaseException | None = None
        self.done = False
        self._thread = threading.Thread(target=self._run, name="rows", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for item in self._result.batches():
                if not self._put(item):
                    return
        except BaseException as e:
            self.error = e
        self._put(None)

    def _put(self, item: object) -> bool:
        while not self._over.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return True
        return False

    def get(self, seconds: float) -> object | None:
        """The next batch with its kinds; None at the end (`done`), or after so many seconds."""
        if self.done:
            return None
        with contextlib.suppress(queue.Empty):
            item = self._queue.get(timeout=seconds)
            self.done = item is None
            return item
        return None

    def close(self) -> None:
        """Stops what still runs, and waits for it."""
        self._over.set()
        self._result.close()
        self._thread.join()


def now() -> float:
    """Seconds of a clock that is never set."""
    return time.monotonic()
