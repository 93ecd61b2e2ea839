"""When the scanner's kernel is there. It is a long one, and nobody waits for it: until it is there DuckDB decodes.

The environment variable SQLSTREAM_JSON_SCANNER says otherwise: `off` never uses it, `on` waits for it. OptionError for another value.
"""

from __future__ import annotations

import os

from sqlstream.errors import OptionError
from sqlstream.formats.json_scan.lines import scan_lines
from sqlstream.state.background import Background

SWITCH, ON, OFF = "SQLSTREAM_JSON_SCANNER", "on", "off"
ENOUGH = 2**20  # bytes: as long to decode by DuckDB as to load the kernel from the cache

_kernel = Background(scan_lines, ENOUGH)


def _switch() -> str:
    given = os.environ.get(SWITCH, "").lower()
    if given not in ("", ON, OFF):
        raise OptionError(
            f"the environment variable {SWITCH} is '{given}'", hint=f"{ON}, {OFF}, or unset: on once it is compiled"
        )
    return given


def is_allowed() -> bool:
    """Whether it may be used."""
    return _switch() != OFF


def is_there(size: int) -> bool:
    """Whether it can be called now, for so many bytes."""
    switch = _switch()
    if switch == ON:
        _kernel.load()
        return True
    return switch != OFF and _kernel.is_there(size)
