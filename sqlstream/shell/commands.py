"""The shell's meta-commands: `COMMANDS` is the list of them. One is an entry: its names, what it takes, what it does.

psql's begin with `\\`, DuckDB's with `.`, and Flink's client has words that end in `;`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlstream.catalog.objects import View
from sqlstream.errors import OptionError, RunError, did_you_mean
from sqlstream.shell import help as helps
from sqlstream.shell.calls import Interrupted, listening
from sqlstream.shell.shell import Leave

if TYPE_CHECKING:
    from sqlstream.shell.shell import Shell

_STEP = 0.05


@dataclass(frozen=True)
class Command:
    """`names`: all that it is called, the first one is shown first. `takes`: its arguments, as help shows them."""

    names: tuple[str, ...]
    takes: str
    help: str
    run: Callable[[Shell, str], None]


def run_command(shell: Shell, text: str) -> None:
    """Runs a line that begins with `\\`, `.` or `!`. OptionError for an unknown one."""
    if text.startswith("!"):
        text = "\\! " + text[1:]
    found = re.match(r"(\\[!?]|[\\.][\w+]+|\S+)\s*(.*)", text, re.S)
    assert found is not None
    name, rest = found[1], found[2].strip()
    command = BY_NAME.get(name) or BY_NAME.get(name.lower())
    if command is None:
        raise OptionError(
            f"unknown command {name}",
            hint=did_you_mean(name, [n for n in BY_NAME if n[0] == name[0]], "commands") + "; \\? lists them all",
        )
    command.run(shell, rest.rstrip(";").rstrip() if command.run is not _shell_out else rest)


def run_word(shell: Shell, text: str) -> None:
    """Runs a statement that is the shell's own: HELP, QUIT, SOURCE 'file'."""
    word, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if word.upper() == "RUN":
        script, _, rest = rest.partition(" ")
        if script.upper() != "SCRIPT":
            raise OptionError("expected RUN SCRIPT 'file'", hint="\\i FILE runs a file, too")
    BY_WORD[word.upper()](shell, _unquoted(rest.strip()))


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return text


# ---- the catalog


def _shown(sql: str) -> Callable[[Shell, str], None]:
    def run(shell: Shell, rest: str) -> None:
        from sqlstream.shell import results

        like = f" LIKE {_literal(rest.replace('*', '%'))}" if rest else ""
        results.show(shell, shell.query(sql + like))

    return run


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    """A name as somebody types it, as SQL has it."""
    if "`" in value:
        return value
    return ".".join(f"`{part}`" for part in value.strip('"').split("."))


def _describe(shell: Shell, rest: str) -> None:
    from sqlstream.shell import results

    results.show(shell, shell.query(f"DESCRIBE {_name(rest)}" if rest else "SHOW TABLES"))


def _schema(shell: Shell, rest: str) -> None:
    catalog = shell.session.catalog
    for name in [rest] if rest else catalog.tables():
        parts = tuple(p.strip('`"') for p in name.split(".")) if rest else (name,)
        found = catalog.find(catalog.identity(parts)) if catalog.knows(parts[:-1]) else None
        kind = "VIEW" if isinstance(found, View) else "TABLE"
        for batch, _ in shell.query(f"SHOW CREATE {kind} {_name(name)}").batches():
            shell.terminal.text("".join(f"{v};\n" for v in batch.column(0).to_pylist()))


def _functions(shell: Shell, rest: str) -> None:
    """All that can be called, the users' ones first."""
    from sqlstream.results import table_result
    from sqlstream.shell import results
    from sqlstream.shell.vocabulary import functions

    pattern = re.compile(re.escape(rest.upper()).replace(r"\*", ".*").replace("%", ".*"))
    own = [[f, "user", ""] for f in shell.session.catalog.functions()]
    rows: list[list[str | None]] = [[*r] for r in own]
    rows += [[f.name, f.kind, f.example] for f in functions()]
    wanted = [r for r in rows if not rest or pattern.fullmatch(str(r[0]).upper())]
    results.show(shell, table_result("SHOW", ["function", "kind", "example"], wanted))


# ---- how results are shown


def _timing(shell: Shell, rest: str) -> None:
    key = "sql-client.display.print-time-cost"
    on = _switch(rest, shell.session.settings.print_time)
    _set(shell, key, "true" if on else "false")
    shell.terminal.say(f"timing is {'on' if on else 'off'}")


def _expanded(shell: Shell, rest: str) -> None:
    shell.expanded = _switch(rest, shell.expanded)
    shell.terminal.say(
        f"rows are shown {'a value a line' if shell.expanded else 'as ' + shell.session.settings.result_mode}"
    )


def _switch(text: str, now: bool) -> bool:
    if not text:
        return not now
    if text.lower() not in ("on", "off", "true", "false"):
        raise OptionError(f"expected on or off, not '{text}'")
    return text.lower() in ("on", "true")


