"""Objects that are registered are tables of the database that is current then."""

from __future__ import annotations

import pyarrow as pa

import sqlstream


def test_they_are_of_the_current_database() -> None:
    with sqlstream.connect() as connection:
        connection.execute("CREATE DATABASE d")
        connection.execute("USE d")
        connection.register("r", pa.table({"a": [1, 2]}))
        assert sorted(connection.execute("SELECT a FROM r WHERE a > ?", [0]).fetchall()) == [(1,), (2,)]
        connection.execute("USE default_database")
        assert connection.execute("SHOW TABLES").fetchall() == []
        assert sorted(connection.execute("SELECT d.r.a FROM d.r").fetchall()) == [(1,), (2,)]
        connection.unregister("r")
        assert connection.execute("SHOW TABLES FROM d").fetchall() == []


def test_variables_are_tables_whatever_is_current() -> None:
    rows = pa.table({"a": [5]})
    with sqlstream.connect() as connection:
        connection.execute("CREATE DATABASE d")
        connection.execute("USE d")
        assert connection.execute("SELECT rows.a FROM rows").fetchall() == [(rows["a"][0].as_py(),)]
