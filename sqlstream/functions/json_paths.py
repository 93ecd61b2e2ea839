"""Paths into JSON: `lax $.a[0].*`. Names, positions and wildcards; what else SQL/JSON has is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlstream.errors import BindError, NotSupported

ANY_FIELD, ANY_ITEM = ".*", "[*]"
Step = str | int  # ANY_FIELD, ANY_ITEM or '.name'; a position
_STEP = re.compile(
    r"""\.(?P<name>[^.\[\]*\s'"()?@]+)|\.(?P<fields>\*)|\[\s*(?P<item>\d+)\s*\]|\[\s*(?P<items>\*)\s*\]"""
    r"""|\[\s*'(?P<single>[^']*)'\s*\]|\[\s*"(?P<double>[^"]*)"\s*\]|\."(?P<quoted>[^"]*)\""""
)


@dataclass(frozen=True)
class JsonPath:
    """`lax`: what is not there is empty, and no error."""

    lax: bool
    steps: tuple[Step, ...]

    @property
    def many(self) -> bool:
        """Whether it stands for any number of values."""
        return ANY_FIELD in self.steps or ANY_ITEM in self.steps

    @property
    def duckdb(self) -> str:
        """DuckDB's form."""
        return "$" + "".join(
            f"[{s}]" if isinstance(s, int) else s if s in (ANY_FIELD, ANY_ITEM) else f'."{s[1:]}"' for s in self.steps
        )


def parse(text: str, what: str) -> JsonPath:
    """A path as it is written, for the function `what`. BindError where it is none."""
    m = re.fullmatch(r"\s*(?:(lax|strict)\s+)?\$(.*?)\s*", text, re.DOTALL)
    if m is None:
        raise BindError(f"{what}: '{text}' is no path", hint="a path begins with $: '$.a.b', '$[0]', 'lax $.a'")
    steps: list[Step] = []
    rest, at = m[2], 0
    while at < len(rest):
        step = _STEP.match(rest, at)
        if step is None:
            raise NotSupported(
                f"{what}: '{rest[at:]}' in the path '{text}' is not supported",
                hint="a path has .name, ['name'], [0], [*] and .*",
            )
        kind, value = step.lastgroup, step[step.lastgroup or 0]
        if kind == "item":
            steps.append(int(value))
        elif kind in ("fields", "items"):
            steps.append(ANY_FIELD if kind == "fields" else ANY_ITEM)
        else:
            steps.append(f".{value}")
        at = step.end()
    return JsonPath(m[1] == "lax", tuple(steps))
