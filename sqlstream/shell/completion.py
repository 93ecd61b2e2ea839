"""What may come next in a text: after its words so far, and what the session knows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from sqlstream.errors import SqlStreamError
from sqlstream.options import SESSION_OPTIONS, Option, find
from sqlstream.shell import vocabulary
from sqlstream.shell.help import STATEMENTS
from sqlstream.shell.reader import is_meta

if TYPE_CHECKING:
    from sqlstream.session import Session
    from sqlstream.shell.shell import Shell

_TOKEN = re.compile(r"--[^\n]*|/\*(?!\+).*?\*/|'(?:[^']|'')*+'|`[^`]*+`|\w+|\S", re.S)
_WORD = re.compile(r"\w*\Z")
# words that a relation follows
_RELATION = ("FROM", "JOIN", "INTO", "OVERWRITE", "TABLE", "DESCRIBE", "DESC", "VIEW", "LIKE")
_FOLLOWING = {
    "SHOW": (
        "TABLES", "VIEWS", "FUNCTIONS", "COLUMNS FROM", "JOBS", "CREATE TABLE", "CREATE VIEW", "USER FUNCTIONS",
        "CATALOGS", "DATABASES", "CURRENT CATALOG", "CURRENT DATABASE",
    ),
    "CREATE": ("TABLE", "VIEW", "FUNCTION", "DATABASE", "TEMPORARY TABLE", "TEMPORARY VIEW", "TEMPORARY FUNCTION", "SAVEPOINT"),
    "ALTER": ("TABLE", "VIEW", "DATABASE"),
    "DROP": ("TABLE", "VIEW", "FUNCTION", "DATABASE", "TEMPORARY TABLE", "TEMPORARY VIEW", "TEMPORARY FUNCTION"),
    "EXPLAIN": ("SELECT", "INSERT INTO", "PLAN FOR", "CHANGELOG_MODE", "JSON_EXECUTION_PLAN", "SYNTAX_TREE", "OPTIMIZER_TRACE", "ANALYZE"),
    "STOP": ("JOB",),
    "INSERT": ("INTO", "OVERWRITE"),
    "EXECUTE": ("STATEMENT SET BEGIN",),
    "BEGIN": ("STATEMENT SET;",),
    "RUN": ("SCRIPT",),
}  # fmt: skip
# beginnings that a database follows
_OF_DATABASES = (
    ["USE"],
    *([how, "DATABASE"] for how in ("DESCRIBE", "DESC", "ALTER", "DROP")),
    *(["SHOW", what, where] for what in ("TABLES", "VIEWS", "FUNCTIONS") for where in ("FROM", "IN")),
)
_OF_FILES = ("\\i", ".read", "\\o", ".output")
_OF_TABLES = ("\\d", ".describe", ".schema", "\\sf")


@dataclass(frozen=True)
class Found:
    """A completion: its text, what it is."""

    text: str
    what: str = ""


class StatementCompleter(Completer):
    """Completions of texts of the shell."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """prompt_toolkit's way in."""
        prefix, found = complete(document.text_before_cursor, self._shell.loaded_session)
        for f in found:
            yield Completion(f.text, -len(prefix), display_meta=f.what)


def complete(text: str, session: Session | None) -> tuple[str, list[Found]]:
    """What the end of a text begins, and all that it could become."""
    if is_meta(text):
        prefix, candidates = _of_command(text.lstrip(), session)
    else:
        tokens, string = _read(text)
        if string is not None:
            prefix, candidates = string, _of_string(tokens, string, session)
        else:
            match = _WORD.search(text)
            prefix = "" if match is None else match[0]
            candidates = _of_word(tokens[:-1] if prefix else tokens, prefix, session)
    wanted = prefix.lower()
    out, seen = [], set()
    for c in candidates:
        if c.text.lower().startswith(wanted) and c.text not in seen:
            seen.add(c.text)
            out.append(c)
    return prefix, out


def _read(text: str) -> tuple[list[str], str | None]:
    """The tokens of the last statement; and the beginning of a string that does not end, without its quote."""
    tokens: list[str] = []
    for m in _TOKEN.finditer(text):
        if m[0] == "'":
            return tokens, text[m.end() :]
        if m[0] == ";":
            tokens = []
        elif not m[0].startswith(("--", "/*")):
            tokens.append(m[0])
    return tokens, None


