"""Databases are SQLAlchemy's schemas."""

from __future__ import annotations

import pytest

sa = pytest.importorskip("sqlalchemy")


def test_databases_are_schemas() -> None:
    with sa.create_engine("sqlstream://").connect() as connection:
        connection.execute(sa.text("CREATE DATABASE sales"))
        connection.execute(sa.text("CREATE VIEW sales.v AS SELECT 1 AS a"))
        connection.execute(sa.text("CREATE VIEW w AS SELECT 1 AS b"))
        inspector = sa.inspect(connection)
        assert inspector.get_schema_names() == ["default_database", "sales"]
        assert inspector.has_schema("default_catalog.sales") and not inspector.has_schema("sale")
        assert inspector.get_view_names("sales") == ["v"]
        assert inspector.get_view_names() == ["w"]
        assert inspector.get_view_names("nowhere") == []
        table = sa.Table("v", sa.MetaData(), schema="sales", autoload_with=connection)
        assert connection.execute(sa.select(table.c.a)).all() == [(1,)]
