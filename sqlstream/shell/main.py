"""The shell from its start to its end."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlstream.cli.arguments import Settings
from sqlstream.cli.terminal import Terminal
from sqlstream.errors import OptionError, RunError, SqlStreamError
from sqlstream.shell.calls import Interrupted
from sqlstream.shell.reader import inputs
from sqlstream.shell.shell import Leave, Shell

if TYPE_CHECKING:
    from sqlstream.shell.prompt import Prompt


def run_shell(settings: Settings, database: str | None, init: Sequence[str], with_rc: bool) -> int:
    """Runs a shell and gives its exit status."""
    terminal = Terminal()
    interactive = sys.stdin is not None and sys.stdin.isatty() and terminal.draws
    if settings.output != "table":
        key = "sql-client.execution.result-mode"
        settings.options.setdefault(key, settings.output)
    if not settings.pager:
        terminal.most_rows = None
    sys.path.append(os.getcwd())  # where Python functions are looked up
    shell = Shell(settings, terminal, interactive, database)
    try:
        return _typed(shell, init, with_rc) if interactive else _piped(shell, init)
    except OptionError as e:
        terminal.error(str(e))
        return 2
    except SqlStreamError as e:  # of the catalog, which cannot be read
        terminal.error(str(e))
        return 1


def rc_file() -> Path:
    """The user's file that every shell on a terminal begins with."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "sqlstream" / "rc.sql"


def _begin(shell: Shell, init: Sequence[str], with_rc: bool) -> bool:
    """Runs the files that come first; False when one of them failed."""
    files = [*([str(rc_file())] if with_rc and rc_file().is_file() else []), *init]
    for name in files:
        try:
            shell.run_file(name)
        except RunError as e:
            shell.terminal.error(str(e))
            return False
    return True


def _piped(shell: Shell, init: Sequence[str]) -> int:
    """What comes on standard input, up to the first that fails."""
    _ = shell.session
    try:
        if not _begin(shell, init, with_rc=False):
            return 1
        for found in inputs(sys.stdin or ()):
            if not shell.run(found, None):
                return 1
    except Leave:
        return 0
    except (Interrupted, KeyboardInterrupt):
        return 130
    return 0


def _typed(shell: Shell, init: Sequence[str], with_rc: bool) -> int:
    """What is typed, until Ctrl-D."""
    from sqlstream.shell.prompt import Prompt

    if shell.settings.options or shell.database is not None:
        _ = shell.session  # a mistake on the command line is said before the first prompt
    prompt = Prompt(shell)
    shell.loading = threading.Thread(target=_load, name="load", daemon=True)
    try:
        _begin(shell, init, with_rc)
        shell.loading.start()
        shell.terminal.say("sqlstream: statements end with ;  \\? for help, Ctrl-D to leave")
        return _loop(shell, prompt, shell.loading)
    except Leave:
        _farewell(shell)
        return 0


def _loop(shell: Shell, prompt: Prompt, loading: threading.Thread) -> int:
    while True:
        if shell.jobs:
            from sqlstream.shell import background

            background.ended(shell)
        text = prompt.read()
        if text is None:
            raise Leave
        if loading.is_alive():
            loading.join()
        if text.strip():
            shell.run(text)


def _load() -> None:
    """Loads what the first statement needs, while it is typed."""
    _import("sqlstream.session", "sqlstream.shell.commands", "sqlstream.shell.results", "sqlstream.cli.boxes")
    # what only a stream needs takes longer, and nobody waits for it
    threading.Thread(target=_import, args=("sqlstream.runtime.job", "sqlstream.shell.live"), daemon=True).start()


def _import(*names: str) -> None:
    for name in names:
        importlib.import_module(name)


def _farewell(shell: Shell) -> None:
    """Says which jobs go on."""
    if not shell.jobs:
        return
    from sqlstream.shell import background

    background.ended(shell)
    for view in background.going_on(shell):
        name = view.place.name
        shell.terminal.say(f"job {name} goes on; sqlstream stop {name} ends it")
