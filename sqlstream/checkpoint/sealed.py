"""Records as readable JSON that say themselves whether they are as they were written.

`format_version` comes first, then `sha256`, the hash of all that follows it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from sqlstream.errors import CheckpointError

_HEAD = re.compile(rb'\{\n  "format_version": (\d+),\n  "sha256": "([0-9a-f]{64})",\n')


class Refused(CheckpointError):
    """Good, but not for us (a later version's, another job's): never skipped for an older one."""


def sealed(version: int, value: dict[str, Any]) -> str:
    """The text of a record."""
    rest = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).removeprefix("{\n") + "\n"
    digest = hashlib.sha256(rest.encode()).hexdigest()
    return f'{{\n  "format_version": {version},\n  "sha256": "{digest}",\n{rest}'


def opened(what: str, data: bytes, oldest: int, newest: int) -> dict[str, Any]:
    """The record, with its `format_version` and without its hash. `what` it is: "checkpoint", "savepoint".

    ValueError, KeyError, TypeError, AttributeError or RecursionError when it is none, or was changed; `Refused` when its
    version is a later one than `newest`.
    """
    value = json.loads(data)
    version = value["format_version"]
    if isinstance(version, int) and version > newest:
        raise Refused(
            f"the {what} has format version {version}, this sqlstream reads up to {newest}",
            hint="install the version of sqlstream that wrote it, or a newer one",
        )
    if version not in range(oldest, newest + 1):
        raise ValueError(f"format version {version!r}")
    head = _HEAD.match(data)
    if head is None or hashlib.sha256(data[head.end() :]).hexdigest().encode() != head[2]:
        raise ValueError("it was changed after it was written")
    made: dict[str, Any] = value
    del made["sha256"]
    return made
