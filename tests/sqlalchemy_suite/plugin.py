"""SQLAlchemy's own tests of dialects over sqlstream (`suite.py`). tests/test_sqlalchemy.py runs them in a process
of their own, since SQLAlchemy's plugin, which this one extends, changes how all tests are collected."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from exceptions import EXCEPTIONS
from sqlalchemy.dialects import registry
from sqlalchemy.testing import provision

registry.register("sqlstream", "sqlstream.sqlalchemy", "dialect")

from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402,F403


@provision.generate_driver_url.for_db("sqlstream")
def _url(url, driver, query_str):
    return url


@provision.temp_table_keyword_args.for_db("sqlstream")
def _temporary(config, engine):
    return {"prefixes": ["TEMPORARY"]}


@provision.delete_from_all_tables.for_db("sqlstream")
def _delete(connection, config, metadata):
    """Between tests, which DELETE would do with a job for each table."""
    catalog = connection.connection.driver_connection.session.catalog
    for table in metadata.sorted_tables:
        if (found := catalog.find(table.name)) is not None:
            shutil.rmtree(found.option_map["path"])
            Path(found.option_map["path"]).mkdir()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    used = set()
    for item in session.items:
        case = item.cls.__name__.partition("_sqlstream")[0]
        for name in (f"{case}.{item.originalname or item.name}", f"{case}.*"):
            if name in EXCEPTIONS:
                used.add(name)
                item.add_marker(pytest.mark.skip(reason=EXCEPTIONS[name]))
    if unused := EXCEPTIONS.keys() - used:
        raise pytest.UsageError(f"exceptions for tests that are not there: {', '.join(sorted(unused))}")
