"""The jobs of this user, wherever their directories are: a file each in `$XDG_STATE_HOME/sqlstream/jobs`.

An entry is a hint where to look, written when a durable job starts. What the job is, its directory says; an entry whose
directory is gone goes, too, when the jobs are listed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlstream.own_files import OwnDirectory, from_json, read_text, replace_text

SMALL = 16 << 10  # bytes of an entry


@dataclass(frozen=True)
class Entry:
    """`directory`: absolute. `job`: its name when it was started."""

    directory: str
    job: str


def home() -> Path:
    """Where the entries are; XDG_STATE_HOME is ~/.local/state by default."""
    given = os.environ.get("XDG_STATE_HOME", "")
    state = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"
    return state / "sqlstream" / "jobs"


def register(directory: Path, job: str) -> str | None:
    """Enters a job; why that cannot be, else None."""
    place = os.path.realpath(directory)
    try:
        directory_of_entries = home()
        directory_of_entries.mkdir(parents=True, exist_ok=True)
        path = directory_of_entries / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}.json"
        replace_text(path, json.dumps(asdict(Entry(place, job))) + "\n", sync=False)
    except (OSError, RuntimeError, ValueError) as e:  # RuntimeError: there is no home
        return str(e)
    return None


def entries() -> list[Entry]:
    """Those whose directories are there, by name. Nothing else in them is checked."""
    found = []
    try:
        paths = sorted(home().glob("*.json"))
    except (OSError, RuntimeError):
        return []
    for path in paths:
        try:
            entry: Entry = from_json(Entry, json.loads(read_text(path, SMALL)))
        except OSError:
            continue
        except (ValueError, RecursionError):
            entry = Entry("", "")
        if os.path.isabs(entry.directory) and "\0" not in entry.directory and os.path.isdir(entry.directory):
            found.append(entry)
        else:
            with contextlib.suppress(OSError):
                OwnDirectory(str(path.parent)).remove(path.name)
    return sorted(found, key=lambda e: (e.job, e.directory))
