"""A shell on a terminal of its own: keys go in, and the screen is what somebody would see."""

from __future__ import annotations

import copy
import os
import signal
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0  # seconds that a busy machine may take for anything


class _Display(pyte.Screen):
    """With the second screen that programs take over and give back, which pyte has not."""

    def set_mode(self, *modes: int, **kwargs: bool) -> None:
        if 1049 in modes:
            self._before = copy.deepcopy(self.buffer), copy.copy(self.cursor)
            self.erase_in_display(2)
        super().set_mode(*modes, **kwargs)

    def reset_mode(self, *modes: int, **kwargs: bool) -> None:
        if 1049 in modes:
            self.buffer, self.cursor = self._before
            self.dirty.update(range(self.lines))
        super().reset_mode(*modes, **kwargs)


class Screen:
    """`sqlstream` with these arguments, in a directory; a context manager that ends it."""

    def __init__(self, cwd: Path, *arguments: str, columns: int = 80, lines: int = 24, **environment: str) -> None:
        self.screen = _Display(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "PROMPT_TOOLKIT_NO_CPR": "1",
            "HOME": str(cwd),
            "XDG_STATE_HOME": str(cwd / "state"),
            "XDG_CONFIG_HOME": str(cwd / "config"),
            "EDITOR": "true",
            **environment,
        }
        self.process = pexpect.spawn(
            sys.executable,
            ["-m", "sqlstream", *arguments],
            cwd=str(cwd),
            env=env,
            dimensions=(lines, columns),
            timeout=PATIENCE,
        )

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *exc: object) -> None:
        end = time.monotonic() + PATIENCE
        while self.process.isalive() and time.monotonic() < end:
            self.process.kill(signal.SIGKILL)
            self._take()

    # ---- what somebody does

    def type(self, text: str) -> None:
        """Keys, as they are hit."""
        self.process.send(text)

    def enter(self, text: str) -> None:
        """A text, and Enter."""
        self.process.send(text + "\r")

    def interrupt(self) -> None:
        """Ctrl-C, while something is edited or looked at."""
        self.process.send("\x03")

    def interrupt_what_runs(self) -> None:
        """Ctrl-C, once the editor has given the terminal back: until then the key is the editor's."""
        end = time.monotonic() + PATIENCE
        while not termios.tcgetattr(self.process.child_fd)[3] & termios.ISIG:
            self._take()
            assert time.monotonic() < end, self.text
        self.process.send("\x03")

    def resize(self, columns: int, lines: int) -> None:
        """Another size of the window."""
        self.screen.resize(lines, columns)
        self.process.setwinsize(lines, columns)

    # ---- what somebody sees

    @property
    def text(self) -> str:
        """The screen, without spaces at the ends of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def until(self, condition: Callable[[str], bool] | str, seconds: float = PATIENCE) -> str:
        """Waits until the screen is so, or has that text; the screen."""
        end = time.monotonic() + seconds
        while True:
            self._take()
            text = self.text
            if condition in text if isinstance(condition, str) else condition(text):
                return text
            assert time.monotonic() < end, f"it never came to {condition!r}:\n{text}"
            assert self.process.isalive() or self._take(), f"it ended before {condition!r}:\n{text}"

    def prompt(self) -> str:
        """Waits for an empty prompt at the end of the screen."""
        return self.until(lambda text: text.endswith("sqlstream>"))

    def ended(self) -> int:
        """Waits for the end of the process; its exit status."""
        end = time.monotonic() + PATIENCE
        while self.process.isalive():
            self._take()
            assert time.monotonic() < end, f"it does not end:\n{self.text}"
        while self._take():
            continue
        self.process.close()
        return int(self.process.exitstatus if self.process.exitstatus is not None else -1)

    def _take(self) -> bool:
        try:
            data = self.process.read_nonblocking(65536, timeout=0.05)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return False
        self._stream.feed(data)
        return True
