"""Tables of what scalar functions answer (`tests/functions/*.txt`), by Flink's documentation and source.

    zone Asia/Tokyo                         the session's, for what follows; UTC before

    LEFT: LEFT({STRING}, {INT}) -> STRING   function: expression -> its type
      usual: 'hello'; 2 => "he"             sort: an argument for each {type}, as SQL => the answer as JSON
      null: NULL; 2 => null
      limit: 'hello'; 2147483647 => "hello"
      wrong: 'hello'; -1 => ""
      wrong: ''; 1 => error text            or an error whose message holds this pattern

    PI: PI() -> DOUBLE
      no wrong: it takes nothing            a sort that a function cannot have, and why

Sorts: usual values; NULL, in each of the arguments; limits of the arguments' types; wrong values, such as text that is
not of the form that is wanted. `LOWER, LCASE: {f}({STRING})` is for functions of one meaning under several names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

SORTS = ("usual", "null", "limit", "wrong")


@dataclass(frozen=True)
class Line:
    """One call: its arguments as SQL, the JSON of the answer or the pattern of an error."""

    number: int
    sort: str
    arguments: tuple[str, ...]
    answer: str = ""
    error: str | None = None


@dataclass
class Section:
    """An expression of one function, and the calls of it."""

    file: str
    number: int
    names: tuple[str, ...]
    expression: str
    type: str
    zone: str
    lines: list[Line] = field(default_factory=list)
    without: set[str] = field(default_factory=set)

    @property
    def id(self) -> str:
        return f"{self.names[0]}-{self.file}:{self.number}"

    @property
    def types(self) -> tuple[str, ...]:
        """The types of its arguments."""
        return tuple(t for t in _PLACE.findall(self.expression) if t != "f")

    def over(self, arguments: tuple[str, ...], name: str) -> str:
        """The expression over arguments given as SQL."""
        given = iter(arguments)
        return _PLACE.sub(lambda m: name if m[1] == "f" else next(given), self.expression)


_PLACE = re.compile(r"\{([^{}]+)\}")
_HEAD = re.compile(r"([^:]+): (.+) -> (.+)")
_CALL = re.compile(r"(\w+):(.*?)\s*=> (.+)")


def load(path: Path) -> list[Section]:
    """The sections of a file. ValueError names the line that is wrong."""
    sections: list[Section] = []
    zone = "UTC"
    for number, text in enumerate(path.read_text().splitlines(), 1):
        where = f"{path.name}:{number}"
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        if text.startswith("zone "):
            zone = text[5:].strip()
        elif not text.startswith(" "):
            head = _HEAD.fullmatch(text)
            if head is None:
                raise ValueError(f"{where}: not 'function: expression -> TYPE'")
            names = tuple(n.strip() for n in head[1].split(","))
            sections.append(Section(path.stem, number, names, head[2], head[3], zone))
        elif text.strip().startswith("no "):
            sort, _, reason = text.strip()[3:].partition(":")
            if sort not in SORTS or not reason.strip():
                raise ValueError(f"{where}: not 'no sort: reason'")
            sections[-1].without.add(sort)
        else:
            sections[-1].lines.append(_line(text.strip(), number, where, len(sections[-1].types)))
    return sections


def _line(text: str, number: int, where: str, arguments: int) -> Line:
    found = _CALL.fullmatch(text)
    if found is None or found[1] not in SORTS:
        raise ValueError(f"{where}: not 'sort: arguments => answer'")
    given = tuple(a.strip() for a in found[2].split("; ")) if found[2].strip() else ()
    if len(given) != arguments:
        raise ValueError(f"{where}: {len(given)} arguments, not {arguments}")
    if ("NULL" in given) != (found[1] == "null"):
        raise ValueError(f"{where}: NULL arguments are of the sort 'null'")
    if found[3].startswith("error "):
        return Line(number, found[1], given, error=found[3][6:])
    return Line(number, found[1], given, found[3])
