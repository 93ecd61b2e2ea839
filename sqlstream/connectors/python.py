"""Connector 'python': what a Python program has registered under a name, as a table.

    WITH ('connector' = 'python', 'object' = 'orders')

The objects are kept here, for the process: Arrow tables, iterators of batches, functions. `python_source.py` reads
them, `python_sink.py` gives rows to them. The DB-API's `register` makes such tables (`dbapi/registered.py`).
"""

from __future__ import annotations

import threading
from typing import Protocol

from sqlstream.contracts import Connector, Sink, Source, TableContext
from sqlstream.errors import NotSupported, OptionError, did_you_mean
from sqlstream.options import Option, read


class PythonObject(Protocol):
    """What stands behind a table."""

    def source(self, table: TableContext) -> Source:
        """What a scan reads; NotSupported where it is written only."""

    def sink(self, table: TableContext) -> Sink:
        """What an INSERT writes to; NotSupported where it is read only."""


class ReadObject:
    """One that is read only."""

    def sink(self, table: TableContext) -> Sink:
        """NotSupported."""
        raise NotSupported(
            f"table {table.name}: connector 'python' cannot be written to where its object gives rows",
            hint="register_sink makes a table that is written",
        )


class PythonObjects:
    """By name. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, PythonObject] = {}

    def add(self, name: str, item: PythonObject) -> str:
        """Keeps it under `name`, or, where that is another's, under `name#2` and so on. The name it has."""
        with self._lock:
            free, n = name, 1
            while free in self._objects:
                n += 1
                free = f"{name}#{n}"
            self._objects[free] = item
        return free

    def remove(self, name: str) -> None:
        """Forgets it, if it is there. A query that reads it goes on."""
        with self._lock:
            self._objects.pop(name, None)

    def get(self, name: str, table: str) -> PythonObject:
        """OptionError when there is none."""
        with self._lock:
            found, names = self._objects.get(name), list(self._objects)
        if found is None:
            raise OptionError(
                f"table {table}: no Python object '{name}' is registered in this process",
                hint=did_you_mean(name, names, "objects") if names else "connection.register(name, object)",
            )
        return found


OBJECTS = PythonObjects()


class PythonConnector(Connector):
    """`'connector' = 'python'`."""

    name = "python"
    options = (Option("object", "string", required=True, doc="the name under which it is registered in the process"),)

    def source(self, table: TableContext) -> Source:
        return self._object(table).source(table)

    def sink(self, table: TableContext) -> Sink:
        return self._object(table).sink(table)

    def _object(self, table: TableContext) -> PythonObject:
        options = read(table.options, self.options, f"table {table.name}")
        return OBJECTS.get(options["object"], table.name)