def _set(shell: Shell, key: str, value: str) -> None:
    shell.query(f"SET {_literal(key)} = {_literal(value)}")


def _mode(shell: Shell, rest: str) -> None:
    if rest:
        _set(shell, "sql-client.execution.result-mode", rest)
        shell.expanded = False
    shell.terminal.say(f"rows are shown as {shell.session.settings.result_mode}")


def _pset(shell: Shell, rest: str) -> None:
    """psql's: what is to be set and how; a mode alone as .mode has it."""
    name, _, value = rest.partition(" ")
    setting = PSET.get(name.lower())
    if setting is None:
        _mode(shell, rest)
    else:
        setting(shell, value.strip())


def _format(shell: Shell, rest: str) -> None:
    _mode(shell, _FORMATS.get(rest.lower(), rest))


def _paged(shell: Shell, rest: str) -> None:
    shell.paged = _switch(rest, shell.paged)
    shell.terminal.say(
        "a result that is longer than the screen is shown by $PAGER" if shell.paged else "nothing is shown by $PAGER"
    )


_FORMATS = {"aligned": "table", "wrapped": "table"}  # psql's names of the modes that are called otherwise here
PSET: dict[str, Callable[[Shell, str], None]] = {
    "format": _format,
    "pager": _paged,
    "expanded": _expanded,
    "x": _expanded,
}


def _most_rows(shell: Shell, rest: str) -> None:
    if rest:
        if not rest.isdecimal():
            raise OptionError(f"expected a number, not '{rest}'", hint=".maxrows 100; .maxrows 0 shows all")
        shell.terminal.most_rows = int(rest) or None
    most = shell.terminal.most_rows
    shell.terminal.say("all rows are shown" if most is None else f"of a long result {most} rows are shown")


def _output(shell: Shell, rest: str) -> None:
    if not rest or rest == "stdout":
        shell.output = None
        return
    path = Path(os.path.expanduser(_unquoted(rest)))
    with open(path, "w", encoding="utf-8"):
        shell.output = path
    shell.terminal.say(f"rows go to {path}; \\o alone shows them here again")


# ---- files, programs, the query before


def _read(shell: Shell, rest: str) -> None:
    if not rest:
        raise OptionError("which file?", hint="\\i FILE")
    shell.run_file(_unquoted(rest))


def _shell_out(shell: Shell, rest: str) -> None:
    """Ctrl-C is the program's."""
    with listening() as heard:
        subprocess.run(rest or os.environ.get("SHELL", "/bin/sh"), shell=bool(rest), check=False)
    if heard:
        shell.terminal.say("")  # behind ^C


def _edit(shell: Shell, rest: str) -> None:
    """The text before in the user's editor; what comes back is run."""
    import tempfile

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "statement.sql"
        path.write_text(shell.last_text + ";\n" if shell.last_text else "", encoding="utf-8")
        with listening():
            done = subprocess.run([*shlex.split(editor), str(path)], check=False)
        if done.returncode != 0:
            raise RunError(f"{editor} ended with status {done.returncode}: nothing is run")
        text = path.read_text(encoding="utf-8")
    if text.strip():
        shell.terminal.text(text if text.endswith("\n") else text + "\n")
        if not shell.run(text):
            raise RunError("the text of the editor was run up to here")


def _watch(shell: Shell, rest: str) -> None:
    """The statement before again and again, until Ctrl-C. Nothing waits in a pager meanwhile."""
    from sqlstream.cli.arguments import seconds_of

    every = seconds_of(rest) if rest else 2.0
    if not shell.last_text:
        raise OptionError("there was no statement yet", hint="SELECT …; and then this")
    paged, shell.paged = shell.paged, False
    try:
        _repeat(shell, shell.last_text + ";", every)
    finally:
        shell.paged = paged


def _repeat(shell: Shell, statement: str, every: float) -> None:
    while True:
        shell.terminal.say(time.strftime("%Y-%m-%d %H:%M:%S"))
        shell.stopped = False
        if not shell.run(statement) or shell.stopped:
            return
        with listening() as heard:
            until = time.monotonic() + every
            while time.monotonic() < until:
                if heard:
                    raise Interrupted
                time.sleep(_STEP)


def _print(shell: Shell, rest: str) -> None:
    shell.terminal.text(f"{shell.last_text};\n" if shell.last_text else "")


def _echo(shell: Shell, rest: str) -> None:
    shell.terminal.text(rest + "\n")


# ---- help, and the end


