"""When the scanner's kernel is there. It is a long one, and nobody waits for it: until it is there DuckDB decodes.

The environment variable SQLSTREAM_JSON_SCANNER says otherwise: `off` never uses it, `on` waits for it.
"""

from __future__ import annotations

import os

from sqlstream.formats.json_scan.lines import scan_lines
from sqlstream.state.background import Background

SWITCH, ON, OFF = "SQLSTREAM_JSON_SCANNER", "on", "off"
ENOUGH = 2**20  # bytes: as long to decode by DuckDB as to load the kernel from the cache

_kernel = Background(scan_lines, ENOUGH)


def is_allowed() -> bool:
    """Whether it may be used."""
    return os.environ.get(SWITCH) != OFF


def is_there(size: int) -> bool:
    """Whether it can be called now, for so many bytes."""
    if os.environ.get(SWITCH) == ON:
        _kernel.load()
        return True
    return is_allowed() and _kernel.is_there(size)
