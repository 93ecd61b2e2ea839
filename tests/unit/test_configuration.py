"""Options from files, the environment and -D: which wins, and what is said of mistakes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

import sqlstream
from sqlstream.configuration import collected, project_file, values, variable, variables
from sqlstream.errors import OptionError, SqlStreamError
from sqlstream.options import SESSION_OPTIONS, over
from sqlstream.session import Session


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home, and a project in it, where the test works."""
    for name in [n for n in os.environ if n.startswith("SQLSTREAM_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home" / "project" / "deep").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(tmp_path / "home" / "project")


def given(text: str, environment: dict[str, str] | None = None, **arguments: str) -> dict[str, str]:
    Path("sqlstream.toml").write_text(text)
    return values(collected(Path.cwd(), {**os.environ, **(environment or {})}, arguments))


def test_each_layer_wins_over_the_one_before() -> None:
    key = "parallelism.default"
    user = Path.home() / ".config" / "sqlstream" / "sqlstream.toml"
    user.parent.mkdir(parents=True)
    user.write_text(f'"{key}" = 2\n"pipeline.name" = "mine"\n')

    def now(environment: dict[str, str] | None = None, **arguments: str) -> tuple[str, str]:
        found = collected(Path.cwd(), {**os.environ, **(environment or {})}, arguments)[key]
        return found.value, found.source

    assert now() == ("2", str(user)[len(str(Path.home())) :].replace("/.config", "../.config") + ":1")
    Path("sqlstream.toml").write_text(f'# here\n"{key}" = 3\n')
    assert now() == ("3", "sqlstream.toml:2")
    assert now({"SQLSTREAM_PARALLELISM_DEFAULT": "4"}) == ("4", "SQLSTREAM_PARALLELISM_DEFAULT")
    assert now({"SQLSTREAM_PARALLELISM_DEFAULT": "4"}, **{key: "5"}) == ("5", "-D")
    assert collected(Path.cwd(), os.environ)["pipeline.name"].value == "mine"
    session = Session(options={key: "5"})
    list(session.execute(f"SET '{key}' = '6'"))
    assert session.settings.parallelism == 6


def test_a_former_key_is_the_option() -> None:
    assert given('"state.backend.type" = "rocksdb"', **{"state.backend": "hashmap"}) == {"state.backend": "hashmap"}
    assert over({"state.backend": "hashmap"}, {"state.backend.type": "rocksdb"}) == {"state.backend.type": "rocksdb"}
    session = Session(options={"state.backend.type": "rocksdb"})
    list(session.execute("SET 'state.backend' = 'hashmap'"))
    assert session.settings.backend == "hashmap"


def test_values_of_all_kinds() -> None:
    text = """
    table.exec.state.ttl = "1 h"
    parallelism.default = 2
    [execution]
    checkpointing = { incremental = false, interval = "30 s" }
    state-recovery.path = "save/one"
    [state.backend.rocksdb]
    compression.per.level = ["NO_COMPRESSION", "LZ4_COMPRESSION"]
    bloom-filter.bits-per-key = 9.5
    localdir = ["a", "/b", "s3://c/d"]
    metrics.bytes-read = true
    """
    here = Path.cwd()
    assert given(text) == {
        "table.exec.state.ttl": "1 h",
        "parallelism.default": "2",
        "execution.checkpointing.incremental": "false",
        "execution.checkpointing.interval": "30 s",
        "execution.state-recovery.path": f"{here}/save/one",
        "state.backend.rocksdb.compression.per.level": "NO_COMPRESSION;LZ4_COMPRESSION",
        "state.backend.rocksdb.bloom-filter.bits-per-key": "9.5",
        "state.backend.rocksdb.localdir": f"{here}/a,/b,s3://c/d",
        "state.backend.rocksdb.metrics.bytes-read": "true",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[table.exec]\n\nstat.ttl = '1 h'",
            "sqlstream.toml:3:1: unknown option 'table.exec.stat.ttl'\n  stat.ttl = '1 h'\n  ^\nhint: did you mean table.exec.state.ttl",
        ),
        ("parallelism = 4", "hint: did you mean parallelism.default?"),
        ("x = 4", "hint: `sqlstream config --all` lists all options"),
        (
            "[execution]\nruntime-mode = 'fast'",
            "sqlstream.toml:2:1: option 'execution.runtime-mode': 'fast' is not a value of it",
        ),
        (
            "[parallelism]\ndefault = 'many'",
            "sqlstream.toml:2:1: option 'parallelism.default': expected a whole number",
        ),
        ("parallelism.default = 1979-05-27", "a value is a string, a number, true or false"),
        ("a = [\n 1,\n", "it is not TOML"),
        ('a = "\n', "sqlstream.toml:1:6: it is not TOML"),
        ('[parallelism]\ndefault = 1\n["parallelism.default"]', ""),
        ('"parallelism.default" = 1\n[parallelism]\n  default = 2', "option 'parallelism.default' is there twice"),
    ],
)
def test_mistakes_have_their_place(text: str, says: str) -> None:
    if not says:
        assert given(text) == {"parallelism.default": "1"}
        return
    with pytest.raises(OptionError) as caught:
        given(text)
    assert says in str(caught.value)