def _help(shell: Shell, rest: str) -> None:
    """Meta-commands, keys and statements; or the help of a statement or command."""
    if rest:
        _help_of(shell, rest)
        return
    room = max(shell.terminal.screen()[0] - 1, 40)
    width = max(len(_usage(c)) for c in COMMANDS)

    def wrapped(text: str, first: str, indent: int) -> str:
        return textwrap.fill(text, room, initial_indent=first, subsequent_indent=" " * indent, break_on_hyphens=False)

    lines = [wrapped(c.help, f"  {_usage(c).ljust(width)}  ", width + 4) for c in COMMANDS]
    names = wrapped(", ".join(s.name for s in helps.STATEMENTS), "  ", 2)
    shell.terminal.text(
        f"Statements end with ;\n{names}\n  HELP name; tells of one, with an example\n\nCommands\n"
        + "\n".join(lines)
        + "\n\nKeys\n"
        + helps.KEYS
    )


def _usage(c: Command) -> str:
    return ", ".join(c.names) + (f" {c.takes}" if c.takes else "")


def _help_of(shell: Shell, rest: str) -> None:
    wanted = _unquoted(rest).strip().rstrip(";").strip()
    command = BY_NAME.get(wanted)
    if command is not None:
        shell.terminal.text(f"{_usage(command)}\n  {command.help}\n")
        return
    found = helps.find(wanted)
    if not found:
        names = [s.name for s in helps.STATEMENTS]
        raise OptionError(f"no help for '{wanted}'", hint=did_you_mean(wanted.upper(), names, "statements"))
    shell.terminal.text("\n".join(s.text() for s in found))


def _clear(shell: Shell, rest: str) -> None:
    shell.terminal.text("\x1b[2J\x1b[H" if shell.terminal.draws else "")


def _leave(shell: Shell, rest: str) -> None:
    raise Leave


def _chart(shell: Shell, rest: str) -> None:
    from sqlstream.shell.chart import chart

    if not shell.last_query:
        raise OptionError("there was no query yet", hint="SELECT …; and then this")
    chart(shell, shell.last_query, rest)


COMMANDS: tuple[Command, ...] = (
    Command(("\\?", "\\h", ".help"), "[NAME]", "this list; or the help of a statement, \\h SELECT", _help),
    Command(
        ("\\d", "\\d+", ".describe"), "[NAME]", "the columns of a table or view; without a name all tables", _describe
    ),
    Command(("\\dt", ".tables"), "[PATTERN]", "tables and views", _shown("SHOW TABLES")),
    Command(("\\dv", ".views"), "[PATTERN]", "views", _shown("SHOW VIEWS")),
    Command(("\\df", ".functions"), "[PATTERN]", "functions, with an example each: \\df REGEXP*", _functions),
    Command(("\\sf", ".schema"), "[NAME]", "the statement that made a table or view, or all of them", _schema),
    Command(("\\jobs", ".jobs"), "[PATTERN]", "jobs, those of other processes too", _shown("SHOW JOBS")),
    Command(("\\timing", ".timer"), "[on|off]", "how many rows, and how long they took", _timing),
    Command(("\\x", ".expanded"), "[on|off]", "a value a line", _expanded),
    Command((".mode",), "[MODE]", "table, changelog, tableau, csv, json, jsonl, markdown, vertical", _mode),
    Command(("\\pset",), "[NAME VALUE]", "format MODE; pager on or off; expanded on or off", _pset),
    Command((".pager",), "[on|off]", "a result that is longer than the screen is shown by $PAGER, or less", _paged),
    Command((".maxrows",), "[N]", "rows of a long result that are shown; 0: all, with whole values", _most_rows),
    Command(("\\o", ".output"), "[FILE]", "rows go to a file; without one here again", _output),
    Command(("\\i", ".read"), "FILE", "run the statements of a file (also SOURCE 'file'; RUN SCRIPT 'file';)", _read),
    Command(("\\e", ".edit"), "", "the text before in $VISUAL or $EDITOR, and run what comes back", _edit),
    Command(("\\p",), "", "the text before", _print),
    Command(("\\watch",), "[SECONDS]", "the statement before, every 2 s or so, until Ctrl-C", _watch),
    Command(("\\chart", ".chart"), "[COLUMN …]", "the numbers of the query before as a plot that moves", _chart),
    Command(("\\!", ".shell", ".system"), "[COMMAND]", "a program, or a shell of the system", _shell_out),
    Command(("\\echo", ".print"), "TEXT", "prints it", _echo),
    Command(("\\c", ".clear"), "", "an empty screen (CLEAR;)", _clear),
    Command(("\\q", ".quit", ".exit"), "", "leave; jobs go on (QUIT; EXIT; Ctrl-D)", _leave),
)
BY_NAME: dict[str, Command] = {n: c for c in COMMANDS for n in c.names}
BY_WORD: dict[str, Callable[[Shell, str], None]] = {
    "HELP": _help,
    "?": _help,
    "QUIT": _leave,
    "EXIT": _leave,
    "CLEAR": _clear,
    "SOURCE": _read,
    "RUN": _read,
}
