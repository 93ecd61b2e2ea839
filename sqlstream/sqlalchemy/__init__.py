"""SQLAlchemy over sqlstream: `sqlalchemy.create_engine("sqlstream://")` (extra `sqlalchemy`; docs/tools.md).

sqlstream://                        a catalog in memory, that of the engine
sqlstream:///shop?fetch_timeout=5   one that directory `shop` keeps; behind the `?` what `sqlstream.connect` takes

dialect     connections, their options, what runs       types       SQL types, both ways
compiler    SQL and DDL as Flink writes them            reflection  what the catalog holds
places      where a table is kept that says nothing of it
"""

from __future__ import annotations

from sqlstream.sqlalchemy.dialect import SqlStreamDialect
from sqlstream.sqlalchemy.types import (
    ARRAY,
    BYTES,
    DOUBLE,
    INTERVAL,
    INTERVAL_YEAR_TO_MONTH,
    MAP,
    MULTISET,
    ROW,
    STRING,
    TIME,
    TIMESTAMP,
    TIMESTAMP_LTZ,
    TINYINT,
)

dialect = SqlStreamDialect

__all__ = [
    "ARRAY",
    "BYTES",
    "DOUBLE",
    "INTERVAL",
    "INTERVAL_YEAR_TO_MONTH",
    "MAP",
    "MULTISET",
    "ROW",
    "STRING",
    "SqlStreamDialect",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "dialect",
]
