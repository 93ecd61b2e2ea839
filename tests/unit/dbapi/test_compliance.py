"""The public suites for PEP 249 (tests/vendored). Each exception is named here, with its reason."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any

import pytest

import sqlstream

VENDORED = Path(__file__).parents[2] / "vendored"

# What a driver may leave out, and the suites ask a driver's tests to say.
EXCEPTIONS = {
    "test_nextset": "nextset is optional, and is not there: executescript gives the rows of its last statement",
    "test_setoutputsize": "has to be tested by each driver (test_dbapi.py: it does nothing, as PEP 249 allows)",
    "test_non_idempotent_close": "the suite has it switched off by default: close may be called again, as elsewhere",
    "test_rollback": "there are no transactions: rollback raises NotSupportedError, as PEP 249 allows",
    "test_callproc": "callproc is optional, and there are no stored procedures",
}


def suite(file: str) -> Any:
    spec = importlib.util.spec_from_file_location(file, VENDORED / f"{file}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.DatabaseAPI20Test


def driven(base: type[unittest.TestCase], name: str) -> type[unittest.TestCase]:
    """The suite with this driver. A table is a directory of files, and is there as long as a test."""

    class Driven(base):  # type: ignore[valid-type, misc]
        driver = sqlstream

        def setUp(self) -> None:
            self.directory = tempfile.mkdtemp()
            for table in ("booze", "barflys"):  # what is not there cannot be read
                (Path(self.directory) / table).mkdir()
            kept = f"WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = '{self.directory}"
            self.connect_args = (f"{self.directory}/catalog",)
            self.ddl1 = f"CREATE TABLE {self.table_prefix}booze (name VARCHAR(20)) {kept}/booze')"
            self.ddl2 = (
                f"CREATE TABLE {self.table_prefix}barflys (name VARCHAR(20), drink VARCHAR(30)) {kept}/barflys')"
            )
            self.insert = "INSERT"

        def tearDown(self) -> None:
            shutil.rmtree(self.directory)

    for test, reason in EXCEPTIONS.items():
        setattr(Driven, test, unittest.skip(reason)(lambda self: None))
    Driven.__name__ = Driven.__qualname__ = name
    return Driven


TestSuite = driven(suite("dbapi20"), "TestSuite")
TestSuiteOfPyGreSQL = driven(suite("dbapi20_pygresql"), "TestSuiteOfPyGreSQL")


@pytest.mark.parametrize("made", [TestSuite, TestSuiteOfPyGreSQL])
def test_every_exception_is_of_a_test(made: type[unittest.TestCase]) -> None:
    assert set(EXCEPTIONS) <= {*dir(made.__bases__[0])}
