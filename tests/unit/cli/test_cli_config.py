"""`sqlstream config`, several scripts in one run, and how much is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_driver import sqlstream


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "sqlstream.toml").write_text('[parallelism]\ndefault = 2\n[s3]\nsecret-key = "hunter2"\n')
    return tmp_path


def config(project: Path, *arguments: str, **more: str) -> list[list[str]]:
    done = sqlstream("config", *arguments, cwd=project, HOME=str(project), **more)
    assert done.status == 0, done.err
    assert "hunter2" not in done.out
    return [line.split() for line in done.out.splitlines()]


def test_each_value_and_where_it_came_from(project: Path) -> None:
    head = ["key", "value", "source"]
    assert config(project) == [
        head,
        ["parallelism.default", "2", "sqlstream.toml:2"],
        ["s3.secret-key", "******", "sqlstream.toml:4"],
    ]
    assert config(project, "parallel", SQLSTREAM_PARALLELISM_DEFAULT="3")[1:] == [
        ["parallelism.default", "3", "SQLSTREAM_PARALLELISM_DEFAULT"]
    ]
    assert config(project, "*default", "-D", "parallelism.default=4")[1:] == [["parallelism.default", "4", "-D"]]
    keys = [line[0] for line in config(project, "--all")]
    assert {"execution.runtime-mode", "parallelism.default", "log.format"} < set(keys) and keys[1:] == sorted(keys[1:])
    done = sqlstream("config", "runtime-mode", "--output", "json", cwd=project)
    assert json.loads(done.out) == {"key": "execution.runtime-mode", "value": "automatic", "source": "default"}


def test_config_says_what_is_wrong(project: Path) -> None:
    done = sqlstream("config", "paralelism", cwd=project)
    assert (done.status, done.out) == (1, "")
    assert "did you mean parallelism.default?" in done.err
    assert sqlstream("config", "-D", "x=y", cwd=project).status == 2
    (project / "sqlstream.toml").write_text("x = 1\n")
    for command in (["config"], ["-c", "SELECT 1"], ["run", "-c", "SELECT 1"], ["submit", "-", "--name", "x"]):
        done = sqlstream(*command, cwd=project)
        assert done.status == 2 and done.err.startswith("error: sqlstream.toml:1:1: unknown option 'x'"), command


def test_it_counts_for_what_runs_below_the_project(project: Path) -> None:
    (project / "deep").mkdir()
    done = sqlstream("-c", "SET", "--output", "csv", cwd=project / "deep", HOME=str(project))
    assert "parallelism.default,2\n" in done.out and "s3.secret-key,******\n" in done.out
    done = sqlstream(
        "-c", "SET 'parallelism.default' = '5'; SET", "--output", "csv", "-D", "parallelism.default=4", cwd=project
    )
    assert "parallelism.default,5\n" in done.out


def test_several_scripts_are_one_session(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("CREATE VIEW v AS SELECT 1 AS x;")
    (tmp_path / "b.sql").write_text("SELECT x FROM v;\n")
    done = sqlstream("run", "a.sql", "b.sql", "--output", "csv", cwd=tmp_path)
    assert (done.status, done.out) == (0, "x\n1\n")
    assert sqlstream("-f", "a.sql", "-f", "b.sql", "--output", "csv", cwd=tmp_path).out == "x\n1\n"
    done = sqlstream("run", "a.sql", "a.sql", cwd=tmp_path)
    assert (done.status, done.err.splitlines()[0]) == (1, "error: a.sql:1:13: 'v' exists already")
    assert sqlstream("run", "a.sql", "c.sql", cwd=tmp_path).status == 2
    done = sqlstream(
        "run", "-c", "CREATE VIEW w AS SELECT 2 AS y", "-c", "SELECT y FROM w", "--output", "csv", cwd=tmp_path
    )
    assert done.out == "y\n2\n"
    assert sqlstream("run", "--output", "csv", cwd=tmp_path, stdin=b"SELECT 3 AS z").out == "z\n3\n"
    done = sqlstream("run", "-c", "SELECT 1", "a.sql", cwd=tmp_path)
    assert (done.status, done.err) == (2, "error: -c and a file do not go together\n")


def test_a_script_that_never_ends_must_be_the_last(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("""CREATE TABLE n (a INT) WITH ('connector' = 'datagen');
        CREATE TABLE p (a INT) WITH ('connector' = 'blackhole'); INSERT INTO p SELECT a FROM n""")
    (tmp_path / "b.sql").write_text("SELECT 1;")
    done = sqlstream("run", "a.sql", "b.sql", cwd=tmp_path)
    assert done.status == 1
    assert "a.sql:2:66: this statement reads unbounded input and never ends, and b.sql is to run after it" in done.err


def test_how_much_is_said(tmp_path: Path) -> None:
    sql = "CREATE TABLE p (a INT) WITH ('connector' = 'blackhole'); INSERT INTO p VALUES (1)"
    assert sqlstream("-c", sql, cwd=tmp_path).err.startswith("1 row")
    assert sqlstream("-c", sql, "-q", cwd=tmp_path).err == ""
    assert "table p created" in sqlstream("-c", sql, "-v", cwd=tmp_path).err
    done = sqlstream("-c", sql + "; SELECT", "-D", "log.format=json", cwd=tmp_path)
    entry = json.loads(done.err)
    assert (done.status, entry["level"]) == (1, "error") and "\n" in entry["message"]
    entries = [
        json.loads(line) for line in sqlstream("-c", sql, "-v", "-D", "log.format=json", cwd=tmp_path).err.splitlines()
    ]
    assert [(e["level"], e["message"][:15]) for e in entries] == [
        ("info", "table p created"),
        ("info", "1 rows into p i"),
    ]
    assert sqlstream("-c", sql + "; SELECT x", "-q", cwd=tmp_path).err.startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rnu", "x.sql"], "there is no command 'rnu'\nhint: did you mean run?"),
        (["xyzzy"], "there is no command 'xyzzy'\nhint: `sqlstream --help` lists the commands"),
        (["run", "x.sql", "--otput", "json"], "sqlstream run: error: unrecognized arguments: --otput json\nhint: did you mean --output?"),
        (["jobs", "--output", "jsn"], "hint: did you mean json?"),
        (["--versoin"], "hint: did you mean --version?"),
        (["jobs", "x"], "hint: `sqlstream jobs --help` says what it takes"),
        (["-c", "SELECT 1", "-D", "parallelism=2"], "did you mean parallelism.default?"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)  # fmt: skip
def test_usage_errors_say_what_was_meant(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = sqlstream(*arguments, cwd=tmp_path)
    assert done.status == 2 and says in done.err, done.err
