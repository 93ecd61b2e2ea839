"""The dialect: connections of one engine over one catalog, and what runs on them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from sqlalchemy import exc, schema
from sqlalchemy.engine import default
from sqlalchemy.engine.url import URL

import sqlstream
from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.databases import DATABASE
from sqlstream.catalog.objects import Table, View
from sqlstream.dbapi import Connection, InterfaceError
from sqlstream.sqlalchemy.compiler import _Definitions, _Names, _Queries
from sqlstream.sqlalchemy.places import Places
from sqlstream.sqlalchemy.reflection import Reflection, found
from sqlstream.sqlalchemy.types import COLUMN_TYPES, _TypeCompiler

_AUTOCOMMIT = "AUTOCOMMIT"


class _Context(default.DefaultExecutionContext):
    """One statement."""

    statement: str

    def pre_exec(self) -> None:
        self._table: Any = None  # one that is dropped
        if self._what in ("drop_table", "drop_view"):
            self._table = self._found()
            if self._table is not None and self._table.temporary:  # SQLAlchemy does not know what it has not made
                self.statement = self.statement.replace("DROP ", "DROP TEMPORARY ", 1)
        elif self.isdelete and self.statement.startswith("INSERT OVERWRITE"):
            self._check_emptied(self.compiled.statement.table)

    def _check_emptied(self, table: Any) -> None:
        # it replaces the partitions that there are rows for, which is none
        if getattr(found(self._catalog, table.schema, table.name), "partitioned_by", ()):
            raise exc.CompileError(
                f"delete() of table '{table.name}': it is partitioned, and nothing would be deleted; drop and create it, or "
                "remove its files"
            )

    def post_exec(self) -> None:
        if self._what == "create_table" and isinstance(made := self._found(), Table):
            self.dialect.places.make(made.name, made.option_map)
        if isinstance(self._table, Table):
            self.dialect.places.forget(self._table.name, self._table.option_map)

    @property
    def _what(self) -> str | None:
        return getattr(getattr(self.compiled, "statement", None), "__visit_name__", None)

    def _found(self) -> Table | View | None:
        element = self.compiled.statement.element
        return found(self._catalog, element.schema, element.name)

    @property
    def _catalog(self) -> Catalog:
        found: Catalog = self.root_connection.connection.driver_connection.session.catalog
        return found

    def create_server_side_cursor(self) -> Any:
        return self._dbapi_connection.cursor()  # its rows come as they are there anyway


class SqlStreamDialect(Reflection, default.DefaultDialect):
    """`create_engine("sqlstream://", table_options=…)`: `table_options` are those of tables that declare none
    (`places.py`)."""

    name = driver = "sqlstream"
    supports_statement_cache = True
    default_paramstyle = "qmark"
    default_schema_name = DATABASE
    max_identifier_length = 255

    statement_compiler = _Queries
    ddl_compiler = _Definitions
    type_compiler_cls = _TypeCompiler
    preparer = _Names
    execution_ctx_cls = _Context
    colspecs = COLUMN_TYPES
    construct_arguments = [(schema.Table, {"with": None, "watermark": None, "partitioned_by": None})]

    supports_native_boolean = supports_native_decimal = supports_multivalues_insert = True
    supports_server_side_cursors = supports_comments = inline_comments = cte_follows_insert = True
    div_is_floordiv = supports_is_distinct_from = True
    supports_alter = supports_default_values = supports_empty_insert = supports_sequences = False
    postfetch_lastrowid = insert_returning = update_returning = delete_returning = False

    def __init__(self, table_options: Mapping[str, str] | None = None, **kw: Any) -> None:
        super().__init__(**kw)
        self.places = Places(table_options)
        self._lock = threading.Lock()
        self._first: Connection | None = None

    @classmethod
    def import_dbapi(cls) -> Any:
        """sqlstream, which is a module of PEP 249."""
        return sqlstream

    # ---- connections

    def create_connect_args(self, url: URL) -> tuple[list[Any], dict[str, Any]]:
        """From the URL: the catalog's directory, and behind the `?` what `sqlstream.connect` takes."""
        if url.host or url.port or url.username or url.password:
            raise exc.ArgumentError(
                f"{url.render_as_string()}: sqlstream runs in the program and has no host: sqlstream:///directory"
            )
        options: dict[str, Any] = {k: v if isinstance(v, str) else v[-1] for k, v in url.query.items()}
        if "fetch_timeout" in options:
            try:
                options["fetch_timeout"] = float(options["fetch_timeout"])
            except ValueError:
                raise exc.ArgumentError(
                    f"fetch_timeout is a number of seconds, not {options['fetch_timeout']}"
                ) from None
        return [url.database or ":memory:"], options

    def connect(self, *cargs: Any, **cparams: Any) -> Any:
        """A connection. All of an engine have one catalog: what one creates, the others see, in memory too."""
        with self._lock:
            if self._first is None or self._first.closed:
                cparams.setdefault("replacement_scans", False)  # the calling code would be SQLAlchemy's
                self._first = sqlstream.connect(*cargs, **cparams)
                self.places.within(str(cargs[0]) if cargs else ":memory:")
            return self._first.another()

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """Whether the connection is closed."""
        return isinstance(e, InterfaceError) and connection is not None and connection.closed

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:
        return tuple(int(part) for part in sqlstream.__version__.split(".")[:3])

    def _get_default_schema_name(self, connection: Any) -> str:
        return DATABASE

    # ---- statements

    def do_execute(self, cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        """Nothing for CREATE INDEX and DROP INDEX, which are empty."""
        if statement:
            cursor.execute(statement, parameters)

    # ---- transactions: there are none, so that SQLAlchemy's have nothing to do

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Nothing: what statements did stays."""

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        """AUTOCOMMIT."""
        return _AUTOCOMMIT

    def get_isolation_level_values(self, dbapi_conn: Any) -> Any:
        """AUTOCOMMIT alone."""
        return [_AUTOCOMMIT]

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """SQLAlchemy has checked that it is AUTOCOMMIT."""
