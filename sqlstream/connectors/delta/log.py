"""Delta's log as it is written: the actions of single versions, in the order in which they were made.

A version is a file `_delta_log/<twenty digits>.json`, an action a line of it. delta-rs says what a table is at a version, and not how it
came to be that; the protocol's text says how these files are read (https://github.com/delta-io/delta/blob/master/PROTOCOL.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from sqlstream import stores as remote
from sqlstream.connectors.paths import is_local, open_binary
from sqlstream.errors import DataError
from sqlstream.stores import Stores


@dataclass(frozen=True)
class Added:
    """A file that a version has added."""

    path: str
    size: int
    partition: dict[str, str | None]
    rows: int | None
    vector: dict[str, Any] | None  # of rows that are deleted in it


@dataclass
class Version:
    """What a version has changed of the rows. `removed`: how many files, other than to write the same rows anew. `described`: it says what
    columns there are. `said`: by who made it; `time`: when, in ms since 1970 UTC."""

    number: int
    added: list[Added] = field(default_factory=list)
    removed: int = 0
    described: bool = False
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def time(self) -> int:
        """0: it is not known."""
        return int(self.said.get("inCommitTimestamp", self.said.get("timestamp", 0)))


def version_at(path: str, number: int, stores: Stores) -> Version | None:
    """What a version has changed; None when there is none, or it is there no more. DataError when it cannot be read."""
    name = f"{path.rstrip('/')}/_delta_log/{number:020d}.json"
    try:
        with remote.os_errors(), open_binary(name, stores) as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    out = Version(number)
    try:
        for line in lines:
            action = json.loads(line) if line.strip() else {}
            if (add := action.get("add")) is not None and add["dataChange"]:
                rows = json.loads(add["stats"]).get("numRecords") if add.get("stats") else None
                values = dict(add["partitionValues"])
                out.added.append(Added(unquote(add["path"]), int(add["size"]), values, rows, add.get("deletionVector")))
            elif (remove := action.get("remove")) is not None and remove["dataChange"]:
                out.removed += 1
            elif "metaData" in action:
                out.described = True
            elif "commitInfo" in action:
                out.said = dict(action["commitInfo"])
    except (ValueError, KeyError, TypeError) as e:
        raise DataError(f"{name} is no version of a Delta table: {e}") from e
    return out


def versions_down(path: str, newest: int, stores: Stores) -> Iterator[Version]:
    """What there is of the log, the newest version first."""
    for number in range(newest, -1, -1):
        found = version_at(path, number, stores)
        if found is None:
            return
        yield found


def versions_there(path: str, stores: Stores) -> tuple[int, int] | None:
    """The oldest and the newest version of which there is a file; None: there is none."""
    log = f"{path.rstrip('/')}/_delta_log"
    try:
        if is_local(log):
            names = os.listdir(log)
        else:
            fs, inner = stores.filesystem(log)
            fs.invalidate_cache()
            with remote.os_errors():
                names = [n.rstrip("/").rpartition("/")[2] for n in fs.ls(inner, detail=False)]
    except FileNotFoundError:
        return None
    found = [int(n[:20]) for n in names if n.endswith(".json") and n[:20].isdecimal() and len(n) == 25]
    return (min(found), max(found)) if found else None
