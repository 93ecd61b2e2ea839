"""`sqlstream completion bash|zsh|fish`: what a shell needs to complete commands, options, option keys, jobs and files.

The script holds all words, made from the parsers and the registry of options, so that a Tab starts nothing; only names of jobs
are asked for, of a form of this command that imports little.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlstream.cli import of_jobs
from sqlstream.cli.terminal import Terminal

SHELLS = ("bash", "zsh", "fish")
_JOBS = "jobs"  # instead of a shell: the names of jobs

_DESCRIPTION = """\
Writes a script that lets a shell complete commands, options, their values, keys and values of -D, names of jobs, and files.
"""

_EPILOG = """\
examples:
  sqlstream completion bash > ~/.local/share/bash-completion/completions/sqlstream
  sqlstream completion zsh > "${fpath[1]}/_sqlstream"
  sqlstream completion fish > ~/.config/fish/completions/sqlstream.fish

In the shell that is open: `source <(sqlstream completion bash)`, and alike for the others.
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(
        commands, "completion", "complete commands in a shell", _DESCRIPTION, _EPILOG, completion, job=False
    )
    parser.add_argument("shell", metavar="SHELL", choices=(*SHELLS, _JOBS), help="bash, zsh or fish")


def completion(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream completion`."""
    if args.shell == _JOBS:
        terminal.text("".join(f"{name}\n" for name in job_names()))
        return 0
    from sqlstream.cli.main import program

    words = _Words.of(program())
    terminal.text({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](words))
    return 0


def job_names() -> list[str]:
    """Names of jobs, from files alone: those that are registered, and those in .sqlstream of the working directory."""
    import os

    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if os.path.isabs(state) else Path(os.path.expanduser("~/.local/state"))
    found = set()
    for path in (home / "sqlstream" / "jobs").glob("*.json"):
        try:
            entry = json.loads(path.read_text())
            if os.path.isdir(entry["directory"]):
                found.add(os.path.basename(entry["directory"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    here = Path(".sqlstream")
    if here.is_dir():
        found.update(p.name for p in here.iterdir() if p.is_dir())
    return sorted(found)


@dataclass(frozen=True)
class _Command:
    """`options`: each with its help; `values`: what those that take one of several take; `positional`: "job", "file", or the
    words of which one stands there; `taking`: options with a value."""

    name: str
    help: str
    options: tuple[tuple[str, str], ...]
    values: dict[str, tuple[str, ...]]
    taking: tuple[str, ...]
    positional: str


@dataclass(frozen=True)
class _Words:
    commands: tuple[_Command, ...]
    top: _Command
    keys: tuple[tuple[str, tuple[str, ...]], ...]  # keys of -D, with their values where these are few

    @staticmethod
    def of(parser: argparse.ArgumentParser) -> _Words:
        from sqlstream.cli.parser import subparsers
        from sqlstream.options import SESSION_OPTIONS

        helps = {
            a.dest: a.help or ""
            for s in parser._actions
            if isinstance(s, argparse._SubParsersAction)
            for a in s._choices_actions
        }
        commands = tuple(_command(n, helps.get(n, ""), p) for n, p in sorted(subparsers(parser).items()))
        keys = []
        for o in SESSION_OPTIONS:
            values = ("true", "false") if o.kind == "bool" else o.choices
            keys += [(o.key[:-1] + m, values) for m in o.members] if o.members else [(o.key, values)]
        return _Words(commands, _command("", "", parser), tuple(sorted(keys)))


def _command(name: str, help_: str, parser: argparse.ArgumentParser) -> _Command:
    options, values, taking, positional = [], {}, [], "file"
    for a in parser._actions:
        if isinstance(a, argparse._SubParsersAction) or a.help == argparse.SUPPRESS:
            continue
        if not a.option_strings:
            choices = tuple(map(str, a.choices or ()))
            positional = "job" if a.dest == "job" else " ".join(c for c in choices if c != _JOBS) or positional
        about = " ".join((a.help or "").split()).partition(";")[0]
        for o in a.option_strings:
            options.append((o, about))
            if a.choices:
                values[o] = tuple(map(str, a.choices))
            if a.nargs != 0:
                taking.append(o)
    return _Command(name, help_, tuple(options), values, tuple(taking), positional)


def _quoted(text: str) -> str:
    """A word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _cases(words: _Words) -> Iterable[_Command]:
    return (*words.commands, words.top)


# ---- bash


def _bash(words: _Words) -> str:
    lines = [_BASH_HEAD]
    for c in _cases(words):
        names = " ".join(o for o, _ in c.options)
        lines.append(f"    {c.name or '*'}) options={_quoted(names)} positional={_quoted(c.positional)}")
        lines.append(f"      taking={_quoted(' ' + ' '.join(c.taking) + ' ')}")
        if c.values:
            lines.append('      case "$prev" in')
            lines += [f"        {o}) values={_quoted(' '.join(v))} ;;" for o, v in c.values.items()]
            lines.append("      esac")
        lines.append("      ;;")
    commands = " ".join(c.name for c in words.commands)
    keys = " ".join(k for k, _ in words.keys)
    of_keys = "\n".join(f"      {k}) values={_quoted(' '.join(v))} ;;" for k, v in words.keys if v)
    return "\n".join(lines) + "\n" + _BASH_TAIL.replace("@COMMANDS@", commands).replace("@KEYS@", keys).replace(
        "@VALUES@", of_keys
    )  # fmt: skip


_BASH_HEAD = """\
# Completion of sqlstream for bash; made by `sqlstream completion bash`.
_sqlstream() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="" command="" options="" positional="" taking="" values="" i word
  ((COMP_CWORD > 0)) && prev="${COMP_WORDS[COMP_CWORD-1]}"
  COMPREPLY=()
  # the command: the first word that is none of an option's; `=` is a word of its own here
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    case "$word" in
      -c|-f|-D|--var|--output|--progress|--start-empty|--keep-output)
        ((i++))
        [[ "${COMP_WORDS[i+1]}" == "=" ]] && ((i += 2)) ;;
      -*|=) ;;
      *) command="$word"; break ;;
    esac
  done
  case "$command" in"""

_BASH_TAIL = """\
  esac
  # -D key=value: key, `=` and value are words
  local key="" at=$((COMP_CWORD - 1))
  if [[ "$cur" == "=" ]]; then key="$prev"; cur=""
  elif [[ "$prev" == "=" ]]; then key="${COMP_WORDS[COMP_CWORD-2]}"; at=$((COMP_CWORD - 3)); fi
  if [[ -n "$key" ]]; then
    case "$key" in
@VALUES@
    esac
    if [[ "$key" == --* ]]; then at=-1; fi
    COMPREPLY=($(compgen -W "$values" -- "$cur"))
    return
  fi
  if [[ "$prev" == -D ]]; then
    COMPREPLY=($(compgen -S = -W "@KEYS@" -- "$cur"))
    compopt -o nospace 2>/dev/null
    return
  fi
  if [[ -n "$values" ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$cur"))
  elif [[ "$taking" == *" $prev "* ]]; then
    COMPREPLY=($(compgen -f -- "$cur"))
    compopt -o filenames 2>/dev/null
  elif [[ "$cur" == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
  elif [[ -z "$command" ]]; then
    COMPREPLY=($(compgen -W "@COMMANDS@" -- "$cur"))
  elif [[ "$positional" == job ]]; then
    COMPREPLY=($(compgen -W "$(sqlstream completion jobs 2>/dev/null)" -- "$cur"))
  elif [[ "$positional" != file ]]; then
    COMPREPLY=($(compgen -W "$positional" -- "$cur"))
  else
    COMPREPLY=($(compgen -f -- "$cur"))
    compopt -o filenames 2>/dev/null
  fi
}
complete -F _sqlstream sqlstream
"""


# ---- zsh


def _zsh(words: _Words) -> str:
    def described(pairs: Iterable[tuple[str, str]]) -> str:
        return " ".join(_quoted(f"{n.replace(':', chr(92) + ':')}:{h}") for n, h in pairs)

    lines = [_ZSH_HEAD]
    for c in _cases(words):
        lines.append(f"    {c.name or '*'}) options=({described(c.options)}) positional={_quoted(c.positional)}")
        lines.append(f"      taking=({' '.join(map(_quoted, c.taking))})")
        if c.values:
            lines.append('      case "$prev" in')
            lines += [f"        {o}) values=({' '.join(map(_quoted, v))}) ;;" for o, v in c.values.items()]
            lines.append("      esac")
        lines.append("      ;;")
    commands = described((c.name, c.help) for c in words.commands)
    keys = " ".join(k for k, _ in words.keys)
    of_keys = "\n".join(f"      {k}) values=({' '.join(map(_quoted, v))}) ;;" for k, v in words.keys if v)
    return "\n".join(lines) + "\n" + _ZSH_TAIL.replace("@COMMANDS@", commands).replace("@KEYS@", keys).replace(
        "@VALUES@", of_keys
    )  # fmt: skip


_ZSH_HEAD = """\
#compdef sqlstream
# Completion of sqlstream for zsh; made by `sqlstream completion zsh`.
_sqlstream() {
  local cur="${words[CURRENT]}" prev="${words[CURRENT-1]}" command="" positional="" word i
  local -a options taking values
  for ((i = 2; i < CURRENT; i++)); do
    word="${words[i]}"
    case "$word" in
      -c|-f|-D|--var|--output|--progress|--start-empty|--keep-output) ((i++)) ;;
      -*) ;;
      *) command="$word"; break ;;
    esac
  done
  case "$command" in"""

_ZSH_TAIL = """\
  esac
  if [[ "$prev" == -D ]]; then
    if [[ "$cur" == *=* ]]; then
      case "${cur%%=*}" in
@VALUES@
      esac
      compset -P '*='
      compadd -a values
    else
      compadd -S = -- @KEYS@
    fi
  elif (( ${#values} )); then compadd -a values
  elif (( ${taking[(Ie)$prev]} )); then _files
  elif [[ "$cur" == -* ]]; then _describe option options
  elif [[ -z "$command" ]]; then
    local -a commands
    commands=(@COMMANDS@)
    _describe command commands
  elif [[ "$positional" == job ]]; then compadd -- ${(f)"$(sqlstream completion jobs 2>/dev/null)"}
  elif [[ "$positional" != file ]]; then compadd -- ${=positional}
  else _files
  fi
}
if [[ "${funcstack[1]}" == _sqlstream ]]; then _sqlstream "$@"; else compdef _sqlstream sqlstream; fi
"""


# ---- fish


def _fish(words: _Words) -> str:
    out = ["# Completion of sqlstream for fish; made by `sqlstream completion fish`.", "complete -c sqlstream -f"]
    names = " ".join(c.name for c in words.commands)
    none = _quoted(f"not __fish_seen_subcommand_from {names}")
    for c in words.commands:
        out.append(f"complete -c sqlstream -n {none} -a {c.name} -d {_quoted(c.help)}")
    for c in _cases(words):
        when = _quoted(f"__fish_seen_subcommand_from {c.name}") if c.name else none
        for o, about in c.options:
            flag = f"-l {o[2:]}" if o.startswith("--") else f"-s {o[1:]}"
            takes = ""
            if o == "-D":
                takes = " -x -a '(__sqlstream_keys)'"
            elif o in c.values:
                takes = f" -x -a {_quoted(' '.join(c.values[o]))}"
            elif o in c.taking:
                takes = " -r -F"
            out.append(f"complete -c sqlstream -n {when} {flag}{takes} -d {_quoted(about)}")
        if c.name:
            offers = "-F" if c.positional == "file" else "-a " + (
                "'(sqlstream completion jobs 2>/dev/null)'" if c.positional == "job" else _quoted(c.positional)
            )  # fmt: skip
            out.append(f"complete -c sqlstream -n {when} {offers}")
    pairs = [f"{k}={v}" for k, values in words.keys for v in values or ("",)]
    out += ["function __sqlstream_keys", *(f"  echo {_quoted(p)}" for p in pairs), "end"]
    return "\n".join(out) + "\n"
