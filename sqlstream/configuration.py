"""Options from outside a session, and where each came from. What stands lower wins:

    the user's file        $XDG_CONFIG_HOME/sqlstream/sqlstream.toml (XDG_CONFIG_HOME is ~/.config by default)
    the project's file     sqlstream.toml of the working directory, or the nearest one above it
    the environment        SQLSTREAM_EXECUTION_RUNTIME_MODE for execution.runtime-mode
    -D key=value
    SET in the script

This module decides that order, but for SET, which a session lays over what it was given by the same rule (`options.over`).
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlstream.errors import OptionError, Position
from sqlstream.options import SESSION_OPTIONS, Option, find, note_of, over
from sqlstream.secrets import learn

FILE = "sqlstream.toml"
PREFIX = "SQLSTREAM_"
CHOSEN = f"{PREFIX}CONFIG"  # the variable that names the file, in the place of both
_NEAR = (
    0.85  # how like an option's variable another one is that must be a mistake: others of the prefix may be anybody's
)


@dataclass(frozen=True)
class Setting:
    """The value of an option as text, and where it was given: "sqlstream.toml:3", a variable's name, or "-D"."""

    key: str
    value: str
    source: str


def collected(
    directory: Path, environment: Mapping[str, str], given: Mapping[str, str] | None = None, by: str = "-D"
) -> dict[str, Setting]:
    """The settings that count, by key. `directory`: where the project's file is looked for; `given`: those of -D, or whatever
    else `by` says.

    OptionError, with its place, for what is no option, or not a value of one.
    """
    out: dict[str, Setting] = {}
    layers = (*map(_of_file, files(directory, environment)), _of_environment(environment), _given(given or {}, by))
    for layer in layers:
        out = over(out, {s.key: s for s in layer})
    return out


def values(settings: Mapping[str, Setting]) -> dict[str, str]:
    """The options as a session takes them."""
    return {k: s.value for k, s in settings.items()}


# ---- files


def files(directory: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that there are, the user's first. OptionError where one that was chosen is not there."""
    if chosen := environment.get(CHOSEN):
        path = Path(chosen)
        if not path.exists():
            raise OptionError(f"environment variable {CHOSEN}: there is no file {chosen}")
        return (path,)
    found = (user_file(environment), project_file(directory))
    return tuple(dict.fromkeys(f for f in found if f is not None and f.is_file()))


def user_file(environment: Mapping[str, str]) -> Path | None:
    """Where the user's own is, or would be; None where there is no home."""
    given = environment.get("XDG_CONFIG_HOME", "")
    try:
        home = Path(given) if os.path.isabs(given) else Path.home() / ".config"
    except RuntimeError:
        return None
    return home / "sqlstream" / FILE


def project_file(directory: Path) -> Path | None:
    """That of the directory, or the nearest above it: up to the home directory, and never in the root.

    One above that belongs to neither the user nor root nor the directory's owner is not the project's: in /tmp, say.
    """
    try:
        home = Path.home().resolve()
    except RuntimeError:
        home = None
    start = directory.resolve()
    try:
        trusted = {0, os.geteuid(), start.stat().st_uid}
    except OSError:
        return None
    for place in (start, *start.parents):
        if place.parent == place:
            return None
        path = place / FILE
        try:
            status = path.stat()
        except OSError:
            status = None
        if status is not None and stat.S_ISREG(status.st_mode) and (place == start or status.st_uid in trusted):
            return path
        if place == home:
            return None
    return None


def _of_file(path: Path) -> list[Setting]:
    shown = _shown(path)
    try:
        text = path.read_text("utf-8-sig")
        table = tomllib.loads(text)
    except OSError as e:
        raise OptionError(f"{shown}: the file cannot be read: {e.strerror or e}") from None
    except UnicodeDecodeError as e:
        raise OptionError(f"{shown}: it is not UTF-8 (byte {e.start})") from None
    except tomllib.TOMLDecodeError as e:
        raise _malformed(str(e), text, shown) from None
    lines = _lines(text)
    out: list[Setting] = []
    seen: set[str] = set()
    for key, value in _flat(table):
        line = lines.get(key, 1)
        row = text.splitlines()[line - 1]
        place = Position(line, len(row) - len(row.lstrip()) + 1)
        try:
            if key in seen:
                raise OptionError(f"option '{key}' is there twice")
            seen.add(key)
            option = find(SESSION_OPTIONS, key)
            given = _text(key, value, option)
            learn(key, given)
            note_of(key, given)
        except OptionError as e:
            raise OptionError(e.message, hint=e.hint, position=place, sql=text, source=shown) from None
        out.append(Setting(key, _placed(given, option, path.parent), f"{shown}:{line}"))
    return out


def _shown(path: Path) -> str:
    """The path, from the working directory where that is shorter."""
    full = path.resolve()
    try:
        below = os.path.relpath(full)
    except (OSError, ValueError):
        return str(full)
    return min(str(full), below, key=len)


def _malformed(message: str, text: str, shown: str) -> OptionError:
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message, re.S)
    if found is None:
        return OptionError(message, source=shown)
    rows = text.splitlines() or [""]
    line = int(found[2] or len(rows))
    place = Position(line, int(found[3] or len(rows[-1]) + 1))
    hint = 'a line is key = "value" below a [table], such as [execution.checkpointing] interval = "10 s"'
    return OptionError(f"it is not TOML: {found[1]}", hint=hint, position=place, sql=text, source=shown)


