"""What the documentation shows is what happens: README's commands and code, every sample query, every catalog file."""

from __future__ import annotations

import io
import json
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
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# Those of connectors need servers: connectors/test_queries.py.
QUERIES = sorted(p for p in (ROOT / "queries").rglob("*.sql") if p.parent.name != "connectors")


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


def test_changing_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "operations.md").read_text().partition("\n## Changing a job\n")[2].partition("\n## ")[0]
    before, after = re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S)
    (console,) = re.findall(r"^```console\n(.*?)^```$", page, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bids").mkdir()
    bids = [{"channel": c, "price": n} for n in range(100) for c in ("web", "app", "shop", "web")]
    (tmp_path / "bids/1.json").write_text("".join(json.dumps(b) + "\n" for b in bids))
    options = {"execution.epoch.max-rows": "200"}
    sessions: list[Session] = []
    sessions.append(Session(options=options, on_progress=lambda p: sessions[0].cancel() if p.rows_in == 200 else None))
    list(sessions[0].execute(before))
    (tmp_path / "job.sql").write_text(after)
    command, shown = console.removeprefix("$ ").split("\n", 1)
    done = sqlstream_command(command)
    assert done.returncode == 0, done.stderr
    pattern = re.escape(shown).replace("…", ".*")
    assert re.fullmatch(pattern, done.stdout), done.stdout
    said: list[str] = []
    list(Session(on_message=said.append).execute(after))
    assert any("resumes from checkpoint" in s for s in said)
    totals = [
        json.loads(line) for p in sorted((tmp_path / "totals").glob("part-*")) for line in p.read_text().splitlines()
    ]
    assert {r["after"]["channel"]: r["after"]["total"] for r in totals if r["after"]} == {
        "web": 9900,
        "app": 4950,
        "shop": 4950,
    }


def test_savepoints_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "savepoints.md").read_text()
    begin, job = re.findall(r"^```sql\n(.*?)^```$", page, re.M | re.S)
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    (shown,) = re.findall(r"^```python\n.*?^```\n\n```text\n(.*?)^```$", page, re.M | re.S)
    monkeypatch.chdir(tmp_path)
    orders = [("tea", 3), ("milk", 2), ("tea", 4)] * 100
    (tmp_path / "orders.json").write_text("".join(json.dumps({"product": p, "price": n}) + "\n" for p, n in orders))
    options = {"execution.runtime-mode": "streaming", "execution.epoch.max-rows": "200"}

    def stop(progress: Progress) -> None:
        if progress.epoch == 1:
            assert session.current_job is not None
            session.current_job.stop(savepoint="saved")

    session = Session(options=options, on_progress=stop)
    for _ in session.execute(job):
        pass
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(code, "savepoints.md", "exec"), {})
    assert out.getvalue() == shown
    (path,) = (tmp_path / "saved").iterdir()
    begin = re.sub("/backup/savepoint-counts-[^']*", str(path), begin).replace("'counts'", "'again'")
    said: list[str] = []
    again = Session(options=options, on_message=said.append)
    (*_, result) = [*again.execute(begin + job.replace("SET 'pipeline.name' = 'counts';", ""))]
    assert result.progress is not None and result.progress.rows_in == len(orders)
    assert any("begins from savepoint" in text for text in said)


def test_install_run_and_test_are_one_command_each() -> None:
    start, *_, tests = blocks("sh")
    environment = "python3 -m venv .venv && "
    assert start.splitlines() == [
        f"{environment}.venv/bin/pip install . && .venv/bin/sqlstream run queries/nexmark/q5.sql"
    ]
    # .ci/run has an environment of its own, and activates it
    (tests,) = tests.splitlines()
    assert tests.startswith(environment)
    bare = tests.removeprefix(environment).replace(".venv/bin/", "")
    assert bare in (ROOT / ".ci" / "run").read_text().splitlines()


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        if not path.startswith("https://"):
            to = page.parent / path if path else page
            assert to.exists(), target
            assert not heading or heading in headings(to), target


def headings(page: Path) -> set[str]:
    """Those of a page as links name them."""
    titles = re.findall(r"^#+ (.+)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}


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
    assert "examples" in text
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


def test_process_table_functions_are_as_shown(tmp_path: Path) -> None:
    """The page's modules and files, its SQL, and what that prints."""
    page = (ROOT / "docs" / "process-table-functions.md").read_text()
    for name, content in re.findall(r"^```(?:python|csv)\n# (\S+)\n(.*?)^```$", page, re.M | re.S):
        (tmp_path / name).write_text(content)
    (sql,), (shown,) = (re.findall(rf"^```{w}\n(.*?)^```$", page, re.M | re.S) for w in ("sql", "text"))
    (tmp_path / "page.sql").write_text(sql)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "sqlstream", "run", "page.sql"],
        capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, shown), done.stderr


def test_files_that_pages_name_are_there() -> None:
    page = (ROOT / "docs" / "flink-and-duckdb.md").read_text()
    named = {n for n in re.findall(r"`([\w./]+)`", page) if "/" in n or n.endswith(".py")}
    missing = [n for n in sorted(named) if not ((ROOT / n).exists() or (ROOT / "sqlstream" / n).exists())]
    assert not missing, f"docs/flink-and-duckdb.md names {', '.join(missing)}"


@pytest.mark.parametrize("name", ["python.md", "tools.md"])
def test_python_pages(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their code in order, as one module; what is printed stands below each block."""
    for library in ("pandas", "polars", "sqlalchemy"):
        pytest.importorskip(library)
    from sqlalchemy.dialects import registry

    registry.register("sqlstream", "sqlstream.sqlalchemy", "dialect")
    page = (ROOT / "docs" / name).read_text()
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    shown = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", page, re.M | re.S)
    assert len(shown) == page.count("```python\n")
    for code, text in shown:
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(code, name, "exec"), names)
        assert out.getvalue() == text, code


def test_files_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Its SQL in order, but that views come before what reads them; a block of JSON has the rows of what stands above."""
    page = (ROOT / "docs" / "files.md").read_text()
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.M | re.S)
    views = [b for kind, b in blocks if kind == "sql" and b.startswith("CREATE VIEW")]
    (files,) = [b for kind, b in blocks if kind == "sh"]
    subprocess.run(["sh", "-e", "-c", files], check=True)
    for i, (kind, text) in enumerate(blocks):
        if kind == "sql":
            shown = blocks[i + 1][1] if blocks[i + 1][0] == "json" else None
            settings = Settings({"table.local-time-zone": "UTC"}, {}, "json")
            assert run_script(Script("".join(v for v in views if v != text) + text), settings) == 0
            out = capfd.readouterr().out
            assert shown is None or out == shown
            if text.startswith("SHOW CREATE"):
                assert json.loads(out)["result"] == blocks[i + 1][1].strip()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for kind, text in blocks:
        for command, shown in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", text, re.M) if kind == "console" else ():
            program = command.replace("sqlstream --", f"{shlex.quote(sys.executable)} -m sqlstream --")
            done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, timeout=120, env=environment)
            assert done.stdout == shown, done.stderr
