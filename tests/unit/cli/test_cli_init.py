"""`sqlstream init`, `catalog`, `version`, `doctor`."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import pytest
from cli_driver import ROOT, sqlstream

import sqlstream as package
from sqlstream import distribution
from sqlstream.cli import checkups, libraries
from sqlstream.cli.init import FILES, STARTER
from sqlstream.cli.main import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_project_that_is_valid(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["init", "new/demo"]) == 0
    written = sorted(str(p.relative_to("new/demo")) for p in Path("new/demo").rglob("*") if p.is_file())
    assert written == sorted(FILES.values())
    assert {str(p.relative_to(STARTER)) for p in STARTER.rglob("*") if p.is_file()} == set(FILES)
    monkeypatch.chdir("new/demo")
    capsys.readouterr()
    assert main(["validate", "."]) == 0
    assert capsys.readouterr() == ("", "3 scripts, 3 statements: nothing is wrong\n")
    assert main(["validate", "catalog/catalog.sql"]) == 0
    assert main(["fmt", "--check", "."]) == 0
    named = {w for w in (STARTER / "README.md").read_text().replace("`", " ").split() if w.endswith((".sql", ".toml"))}
    assert all(Path(n).exists() for n in named) and len(named) > 4


def test_nothing_is_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("README.md").write_text("mine")
    assert main(["init"]) == 1
    assert capsys.readouterr().err.startswith("error: README.md: there already; nothing was written\nhint: ")
    assert os.listdir() == ["README.md"] and Path("README.md").read_text() == "mine"
    Path("file").touch()
    assert main(["init", "file"]) == 1
    Path("half").mkdir()
    Path("half/queries").touch()  # a file where a folder is to be
    capsys.readouterr()
    assert main(["init", "half"]) == 1
    assert capsys.readouterr().err.startswith("error: half/queries: there already; nothing was written\nhint: ")
    assert os.listdir("half") == ["queries"]


def test_what_is_next_can_be_pasted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "two words"]) == 0
    assert "next: cd 'two words' && " in capsys.readouterr().err
    assert main(["init", ""]) == 0
    assert "next: sqlstream validate" in capsys.readouterr().err


def test_catalog(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog"]) == 0
    assert capsys.readouterr() == ("", "no catalog is kept: option table.catalog-store.file.path is not set\n")
    Path("sqlstream.toml").write_text('table.catalog-store.file.path = "kept"')
    assert main(["catalog"]) == 0
    assert capsys.readouterr() == ("", "there are no tables, views or functions\n")
    Path("tables.sql").write_text(
        "CREATE TABLE t (a INT NOT NULL, ts TIMESTAMP(3), WATERMARK FOR ts AS ts, PRIMARY KEY (a) NOT ENFORCED)"
        " WITH ('connector' = 'datagen'); CREATE VIEW v AS SELECT a FROM t;"
    )
    assert main(["catalog", "--with", "tables.sql", "--output", "json"]) == 0
    place = {"catalog": "default_catalog", "database": "default_database"}
    assert lines(capsys) == [
        {**place, "name": "t", "kind": "table", "columns": 2, "of": "datagen"},
        {**place, "name": "v", "kind": "view", "columns": 1, "of": None},
    ]
    assert not Path("kept").exists()
    assert main(["run", "tables.sql"]) == 0
    assert main(["catalog"]) == 0
    assert [line.split()[2:4] for line in capsys.readouterr().out.splitlines()[1:]] == [["t", "table"], ["v", "view"]]
    assert main(["catalog", "t", "--output", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(r["table"], r["name"], r["type"], r["null"], r["key"]) for r in rows] == [
        ("t", "a", "INT", "FALSE", "PRI(a)"), ("t", "ts", "TIMESTAMP(3) *ROWTIME*", "TRUE", ""),
    ]  # fmt: skip
    assert main(["catalog", "--columns", "--output", "json"]) == 0
    assert [(c["table"], c["name"]) for c in lines(capsys)] == [("t", "a"), ("t", "ts"), ("v", "a")]
    assert main(["catalog", "tt"]) == 1
    assert "did you mean t?" in capsys.readouterr().err


def test_version(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"sqlstream {package.__version__}\n"
    assert main(["version", "-v", "--output", "json"]) == 0
    found = {str(line["name"]): str(line["version"]) for line in lines(capsys)}
    assert found["sqlstream"] == package.__version__ and found["python"].startswith(sys.version.split()[0])
    assert {"duckdb", "pyarrow", "sqlglot"} <= set(found) or not libraries.libraries()


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("30.1.2", ">=30.0,<31", True), ("31.0", ">=30.0,<31", False), ("2.0", ">=2.0,<3", True), ("2.0rc1", ">=2", True),
        ("0.68.1", ">=0.68,<0.69", True), ("2025.1", ">=2025.1", True), ("1.4.9", "~=1.4", True), ("1.5", "~=1.4.2", False),
        ("1.0", "!=1.0", False), ("1.0+cu12", "==1.0", True), ("1", "", True),
    ],
)  # fmt: skip
def test_versions_that_fit(version: str, wanted: str, fits: bool) -> None:
    assert libraries.satisfies(version, wanted) is fits


def test_doctor_finds_all_well(here: Path) -> None:
    done = sqlstream("doctor", "--output", "json", cwd=here, HOME=str(here), XDG_STATE_HOME=str(here / "state"))
    found = [json.loads(line) for line in done.out.splitlines()]
    assert done.status == 0, done.out + done.err
    about = {f["about"]: f["state"] for f in found}
    expected = {
        "python",
        "duckdb",
        "rocksdict",
        "duckdb works",
        "rocksdb works",
        "configuration",
        "disk",
        "jobs",
        "terminal",
    }
    assert expected <= set(about) and "FAIL" not in about.values()


def findings(name: str) -> list[tuple[str, str, str, str]]:
    (check,) = [c for c in checkups.CHECKS if c.__name__ == name]
    return [(f.about, f.state, f.text, f.advice) for f in check()]


def test_doctor_finds_what_is_not(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("sqlstream.toml").write_text('table.catalog-store.file.path = "kept"')
    Path("kept").mkdir()
    Path("kept/catalog.sql").write_text("CREATE VIEW v AS SELECT a FROM nowhere;")
    assert findings("_configuration")[1][:2] == ("catalog", "OK")
    assert findings("_configuration")[2][:3] == ("view v", "FAIL", "there is no table or view 'nowhere'")
    Path("kept/catalog.sql").write_text("CREATE TABLE t (a INT) WITH ('connector' = 'nowhere');")
    assert findings("_configuration")[1][:2] == ("catalog", "FAIL")
    Path("sqlstream.toml").write_text("x = 1")
    assert findings("_configuration")[0][:2] == ("configuration", "FAIL")
    monkeypatch.setattr(checkups, "_LITTLE", 1 << 62)
    assert findings("_disks")[0][1] == "WARN"
    monkeypatch.setattr(checkups, "_NOTHING", 1 << 62)
    assert findings("_disks")[0][1] == "FAIL"
    monkeypatch.setattr(checkups, "_MODULES", ("sqlglot", "nowhere"))
    assert findings("_libraries")[1][:2] == ("nowhere", "FAIL")
    old = libraries.Library("sqlglot", ">=99", "", "30.0")
    monkeypatch.setattr(libraries, "libraries", lambda: [old, libraries.Library("s3fs", ">=1", "s3", None)])
    assert findings("_libraries")[0] == ("sqlglot", "FAIL", "30.0, and >=99 is needed", "pip install 'sqlglot>=99'")
    assert findings("_extras") == [("extra s3", "OK", "not installed", f"to have it: {distribution.install('s3')}")]
    monkeypatch.setenv("XDG_STATE_HOME", str(here / "kept" / "catalog.sql"))
    assert ("list of jobs", "FAIL") in [f[:2] for f in findings("_directories")]

    def broken() -> checkups.Findings:
        raise RuntimeError("boom")
        yield

    monkeypatch.setattr(checkups, "CHECKS", (broken,))
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert out == "FAIL  broken: it cannot be checked: RuntimeError: boom\n" and err == "0 OK, 0 WARN, 1 FAIL\n"


def test_doctor_tells_of_jobs_that_are_stale(here: Path) -> None:
    script = "CREATE TABLE o (a INT) WITH ('connector' = 'print'); INSERT INTO o SELECT 1 / 0"
    options = ("-D", "pipeline.name=failing", "-D", "restart-strategy.type=none")
    assert sqlstream("-c", script, *options, cwd=here, XDG_STATE_HOME=str(here / "state")).status == 1
    found = findings("_jobs")
    assert found[1][:2] == ("job failing", "WARN") and found[1][2].startswith("it failed: ")


def test_the_starter_is_in_the_wheel() -> None:
    """Everything below sqlstream/ is, but what git ignores."""
    ignored = (ROOT / ".gitignore").read_text().split() if (ROOT / ".gitignore").exists() else []
    assert not {"catalog", "queries", "*.toml", "*.sql"} & {i.strip("/") for i in ignored}
