"""Tools that take an engine or a connection as they find it. They are large, and not among the tests' libraries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import sqlstream

sa = pytest.importorskip("sqlalchemy")

from sqlalchemy.dialects import registry  # noqa: E402

registry.register("sqlstream", "sqlstream.sqlalchemy", "dialect")


@pytest.fixture
def connection() -> Iterator[Any]:
    with sqlstream.connect() as made:
        made.execute("CREATE VIEW v AS SELECT 1 AS a, 'x' AS b")
        yield made


def test_marimo_finds_connections_and_engines(connection: Any) -> None:
    pytest.importorskip("marimo")
    from marimo._sql.get_engines import get_engines_from_variables

    engine = sa.create_engine("sqlstream://")
    found = dict(get_engines_from_variables([("connection", connection), ("engine", engine)]))
    assert {name: type(e).__name__ for name, e in found.items()} == {
        "connection": "DBAPIEngine",
        "engine": "SQLAlchemyEngine",
    }
    engine.dispose()


def test_a_marimo_cell(connection: Any) -> None:
    mo = pytest.importorskip("marimo")
    engine = sa.create_engine("sqlstream://")
    for source in (connection, engine):
        frame = mo.sql("SELECT a + 1 AS c FROM (VALUES (1), (2)) AS t(a) ORDER BY a", engine=source, output=False)
        assert list(frame["c"]) == [2, 3]
    engine.dispose()


def test_marimo_shows_the_catalog() -> None:
    pytest.importorskip("marimo")
    from marimo._sql.engines.sqlalchemy import SQLAlchemyEngine

    engine = sa.create_engine("sqlstream:///:memory:")
    with engine.begin() as c:
        c.exec_driver_sql("CREATE VIEW v AS SELECT 1 AS a, 'x' AS b")
    (database,) = SQLAlchemyEngine(engine).get_databases(
        include_schemas=True, include_tables=True, include_table_details=True
    )
    (schema,) = database.schemas
    (table,) = schema.tables
    assert (schema.name, table.name, [c.name for c in table.columns]) == ("default_database", "v", ["a", "b"])
    engine.dispose()


def test_jupysql() -> None:
    pytest.importorskip("sql.magic", reason="JupySQL is not installed")
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    try:
        shell.run_line_magic("load_ext", "sql")
        assert shell.run_cell("%sql sqlstream://").success
        assert shell.run_cell("%sql CREATE VIEW v AS SELECT 1 AS a, 'x' AS b").success
        assert shell.run_cell("%%sql r <<\nSELECT a, b FROM v").success
        assert [tuple(row) for row in shell.user_ns["r"]] == [(1, "x")]
        assert shell.run_cell("%sqlcmd columns --table v").success
    finally:
        InteractiveShell.clear_instance()