# ---- meta-commands


def _of_command(text: str, session: Session | None) -> tuple[str, Iterator[Found]]:
    name, space, rest = text.partition(" ")
    if not space:
        from sqlstream.shell.commands import COMMANDS

        return name, (Found(n, c.help) for c in COMMANDS for n in c.names)
    if name in _OF_FILES:
        return rest, _files(rest)
    if name in _OF_TABLES:
        return rest, _relations(session)
    if name == "\\pset":
        return _of_setting(rest)
    if name == ".mode":
        return rest, _values(find(SESSION_OPTIONS, "sql-client.execution.result-mode"))
    if name in ("\\h", "\\?", ".help"):
        return rest, (Found(s.name, s.does) for s in STATEMENTS)
    return rest, iter(())


def _of_setting(rest: str) -> tuple[str, Iterator[Found]]:
    """What \\pset sets, then its values."""
    from sqlstream.shell.commands import PSET

    setting, space, value = rest.partition(" ")
    if not space:
        return rest, (Found(name) for name in PSET)
    if setting.lower() == "format":
        return value, _values(find(SESSION_OPTIONS, "sql-client.execution.result-mode"))
    return value, (Found(switch) for switch in ("on", "off"))


# ---- strings


def _of_string(tokens: list[str], string: str, session: Session | None) -> Iterator[Found]:
    upper = [t.upper() for t in tokens]
    first = upper[0] if upper else ""
    if first in ("SET", "RESET"):
        if "=" in tokens:
            key = tokens[1].strip("'") if len(tokens) > 1 else ""
            yield from _values(find(SESSION_OPTIONS, key))
        else:
            yield from (Found(o.key, _told(o)) for o in SESSION_OPTIONS if not o.key.endswith(".*"))
        return
    if upper[-1:] == ["JOB"]:
        yield from _jobs()
        return
    given = _given(tokens)
    if given is None:
        yield from _files(string)
        return
    if tokens[-1] == "=":
        key = tokens[-2].strip("'")
        option = next((o for o in vocabulary.table_options(None, None) if o.key == key), None)
        if key == "connector":
            yield from map(Found, vocabulary.connectors())
        elif key == "format":
            yield from map(Found, vocabulary.formats())
        elif key == "path" or key.endswith(".path"):
            yield from _files(string)
        yield from _values(option)
        return
    options = vocabulary.table_options(given.get("connector"), given.get("format"))
    yield from (Found(o.key, _told(o)) for o in options if o.key not in given)


def _given(tokens: list[str]) -> dict[str, str] | None:
    """The options of a WITH (…), or of a hint, that is open; None outside."""
    upper = [t.upper() for t in tokens]
    opened = max(
        (i for i, t in enumerate(tokens) if t == "(" and upper[i - 1 : i] in (["WITH"], ["OPTIONS"])), default=-1
    )
    if opened < 0 or ")" in tokens[opened:]:
        return None
    inside = tokens[opened + 1 :]
    return {
        inside[i - 1].strip("'"): inside[i + 1].strip("'")
        for i, t in enumerate(inside)
        if t == "=" and 0 < i < len(inside) - 1
    }


def _values(option: Option | None) -> Iterator[Found]:
    if option is None:
        return
    default = None if option.default is None else str(option.default)
    choices = option.choices or (("true", "false") if option.kind == "bool" else ())
    for c in choices:
        yield Found(c, "the default" if default is not None and c.lower() == default.lower() else "")


def _told(o: Option) -> str:
    default = "" if o.default is None or o.kind in ("duration", "memory") else f" (default {str(o.default).lower()})"
    return f"{o.doc}{default}"


def _files(beginning: str) -> Iterator[Found]:
    directory, _, name = beginning.rpartition("/")
    head = f"{directory}/" if "/" in beginning else ""
    try:
        entries = sorted(os.scandir(os.path.expanduser(head) or "."), key=lambda e: e.name)
    except OSError:
        return
    for e in entries:
        if not e.name.startswith(".") or name.startswith("."):
            yield Found(head + e.name + ("/" if e.is_dir() else ""), "directory" if e.is_dir() else "")


