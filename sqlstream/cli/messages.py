"""What commands say on standard error where not all of it, or not as text, is wanted: -q, and option log.format."""

from __future__ import annotations

import json
import time

from sqlstream.cli.terminal import Terminal
from sqlstream.secrets import redacted

_WARNING = "warning: "


class Messages(Terminal):
    """`quiet`: warnings and errors only, and no progress. `as_json`: an object a line, with time, level and message, as in the
    log of a submitted job."""

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        super().__init__()
        self._quiet, self._json = quiet, as_json
        self.interactive = self.interactive and not (quiet or as_json)

    def _say(self, prefix: str, text: str) -> None:
        warning = text.startswith(_WARNING)
        if self._quiet and not prefix and not warning:
            return
        if not self._json:
            super()._say(prefix, text)
            return
        from sqlstream.runtime.observer import iso

        level = "error" if prefix else "warning" if warning else "info"
        entry = {"time": iso(time.time()), "level": level, "message": redacted(text).removeprefix(_WARNING)}
        super()._say("", json.dumps(entry, ensure_ascii=False))
