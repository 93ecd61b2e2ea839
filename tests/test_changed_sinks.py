"""A changed job whose sink has no 'path' (a table of a database, a topic) is told what it can do, and that works."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlstream.session import Session

OPTIONS = {"execution.runtime-mode": "streaming", "pipeline.name": "j"}


def script(table: str, there: str, where: str = "") -> str:
    """Into `table`, which is `there` in the database."""
    return (
        "CREATE TABLE t (k INT, v INT) WITH ('connector' = 'filesystem', 'path' = 't.csv', 'format' = 'csv');\n"
        f"CREATE TABLE {table} (a INT, b INT) WITH ('connector' = 'jdbc', 'url' = 'jdbc:sqlite:s.db', 'table-name' = '{there}');\n"
        f"INSERT INTO {table} SELECT k, v FROM t{where};"
    )


def checked(place: Path, text: str) -> tuple[bool, str]:
    """Whether --check says that it goes on, and what it says."""
    session = Session(options=OPTIONS, working_directory=str(place), checks=True)
    (said,) = [r.message for r in session.execute(text) if r.kind == "CHECK"]
    return not session.environment.refused, said


def test_a_table_of_another_name_is_a_new_sink(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("1,5\n2,20\n")
    with closing(sqlite3.connect(tmp_path / "s.db")) as database:
        for name in ("one", "two"):
            database.execute(f"CREATE TABLE {name} (a INTEGER, b INTEGER)")
        list(Session(options=OPTIONS, working_directory=str(tmp_path)).execute(script("q", "one")))
        for changed in (script("q", "two"), script("q", "one", " WHERE v > 9")):
            good, said = checked(tmp_path, changed)
            assert not good and "write to a table of another name, with a place of its own" in said
            assert "'path'" not in said
        new = script("q2", "two", " WHERE v > 9")
        good, said = checked(tmp_path, new)
        assert good and "rebuilt  the output to table q2: all rows from the start" in said
        list(Session(options=OPTIONS, working_directory=str(tmp_path)).execute(new))
        assert database.execute("SELECT * FROM two").fetchall() == [(2, 20)]
