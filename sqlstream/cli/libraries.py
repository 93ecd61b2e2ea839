"""The libraries that we need, and those of extras: which are installed, and whether their versions do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlstream.distribution import NAME


@dataclass(frozen=True)
class Library:
    """A distribution that we need, or that an `extra` brings ("": all need it). `wanted`: its versions, as pip has them;
    `version`: the one that is installed, or None."""

    name: str
    wanted: str
    extra: str
    version: str | None

    @property
    def fits(self) -> bool:
        """Whether what is installed is one of those that are wanted."""
        return self.version is not None and satisfies(self.version, self.wanted)


def libraries() -> list[Library]:
    """What our own metadata names: for all, and of the extras that are for users. [] where we are not installed by pip."""
    from importlib import metadata

    try:
        named = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for requirement in named:
        m = re.match(r"([\w.-]+)(?:\[[^]]*\])?\s*([^;]*?)\s*(?:;.*extra\s*==\s*['\"]([\w-]+)['\"].*)?$", requirement)
        if m is None or m[3] in ("test", "dev") or m[1] == NAME:
            continue
        try:
            version = metadata.version(m[1])
        except metadata.PackageNotFoundError:
            version = None
        found.append(Library(m[1], m[2].replace(" ", ""), m[3] or "", version))
    return found


def satisfies(version: str, wanted: str) -> bool:
    """Whether a version is one of `>=1.2,<3`. Of a release before another (3.0rc1) the number counts."""

    def number(text: str) -> list[int]:
        parts = [int(d) for d in re.findall(r"\d+", re.split(r"[a-zA-Z+]", text)[0])]
        return parts + [0] * (6 - len(parts))

    for part in filter(None, wanted.split(",")):
        m = re.fullmatch(r"(>=|<=|==|!=|<|>|~=)\s*(.+)", part)
        if m is None:
            continue
        have, want = number(version), number(m[2])
        held = {
            ">=": have >= want,
            "<=": have <= want,
            "==": have == want,
            "!=": have != want,
            "<": have < want,
            ">": have > want,
            "~=": have >= want and have[: m[2].count(".")] == want[: m[2].count(".")],
        }
        if not held[m[1]]:
            return False
    return True
