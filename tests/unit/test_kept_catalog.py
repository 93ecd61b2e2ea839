"""A catalog that several processes have."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlstream.catalog.catalog import FILE
from sqlstream.errors import RunError
from sqlstream.session import Session


def run(session: Session, sql: str) -> None:
    for _ in session.execute(sql):
        pass


def test_what_another_has_created_is_not_lost(tmp_path: Path) -> None:
    first, second = Session(tmp_path), Session(tmp_path)
    run(first, "CREATE VIEW a AS SELECT 1 AS x; CREATE VIEW b AS SELECT 2 AS x")
    with pytest.raises(RunError, match="was changed by another process") as e:
        run(second, "CREATE VIEW c AS SELECT 3 AS x")
    assert e.value.hint == "begin again: a new session reads it"
    third = Session(tmp_path)
    assert third.catalog.views() == ["a", "b"]
    run(third, "DROP VIEW a; CREATE VIEW c AS SELECT 3 AS x")
    assert Session(tmp_path).catalog.views() == ["b", "c"]


def test_what_is_not_kept_needs_no_file(tmp_path: Path) -> None:
    first, second = Session(tmp_path), Session(tmp_path)
    run(first, "CREATE VIEW a AS SELECT 1 AS x")
    run(second, "CREATE TEMPORARY VIEW mine AS SELECT 3 AS x; DROP TEMPORARY VIEW mine; DROP VIEW IF EXISTS nothing")
    assert Session(tmp_path).catalog.views() == ["a"]


def test_a_file_of_somebodys_hand(tmp_path: Path) -> None:
    """It stays as it is until something is created."""
    text = "create view v as select 1 as x; -- mine\n"
    (tmp_path / FILE).write_text(text)
    session = Session(tmp_path)
    run(session, "CREATE VIEW IF NOT EXISTS v AS SELECT 2 AS x; CREATE TEMPORARY VIEW w AS SELECT 1 AS x")
    assert (tmp_path / FILE).read_text() == text
    run(session, "CREATE VIEW w2 AS SELECT 1 AS x")
    assert Session(tmp_path).catalog.views() == ["v", "w2"]


def test_sessions_that_share_one_write_one(tmp_path: Path) -> None:
    first, second = Session(tmp_path), Session()
    second.share(first)
    run(first, "CREATE VIEW a AS SELECT 1 AS x")
    run(second, "CREATE VIEW b AS SELECT 1 AS x")
    run(first, "DROP VIEW a")
    assert Session(tmp_path).catalog.views() == ["b"]
