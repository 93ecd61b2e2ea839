"""What the documentation shows is what happens: README's commands and code, every sample query, every catalog file."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import sqlstream
from sqlstream.cli.arguments import Settings
from sqlstream.cli.script import Script, run_script
from sqlstream.session import Session

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
QUERIES = sorted((ROOT / "queries").rglob("*.sql"))


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def sqlstream_command(line: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(line)
    assert program == "sqlstream", line
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "sqlstream", *arguments], capture_output=True, text=True, timeout=120, env=environment
    )


@pytest.mark.parametrize("block", blocks("console"))
def test_readme_shows_real_output(block: str) -> None:
    command, _, shown = block.partition("\n")
    done = sqlstream_command(command.removeprefix("$ "))
    assert done.returncode == 0, done.stderr
    if "…" not in shown:
        assert done.stdout == shown
    else:  # rows left out; the order of a query without ORDER BY is nobody's
        missing = [line for line in shown.splitlines() if line != "…" and line not in done.stdout.splitlines()]
        assert not missing


def test_readme_says_how_many_rows_the_main_job_has() -> None:
    (rows,) = re.findall(r"with (\d+) rows", README)
    done = sqlstream_command("sqlstream run queries/nexmark/q5.sql --output json")
    assert len(done.stdout.splitlines()) == int(rows)


def test_readme_python_example() -> None:
    (code,), (shown,) = blocks("python"), blocks("text")
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    assert out.getvalue() == shown


def test_install_run_and_test_are_one_command_each() -> None:
    start, tests = blocks("sh")
    assert start.splitlines() == ["pip install .", "sqlstream run queries/nexmark/q5.sql"]
    assert tests.strip() in (ROOT / ".ci" / "run").read_text().splitlines()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README + (ROOT / "CONTRIBUTING.md").read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_version_is_the_packages() -> None:
    assert f'version = "{sqlstream.__version__}"' in (ROOT / "pyproject.toml").read_text()


def short(text: str) -> str:
    """The script over a few events."""
    return re.sub(r"'events\.num' = '\d+'", "'events.num' = '2000'", text)


@pytest.mark.parametrize("mode", ["automatic", "streaming"])
@pytest.mark.parametrize("path", QUERIES, ids=lambda p: p.stem)
def test_queries_run(path: Path, mode: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    script = Script(short(path.read_text()), str(path.relative_to(ROOT)), str(path.parent))
    status = run_script(script, Settings({"execution.runtime-mode": mode}, {}))
    out, err = capfdbinary.readouterr()
    assert status == 0, err.decode()
    assert out


@pytest.mark.parametrize("path", QUERIES, ids=lambda p: p.stem)
def test_queries_say_how_to_run_them_rightly(path: Path) -> None:
    named = re.findall(r"sqlstream run (\S+)", path.read_text())
    assert all((ROOT / name).exists() for name in named)


@pytest.mark.parametrize("path", sorted((ROOT / "catalog").glob("*.sql")), ids=lambda p: p.stem)
def test_catalog_files_load(path: Path) -> None:
    session = Session()
    for _ in session.execute(path.read_text(), str(path), {"events": "events.json"}):
        pass
    assert session.catalog.tables()


@pytest.mark.parametrize("arguments", ["--help", "run --help"])
def test_help_shows_commands_that_are_there(arguments: str) -> None:
    text = sqlstream_command(f"sqlstream {arguments}").stdout
    assert "examples:" in text
    for name in re.findall(r"(queries/\S+\.sql)", text):
        assert (ROOT / name).exists()


@pytest.mark.parametrize("mode", ["automatic", "streaming"])
def test_sql_reference_runs(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of docs/sql.md, in order, in one session; Python is a module of that name."""
    reference = (ROOT / "docs" / "sql.md").read_text()
    for name, code in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", reference, re.M | re.S):
        (tmp_path / name).write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    session = Session(options={"execution.runtime-mode": mode})
    for block in re.findall(r"^```sql\n(.*?)^```$", reference, re.M | re.S):
        for result in session.execute(block, "docs/sql.md"):
            for _ in result.batches():
                continue