def _flat(table: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{head}{name}.")
        else:
            yield f"{head}{name}", value


def _lines(text: str) -> dict[str, int]:
    """The line of each key. The parser tells no places: a key begins behind the longest part of the text that is whole
    without it."""
    rows = text.splitlines(keepends=True)
    out: dict[str, int] = {}
    whole = 0  # lines
    for count in range(1, len(rows) + 1):
        try:
            table = tomllib.loads("".join(rows[:count]))
        except tomllib.TOMLDecodeError:
            continue
        for key, _ in _flat(table):
            out.setdefault(key, whole + 1)
        whole = count
    return out


def _text(key: str, value: Any, option: Option | None) -> str:
    """A value of TOML as an option's text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, list) and all(isinstance(v, (str, int, float)) for v in value):
        return (";" if option is not None and option.kind == "enums" else ",").join(
            _text(key, v, option) for v in value
        )
    raise OptionError(f"option '{key}': a value is a string, a number, true or false", hint='such as "10 s"')


def _placed(value: str, option: Option | None, directory: Path) -> str:
    """Paths of a file start from where it is, and not from where somebody works."""
    if option is None or option.kind not in ("path", "paths"):
        return value
    parts = [p.strip() for p in value.split(",")] if option.kind == "paths" else [value]

    def one(path: str) -> str:
        return path if "://" in path or not path else str(directory.resolve() / os.path.expanduser(path))

    return ",".join(map(one, parts))


# ---- environment and arguments


def variable(key: str) -> str:
    """The environment variable of an option: upper case, `_` for `.` and `-`."""
    return PREFIX + re.sub(r"[.-]", "_", key).upper()


def variables() -> dict[str, str]:
    """Keys of options by their variables; members of a family each have one."""
    return {variable(k): k for o in SESSION_OPTIONS for k in reversed(_keys(o))}


def _keys(option: Option) -> list[str]:
    return [option.key[:-1] + m for m in option.members] if option.members else [option.key, *option.former]


def _of_environment(environment: Mapping[str, str]) -> list[Setting]:
    """One without a value counts as not set. Names of the prefix that are like no option's are not ours."""
    given = {k: v for k, v in environment.items() if k.startswith(PREFIX) and k != CHOSEN and v}
    if not given:
        return []
    known = variables()
    out = []
    for name, value in sorted(given.items()):
        key = known.get(name)
        if key is None:
            near = difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)
            if near:
                raise OptionError(
                    f"environment variable {name}: there is no such option", hint=f"did you mean {near[0]}?"
                )
            continue
        learn(key, value)
        try:
            note_of(key, value)
        except OptionError as e:
            raise OptionError(f"environment variable {name}: {e.message}", hint=e.hint) from None
        out.append(Setting(key, value, name))
    return out


def _given(options: Mapping[str, str], by: str) -> list[Setting]:
    for key, value in options.items():
        learn(key, value)
        try:
            note_of(key, value)
        except OptionError as e:
            raise OptionError(f"{by}: {e.message}", hint=e.hint) from None
    return [Setting(k, v, by) for k, v in options.items()]
