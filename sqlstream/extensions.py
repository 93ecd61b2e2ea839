"""Connectors and formats of other packages: entry points of the groups `sqlstream.connectors` and `sqlstream.formats`.

    [project.entry-points."sqlstream.connectors"]
    tail = "my_package.tail:TailConnector"

They are looked for when a table names one that is none of ours, so a query without such a table pays nothing for it.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from sqlstream.errors import RunError

CONNECTORS, FORMATS = "sqlstream.connectors", "sqlstream.formats"
T = TypeVar("T")


def names(group: str) -> list[str]:
    """Of all that are installed."""
    return sorted({e.name for e in entry_points(group=group)})


def extension(group: str, name: str, base: type[T]) -> type[T] | None:
    """The class of that name, a `base`; None: no package has one. RunError where it cannot be loaded, or is something else."""
    found = list(entry_points(group=group, name=name))
    if not found:
        return None
    first, what = found[0], group.rpartition(".")[2].removesuffix("s")
    if len({e.value for e in found}) > 1:
        raise RunError(
            f"{what} '{name}': several packages have one: {', '.join(sorted(map(_of, found)))}",
            hint="uninstall all of them but one",
        )
    try:
        loaded = first.load()
    except Exception as e:
        raise RunError(f"{what} '{name}' of {_of(first)} cannot be loaded: {type(e).__name__}: {e}") from e
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise RunError(f"{what} '{name}' of {_of(first)} is no subclass of {base.__module__}.{base.__qualname__}")
    if (called := getattr(loaded, "name", "")) != name:
        raise RunError(f"{what} '{name}' of {_of(first)} calls itself '{called}'")
    return loaded


def _of(e: EntryPoint) -> str:
    """The package, and the place in it."""
    return f"{e.dist.name if e.dist is not None else 'a package'} ({e.value})"
