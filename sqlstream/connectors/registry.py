"""The connectors there are, by name. Adding one is a file and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from sqlstream.connectors.base import Connector, TableContext
from sqlstream.connectors.blackhole import BlackholeConnector
from sqlstream.connectors.datagen import DatagenConnector
from sqlstream.connectors.filesystem import FilesystemConnector
from sqlstream.connectors.nexmark import NexmarkConnector
from sqlstream.connectors.print import PrintConnector
from sqlstream.errors import OptionError, did_you_mean
from sqlstream.options import read

CONNECTORS: dict[str, type[Connector]] = {
    "blackhole": BlackholeConnector,
    "datagen": DatagenConnector,
    "filesystem": FilesystemConnector,
    "nexmark": NexmarkConnector,
    "print": PrintConnector,
}


def connector(table: TableContext, name: str | None = None) -> Connector:
    """The connector of `table`, its options checked (names, values, required ones).

    `name`: the value of option 'connector'; else it is among `table.options`, which may hold it or not.
    """
    given: Mapping[str, str] = table.options
    if name is None:
        name = given.get("connector")
    if name is None:
        raise OptionError(
            f"table {table.name}: option 'connector' is missing", hint="connectors: " + ", ".join(sorted(CONNECTORS))
        )
    if name not in CONNECTORS:
        there = ", ".join(sorted(CONNECTORS))
        raise OptionError(
            f"table {table.name}: unknown connector '{name}' (there are: {there})",
            hint=did_you_mean(name, CONNECTORS, "connectors"),
        )
    found = CONNECTORS[name]()
    own = {k: v for k, v in given.items() if k != "connector"}
    read(own, found.known_options(own), f"table {table.name}")
    return found
