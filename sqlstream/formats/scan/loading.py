"""When a scanner's kernel is there. It is a long one, and nobody waits for it: until it is there DuckDB decodes.

The environment variable SQLSTREAM_SCANNER says otherwise: `off` never uses one, `on` waits for it. OptionError for another value.
"""

from __future__ import annotations

import os

from sqlstream.errors import OptionError
from sqlstream.state.background import Background
from sqlstream.state.kernel import Kernel

SWITCH, ON, OFF = "SQLSTREAM_SCANNER", "on", "off"
ENOUGH = 2**20  # bytes: as long to decode by DuckDB as to load a kernel from the cache
WORTH = 4 * ENOUGH  # bytes of one file, for which loading a kernel may be waited for


def _switch() -> str:
    given = os.environ.get(SWITCH, "").lower()
    if given not in ("", ON, OFF):
        raise OptionError(
            f"the environment variable {SWITCH} is '{given}'", hint=f"{ON}, {OFF}, or unset: on once it is compiled"
        )
    return given


def is_allowed() -> bool:
    """Whether scanners may be used."""
    return _switch() != OFF


class Loading:
    """Of one kernel."""

    def __init__(self, kernel: Kernel, enough: int = ENOUGH) -> None:
        self.kernel = Background(kernel, enough)

    def is_there(self, size: int) -> bool:
        """Whether it can be called now, for so many bytes."""
        switch = _switch()
        if switch == ON:
            self.kernel.load()
            return True
        return switch != OFF and self.kernel.is_there(size)

    def is_near(self, size: int) -> bool:
        """Whether it can be called now, for so many bytes of which it has to take the first ones, too."""
        if _switch() == "" and size >= WORTH:
            self.kernel.load_cached()
        return self.is_there(size)
