"""`${env:…}` and `${file:…}` in the options of tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlstream.errors import OptionError
from sqlstream.references import resolved
from sqlstream.secrets import redacted
from sqlstream.session import Session
from sqlstream.sql.splitter import substitute


def test_values_that_stand_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "h1")
    monkeypatch.setenv("DB_PASSWORD", "pass-of-env")
    (tmp_path / "pw").write_text("pass-of-file\n")
    assert resolved("a", "${env:HOST}:1,${env:HOST}:2", "t") == "h1:1,h1:2"
    assert resolved("a", "x${file:pw}y", "t", str(tmp_path)) == "xpass-of-filey"
    assert resolved("a", "${env:DB_PASSWORD}", "t") == "pass-of-env"
    assert resolved("a", "${HOST} $HOST", "t") == "${HOST} $HOST"
    assert redacted("h1 pass-of-env pass-of-file") == "h1 ****** ******"


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(OptionError, match="table t: option 'a': the environment has no variable NO_SUCH_ONE"):
        resolved("a", "${env:NO_SUCH_ONE}", "t")
    with pytest.raises(OptionError, match="option 'a': /nowhere/x cannot be read: No such file"):
        resolved("a", "${file:/nowhere/x}", "t")


def test_a_script_leaves_them_and_the_catalog_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", str(tmp_path))
    (tmp_path / "a.json").write_text('{"a": 1}\n')
    text = "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = '${env:DATA}/${name}.json', 'format' = 'json')"
    session = Session(working_directory=str(tmp_path))
    list(session.execute(substitute(text, {"name": "a"})))
    (shown,) = session.execute("SHOW CREATE TABLE t")
    assert "'path' = '${env:DATA}/a.json'" in str([b.to_pylist() for b, _ in shown.batches()])
    (rows,) = session.execute("SELECT a FROM t")
    assert [b.to_pylist() for b, _ in rows.batches()] == [[{"a": 1}]]
