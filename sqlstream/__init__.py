"""sqlstream: Flink-style SQL over unbounded and bounded inputs. `connect` opens a DB-API connection.

    import sqlstream
    with sqlstream.connect() as connection:
        for row in connection.cursor().execute("SELECT 1"): ...

`udf` and `udtf` mark Python functions for CREATE FUNCTION; `ProcessTableFunction` is what classes for it derive from, whose states
are declared by descriptors.

Names of PEP 249 are taken from `sqlstream.dbapi` when they are first used: `import sqlstream` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlstream.distribution import VERSION

if TYPE_CHECKING:
    from sqlstream.dbapi import (
        BINARY,
        DATETIME,
        NUMBER,
        ROWID,
        STRING,
        Binary,
        Connection,
        Cursor,
        DatabaseError,
        DataError,
        Date,
        DateFromTicks,
        Error,
        FetchTimeout,
        IntegrityError,
        InterfaceError,
        InternalError,
        Job,
        NotSupportedError,
        OperationalError,
        ProgrammingError,
        QueryCanceled,
        Relation,
        Time,
        TimeFromTicks,
        Timestamp,
        TimestampFromTicks,
        Warning,
        connect,
        default_connection,
        sql,
    )
    from sqlstream.functions.classes import FunctionContext, ScalarFunction, TableFunction
    from sqlstream.functions.user import udf, udtf
    from sqlstream.functions.user_aggregates import udaf
    from sqlstream.keyed_state.descriptors import (
        AggregateFunction,
        AggregatingStateDescriptor,
        ListStateDescriptor,
        MapStateDescriptor,
        ReducingStateDescriptor,
        ValueStateDescriptor,
    )
    from sqlstream.process_functions.function import ArgumentTrait, Context, ProcessTableFunction, Row

__version__ = VERSION

# PEP 249: threads may share the module, not connections; parameters are question marks, or names (:name)
apilevel = "2.0"
threadsafety = 1
paramstyle = "qmark"

__all__ = [
    "AggregateFunction",
    "AggregatingStateDescriptor",
    "ArgumentTrait",
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "ScalarFunction",
    "TableFunction",
    "Binary",
    "Connection",
    "Context",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "FetchTimeout",
    "FunctionContext",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "Job",
    "ListStateDescriptor",
    "MapStateDescriptor",
    "NotSupportedError",
    "OperationalError",
    "ProcessTableFunction",
    "ProgrammingError",
    "QueryCanceled",
    "ReducingStateDescriptor",
    "Relation",
    "Row",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "ValueStateDescriptor",
    "Warning",
    "__version__",
    "apilevel",
    "connect",
    "default_connection",
    "paramstyle",
    "sql",
    "threadsafety",
    "udaf",
    "udf",
    "udtf",
]


# What is not of PEP 249, and where it is.
_ELSEWHERE = {
    **dict.fromkeys(("udf", "udtf"), "functions.user"),
    "udaf": "functions.user_aggregates",
    **dict.fromkeys(("FunctionContext", "ScalarFunction", "TableFunction"), "functions.classes"),
    **dict.fromkeys(("ArgumentTrait", "Context", "ProcessTableFunction", "Row"), "process_functions.function"),
    **dict.fromkeys(
        (
            "AggregateFunction", "AggregatingStateDescriptor", "ListStateDescriptor", "MapStateDescriptor",
            "ReducingStateDescriptor", "ValueStateDescriptor",
        ),
        "keyed_state.descriptors",
    ),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(f"sqlstream.{_ELSEWHERE.get(name, 'dbapi')}"), name)
    raise AttributeError(f"module 'sqlstream' has no attribute '{name}'")


def load_ipython_extension(shell: Any) -> None:
    """For `%load_ext sqlstream`, which gives notebooks %sqlstream and %%sqlstream."""
    from sqlstream.notebook import load

    load(shell)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
