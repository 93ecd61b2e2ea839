"""What was entered before, by statement: a file in the user's state directory, without secrets.

$XDG_STATE_HOME/sqlstream/history (~/.local/state by default), readable by its owner only. Each entry is one line of JSON,
so that shells which write at the same time do not tear each other's.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import History

from sqlstream.secrets import redacted, redacted_command
from sqlstream.shell.reader import is_meta

MOST = 10_000  # entries that are read
_LONGEST = 100_000  # characters of an entry that is kept


def state_directory() -> Path:
    """Where the user's programs keep what they remember."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "sqlstream"


class StatementHistory(History):
    """Entries of this run as they were entered, in the file with their secrets hidden. What cannot be read or written
    is not there: a shell works without a history."""

    def __init__(self, file: Path | None = None) -> None:
        super().__init__()
        self.file = file or state_directory() / "history"
        self._last = ""

    def load_history_strings(self) -> Iterable[str]:
        """The newest first."""
        with contextlib.suppress(OSError):
            # not splitlines(): a statement may hold other characters that end lines, such as U+2028
            lines = self.file.read_text(encoding="utf-8", errors="replace").split("\n")
            for line in reversed(lines[-MOST - 1 :]):
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, str):
                        yield entry

    def append_string(self, string: str) -> None:
        """Keeps an entry, unless it is the one before once more."""
        if string.strip() and string != self._last:
            self._last = string
            super().append_string(string)

    def store_string(self, string: str) -> None:
        """Appends to the file."""
        if len(string) > _LONGEST:
            return
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            kept = redacted_command(string) if is_meta(string) else redacted(string)
            # bytes that were typed and are not UTF-8 come as surrogates, which are written as JSON writes them
            with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(json.dumps(kept, ensure_ascii=False) + "\n")
