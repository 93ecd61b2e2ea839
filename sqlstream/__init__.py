"""sqlstream: Flink-style SQL over unbounded and bounded inputs. `connect` opens a DB-API connection.

    import sqlstream
    with sqlstream.connect() as connection:
        for row in connection.cursor().execute("SELECT 1"): ...

`udf` marks Python functions for CREATE FUNCTION.

Names of PEP 249 are taken from `sqlstream.dbapi` when they are first used: `import sqlstream` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlstream.dbapi import (
        BINARY,
        DATETIME,
        NUMBER,
        ROWID,
        STRING,
        Connection,
        Cursor,
        DatabaseError,
        DataError,
        Error,
        IntegrityError,
        InterfaceError,
        InternalError,
        NotSupportedError,
        OperationalError,
        ProgrammingError,
        Warning,
        connect,
    )
    from sqlstream.functions.user import udf

__version__ = "0.1.0"

# PEP 249: threads may share the module, not connections; parameters are question marks
apilevel = "2.0"
threadsafety = 1
paramstyle = "qmark"

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Warning",
    "__version__",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
    "udf",
]


def __getattr__(name: str) -> Any:
    if name == "udf":
        from sqlstream.functions.user import udf

        return udf
    if name in __all__:
        from sqlstream import dbapi

        return getattr(dbapi, name)
    raise AttributeError(f"module 'sqlstream' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
