"""Values of options that stand elsewhere: `${env:NAME}`, a variable of the environment, and `${file:PATH}`, what is in a file.

The catalog, SHOW CREATE TABLE and checkpoints have the reference; its value is read when the table is opened, by each process anew.
What is in a file is a secret, and so is a variable whose name says so, or which is the value of an option whose name does: nothing
shows them (`secrets.py`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sqlstream.errors import OptionError
from sqlstream.secrets import is_secret, learn

PREFIXES = ("env:", "file:")
_REFERENCE = re.compile(r"\$\{(env|file):([^}]*)\}")
_SECRET = "secret"  # the name of an option whose value is one


def resolved(key: str, value: str, table: str, directory: str = ".") -> str:
    """The value of option `key` of a table, with what its references stand for. `directory`: where relative paths begin. OptionError
    for a variable that is not set, and a file that cannot be read."""
    if "${" not in value:
        learn(key, value)
        return value

    def stands_for(m: re.Match[str]) -> str:
        kind, name = m[1], m[2].strip()
        found = _variable(name, key, table) if kind == "env" else _file(name, key, table, directory)
        if kind == "file" or is_secret(name):
            learn(_SECRET, found)
        return found

    made = _REFERENCE.sub(stands_for, value)
    learn(key, made)
    return made


def _variable(name: str, key: str, table: str) -> str:
    if name not in os.environ:
        raise OptionError(
            f"table {table}: option '{key}': the environment has no variable {name}",
            hint=f"export {name}=… before, in the environment of the process that runs the job",
        )
    return os.environ[name]


def _file(name: str, key: str, table: str, directory: str) -> str:
    """Without the line end behind it, which an editor puts there."""
    try:
        text = Path(directory, os.path.expanduser(name)).read_text()
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is no text"
        raise OptionError(f"table {table}: option '{key}': {name} cannot be read: {reason}") from None
    return text.removesuffix("\n").removesuffix("\r")