def _jobs() -> Iterator[Found]:
    from sqlstream.runtime.jobs import views

    for v in views():
        yield Found(v.place.name, v.status.state)


# ---- words


def _of_word(tokens: list[str], prefix: str, session: Session | None) -> Iterator[Found]:
    upper = [t.upper() for t in tokens]
    found = _in_place(tokens, upper, session)
    lower = prefix.islower()
    for f in found:
        keep = not lower or f.what in ("table", "view", "column", "alias", "user function", "database")
        yield f if keep else Found(f.text.lower(), f.what)


def _in_place(tokens: list[str], upper: list[str], session: Session | None) -> Iterator[Found]:
    if not tokens:
        yield from (Found(s.name, s.does) for s in STATEMENTS)
        return
    last = upper[-1]
    if last == ".":
        before = tokens[-2].strip("`")
        yield from _columns(session, _aliases(tokens, session).get(before, before))
        if session is not None and session.catalog.knows((before,)):
            yield from _of_database(session, before)
        return
    if len(tokens) == 1 and last in _FOLLOWING:
        yield from (Found(w, "keyword") for w in _FOLLOWING[last])
        return
    if last == "HELP":
        yield from (Found(s.name, s.does) for s in STATEMENTS)
        return
    if upper in _OF_DATABASES:
        yield from () if session is None else (Found(n, "database") for n in session.catalog.databases())
        return
    if last in _RELATION and not (last == "TABLE" and upper[0] == "CREATE" and "SHOW" not in upper):
        yield from _relations(session)
        if last in ("FROM", "JOIN", "TABLE"):
            yield from (Found(f.name, "table function") for f in vocabulary.functions() if f.kind == "table")
        return
    aliases = _aliases(tokens, session)
    for relation in dict.fromkeys(aliases.values()):
        yield from _columns(session, relation)
    yield from (Found(a, "alias") for a in aliases)
    if session is not None:
        yield from (Found(f, "user function") for f in session.catalog.functions())
        yield from (Found(f.name, f.example or f"{f.kind} function") for f in vocabulary.functions())
    yield from (Found(k, "keyword") for k in vocabulary.KEYWORDS)


def _relations(session: Session | None) -> Iterator[Found]:
    if session is not None:
        from sqlstream.catalog.objects import View  # not before the prompt: it needs the SQL parser

        catalog = session.catalog
        yield from _of_database(session, catalog.current)
        for identity in catalog.names():
            if (found := catalog.find(identity)) is not None and found.database != catalog.current:
                yield Found(catalog.spelled(found), "view" if isinstance(found, View) else "table")
        yield Found("information_schema", "what the catalog holds")


def _of_database(session: Session, database: str) -> Iterator[Found]:
    views = set(session.catalog.views(database))
    yield from (Found(n, "view" if n in views else "table") for n in session.catalog.tables(database))


def _aliases(tokens: list[str], session: Session | None) -> dict[str, str]:
    """Names by which a statement calls the relations that it reads, and theirs."""
    out: dict[str, str] = {}
    if session is None:
        return out
    for i, token in enumerate(tokens):
        name = token.strip("`")
        if i == 0 or tokens[i - 1].upper() not in (*_RELATION, ",", "."):
            continue
        qualifiers = (tokens[i - 2].strip("`"),) if tokens[i - 1] == "." and i > 1 else ()
        if not session.catalog.knows(qualifiers):  # it is an alias
            qualifiers = ()
        identity = session.catalog.identity((*qualifiers, name))
        if session.catalog.find(identity) is None:
            continue
        following = tokens[i + 1 : i + 3]
        alias = (
            following[1] if len(following) > 1 and following[0].upper() == "AS" else following[0] if following else ""
        )
        named = alias.strip("`").isidentifier() and alias.upper() not in vocabulary.KEYWORDS
        out[alias.strip("`") if named else name] = identity
    return out


def _columns(session: Session | None, relation: str) -> Iterator[Found]:
    """Those of a relation of this identity; of a name, of the current database's."""
    if session is None:
        return
    found = session.catalog.find(relation) or session.catalog.find(session.catalog.identity((relation,)))
    if found is None:
        return
    try:
        names = session.columns_of(found).names
    except SqlStreamError:
        return
    yield from (Found(n, "column") for n in names)