def test_a_secret_is_not_shown() -> None:
    with pytest.raises(OptionError) as caught:
        given('s3.secret-key = "hunter2"\nfoo.bar = "hunter2"')
    assert "hunter2" not in str(caught.value)


def test_where_a_file_is_looked_for(tmp_path: Path) -> None:
    project = Path.cwd()
    assert project_file(project / "deep") is None
    (tmp_path / "sqlstream.toml").touch()  # above home
    assert project_file(project / "deep") is None
    (tmp_path / "home" / "sqlstream.toml").touch()
    assert project_file(project / "deep") == tmp_path / "home" / "sqlstream.toml"
    (project / "sqlstream.toml").touch()
    assert project_file(project / "deep") == project / "sqlstream.toml"
    assert project_file(tmp_path) == tmp_path / "sqlstream.toml"
    (project / "deep" / "sqlstream.toml").mkdir()
    assert project_file(project / "deep") == project / "sqlstream.toml"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_file_above_that_is_somebody_elses_is_not_read() -> None:
    Path("sqlstream.toml").touch()
    os.chown("sqlstream.toml", 4711, 4711)
    assert project_file(Path("deep")) is None
    assert project_file(Path.cwd()) == Path("sqlstream.toml").resolve()


def test_one_file_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("parallelism.default = 7")
    assert given("parallelism.default = 2", {"SQLSTREAM_CONFIG": str(tmp_path / "other.toml")}) == {
        "parallelism.default": "7"
    }
    assert given("parallelism.default = 2", {"SQLSTREAM_CONFIG": "/dev/null"}) == {}
    with pytest.raises(OptionError, match="SQLSTREAM_CONFIG: there is no file"):
        given("", {"SQLSTREAM_CONFIG": "nowhere.toml"})


def test_variables() -> None:
    names = Counter(n for o in SESSION_OPTIONS for n in {variable(k) for k in (o.key, *o.former)} if not o.members)
    assert [n for n, count in names.items() if count > 1] == []
    assert variables()["SQLSTREAM_EXECUTION_RUNTIME_MODE"] == "execution.runtime-mode"
    assert (
        variables()["SQLSTREAM_STATE_BACKEND_ROCKSDB_METRICS_BYTES_READ"] == "state.backend.rocksdb.metrics.bytes-read"
    )
    assert given("", {"SQLSTREAM_PORT": "tcp://10.0.0.1:80", "SQLSTREAM_PIPELINE_NAME": ""}) == {}
    with pytest.raises(OptionError, match="SQLSTREAM_PIPELINE_NAM: there is no such option") as caught:
        given("", {"SQLSTREAM_PIPELINE_NAM": "x"})
    assert caught.value.hint == "did you mean SQLSTREAM_PIPELINE_NAME?"
    with pytest.raises(
        OptionError, match="variable SQLSTREAM_PARALLELISM_DEFAULT: option 'parallelism.default': expected"
    ):
        given("", {"SQLSTREAM_PARALLELISM_DEFAULT": "x"})


def test_python_reads_them_when_it_is_asked_to() -> None:
    Path("sqlstream.toml").write_text('parallelism.default = 2\n[table.catalog-store.file]\npath = "catalog"\n')
    key = "SELECT value FROM (VALUES (1)) t(value)"
    with sqlstream.connect() as connection:
        plain = dict(connection.execute("SET").fetchall())
        assert plain["table.catalog-store.file.path"] is None
        assert connection.execute(key).fetchall() == [(1,)]
    with sqlstream.connect(config=True, **{"pipeline.name": "p"}) as connection:
        there = dict(connection.execute("SET").fetchall())
        assert {k: v for k, v in there.items() if v != plain.get(k)} == {
            "parallelism.default": "2",
            "pipeline.name": "p",
            "table.catalog-store.file.path": str(Path.cwd() / "catalog"),
        }
        connection.execute("CREATE VIEW one AS SELECT 1 AS x")
    with sqlstream.connect("catalog") as connection:
        assert connection.execute("SELECT * FROM one").fetchall() == [(1,)]
    with pytest.raises(sqlstream.ProgrammingError, match="connect: unknown option"):
        sqlstream.connect(config=True, **{"pipeline.nam": "p"})


def test_the_catalogs_directory() -> None:
    options = {"table.catalog-store.file.path": "kept"}
    session = Session(options=options)
    list(session.execute("CREATE VIEW one AS SELECT 1 AS x; CREATE VIEW two AS SELECT 2 AS x"))
    assert Session(options=options).catalog.names() == ["one", "two"]
    with pytest.raises(OptionError, match="is read when a session begins"):
        list(session.execute("SET 'table.catalog-store.file.path' = 'elsewhere'"))


def test_a_catalog_that_cannot_be_read_stays_as_it_is() -> None:
    text = "CREATE VIEW one AS SELECT 1 AS x;\n\nCREATE VIEW two AS SELEC 1 AS y;\n"
    Path("kept").mkdir()
    Path("kept/catalog.sql").write_text(text)
    with pytest.raises(SqlStreamError, match="kept/catalog.sql:3:20"):
        Session(Path("kept"))
    assert Path("kept/catalog.sql").read_text() == text
