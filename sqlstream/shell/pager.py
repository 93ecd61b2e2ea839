"""Results that are longer than the screen, shown by $PAGER: psql's way, and git's."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import subprocess

from sqlstream.cli.terminal import Terminal
from sqlstream.shell.calls import listening

_BESIDE = 2  # lines of the screen that what follows a result takes: how long it took, and the prompt


class Held(Terminal):
    """Holds the rows of a result that ends, as they would be on `terminal`, until `show`."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal
        self._held = io.BytesIO()
        encoding = getattr(terminal.out, "encoding", None) or "utf-8"
        self.out = io.TextIOWrapper(self._held, encoding=encoding, errors="backslashreplace")
        self.draws, self.paints, self.most_rows = terminal.draws, terminal.paints, terminal.most_rows

    def screen(self) -> tuple[int, int]:
        """The terminal's."""
        return self._terminal.screen()

    def show(self) -> None:
        """Shows them: in the pager, where there is one and they are longer than the screen."""
        data = self._held.getvalue()
        command = pager() if data.count(b"\n") > self.screen()[1] - _BESIDE else None
        if command is None:
            self._terminal.write(data)
        else:
            _page(command, data)


def pager() -> list[str] | None:
    """$PAGER, or less; None where it is empty or not there."""
    try:
        command = shlex.split(os.environ.get("PAGER", "less"))
    except ValueError:  # quotes that are not closed
        return None
    return command if command and shutil.which(command[0]) else None


def _page(command: list[str], data: bytes) -> None:
    """Until the user leaves it. Ctrl-C is the pager's."""
    # less: ends by itself where all fits, shows colours, cuts long lines, leaves the rows on the screen, ends at Ctrl-C
    environment = {"LESS": "FRSXK", **os.environ}
    with listening(), contextlib.suppress(BrokenPipeError):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
        assert process.stdin is not None
        try:
            process.stdin.write(data)
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
