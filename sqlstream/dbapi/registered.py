"""The Python objects of one connection that are tables: registered by name, or found as variables (replacement scans)."""

from __future__ import annotations

import contextlib
import datetime
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import Any

import pyarrow as pa

from sqlstream import ddl
from sqlstream.catalog.objects import Table, quoted, text
from sqlstream.connectors.python import OBJECTS, PythonObject
from sqlstream.connectors.python_sink import FunctionSink, WrittenObject
from sqlstream.connectors.python_source import CHANGE, columns_of
from sqlstream.contracts import Sink
from sqlstream.dbapi.names import ProgrammingError
from sqlstream.dbapi.objects import is_replaced, object_of
from sqlstream.dbapi.values import literal
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.parser import parse_script
from sqlstream.types import Schema

Watermark = tuple[str, datetime.timedelta | str]
Variables = FrameType | Mapping[str, Any]  # those that the code of a frame sees, or these


class Registered:
    """Temporary tables of connector 'python'."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._keys: dict[str, tuple[str, str]] = {}  # of the objects, and what the catalog calls them, by table

    # ---- by name

    def add(
        self,
        name: str,
        value: Any,
        schema: pa.Schema | str | None = None,
        bounded: bool | None = None,
        watermark: Watermark | None = None,
        primary_key: Sequence[str] = (),
        changelog: bool = False,
    ) -> None:
        """`Connection.register`."""
        arrow = schema if isinstance(schema, pa.Schema) else None
        if isinstance(schema, str):
            arrow = self._physical(schema).arrow_outside()
            if changelog:
                arrow = arrow.insert(0, pa.field(CHANGE, pa.string()))
        found = object_of(value, arrow, bounded, changelog)
        columns = found.schema if arrow is None else arrow
        body = schema if isinstance(schema, str) else declaration(columns, watermark, primary_key, changelog)
        if isinstance(schema, str) and (watermark is not None or primary_key):
            raise ProgrammingError("a schema of SQL says the watermark and the key itself")
        self._declare(name, found.item, body)

    def add_sink(
        self,
        name: str,
        target: Callable[..., Any] | Sink,
        schema: pa.Schema | str,
        changelog: bool = False,
        primary_key: Sequence[str] = (),
    ) -> None:
        """`Connection.register_sink`."""
        if isinstance(target, Sink):
            sink = target
        elif callable(target):
            sink = FunctionSink(name, target, changelog)
        else:
            raise ProgrammingError(f"a {type(target).__name__} is neither a function nor a Sink")
        body = schema if isinstance(schema, str) else declaration(schema, None, primary_key, False)
        self._declare(name, WrittenObject(sink), body)

    def remove(self, name: str) -> None:
        """`Connection.unregister`."""
        if name not in self._keys:
            there = f" (there are: {', '.join(sorted(self._keys))})" if self._keys else ""
            raise ProgrammingError(f"no object '{name}' is registered{there}")
        self._drop(name)

    def close(self) -> None:
        """Forgets all."""
        for name in list(self._keys):
            self._drop(name)

    def _declare(self, name: str, item: PythonObject, body: str) -> None:
        if name in self._keys:
            self._drop(name)
        key = OBJECTS.add(name, item)
        try:
            table = self._table(name, key, body)
            self._session.catalog.add(table)
        except BaseException:
            OBJECTS.remove(key)
            raise
        self._keys[name] = key, table.name

    def _table(self, name: str, key: str, body: str) -> Table:
        statement = _create(name, body, f"'connector' = 'python', 'object' = {text(key)}")
        return ddl.named_table(self._session.environment, statement)

    def _physical(self, body: str) -> Schema:
        return Table("t", _create("t", body, "'connector' = 'python'").columns).physical()

    def _drop(self, name: str) -> None:
        key, identity = self._keys.pop(name)
        OBJECTS.remove(key)
        self._session.catalog.forget_temporary(identity)

    # ---- for a statement

    @contextlib.contextmanager
    def variables(self, frame: Variables | None, session: Session) -> Iterator[None]:
        """While a statement of the session is bound, variables of the code that runs it are tables where there is none of their name."""
        if frame is None:
            yield
            return
        places = (frame,) if isinstance(frame, Mapping) else (frame.f_locals, frame.f_globals)
        made: dict[str, tuple[str, Table]] = {}

        def table(name: str) -> Table | None:
            if name in made:
                return made[name][1]
            value = next((p[name] for p in places if name in p), None)
            if not is_replaced(value):
                return None
            found = object_of(value)
            key = OBJECTS.add(name, found.item)
            made[name] = (key, self._table(name, key, declaration(found.schema)))
            return made[name][1]

        catalog = session.catalog
        catalog.otherwise = table
        try:
            yield
        finally:
            catalog.otherwise = None
            for key, _ in made.values():
                OBJECTS.remove(key)

    @contextlib.contextmanager
    def holding(self, name: str, item: PythonObject, columns: Schema, key: str) -> Iterator[None]:
        """A table of an object for one statement."""
        key = OBJECTS.add(key, item)
        catalog = self._session.catalog
        body = ", ".join(f"{quoted(c.name)} {c.type}" for c in columns)
        identity = catalog.identity((name,))
        try:
            catalog.add(self._table(name, key, body))
            yield
        finally:
            catalog.forget_temporary(identity)
            OBJECTS.remove(key)


def declaration(
    schema: pa.Schema, watermark: Watermark | None = None, primary_key: Sequence[str] = (), changelog: bool = False
) -> str:
    """The columns, watermark and key of CREATE TABLE for batches of this schema."""
    columns = columns_of(schema)
    if changelog:
        if CHANGE not in schema.names:
            raise ProgrammingError(f"a changelog's batches have a column '{CHANGE}', which says what each row is")
        columns = Schema(tuple(c for c in columns if c.name != CHANGE))
    of_time = None if watermark is None else watermark[0]
    parts = []
    for c in columns:
        t = c.type
        if c.name == of_time and t.is_timestamp and (t.precision or 0) > 3:
            t = replace(t, precision=3)  # event time has no more
        parts.append(f"{quoted(c.name)} {t}")
    if watermark is not None:
        column, delay = watermark
        late = literal(delay) if isinstance(delay, datetime.timedelta) else delay
        parts.append(f"WATERMARK FOR {quoted(column)} AS {quoted(column)} - {late}")
    if primary_key:
        parts.append(f"PRIMARY KEY ({', '.join(map(quoted, primary_key))}) NOT ENFORCED")
    return ", ".join(parts)


def _create(name: str, body: str, options: str) -> st.CreateTable:
    (made,) = parse_script(f"CREATE TEMPORARY TABLE {quoted(name)} ({body}) WITH ({options})")
    assert isinstance(made, st.CreateTable)
    return made


def caller() -> FrameType | None:
    """The innermost frame that is not of this package."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "sqlstream":
        frame = frame.f_back
    return frame
