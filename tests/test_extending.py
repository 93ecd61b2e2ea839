"""docs/extending.md: the connector that it builds, as a package that is installed, and its tests."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    connector, contract = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (entry,) = re.findall(r"```toml\n\[project.entry-points.\"(.*?)\"\]\n(.*?)```", PAGE, re.S)
    (tmp_path / "listing.py").write_text(connector)
    (tmp_path / "test_listing.py").write_text(contract)
    info = tmp_path / "listing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: listing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{entry[0]}]\n{entry[1]}".replace('"', ""))
    (tmp_path / "data").mkdir()
    for n in range(5):
        (tmp_path / "data" / f"{n}.csv").write_text("x" * n)
    (tmp_path / "data" / "other").write_text("")
    return tmp_path


def command(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=package, env={"PYTHONPATH": str(package), "HOME": str(package), "PATH": ""},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_connector_of_a_package(package: Path) -> None:
    (sql,) = re.findall(r"```sql\n(.*?)```", PAGE, re.S)
    for mode in ("batch", "streaming"):
        (package / "q.sql").write_text(f"SET 'execution.runtime-mode' = '{mode}';\n{sql}")
        done = command(package, "-m", "sqlstream", "run", "--output", "csv", "q.sql")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].split(",")[-2:] == ["5", "10"]
    (package / "q.sql").write_text(sql.replace("'listing'", "'listin'"))
    assert "did you mean listing" in command(package, "-m", "sqlstream", "run", "q.sql").stderr


def test_its_tests(package: Path) -> None:
    done = command(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_listing.py")
    assert done.returncode == 0 and "7 passed" in done.stdout, done.stdout


def test_a_package_that_is_broken(package: Path) -> None:
    (package / "listing.py").write_text("import nowhere")
    (package / "q.sql").write_text("CREATE TABLE t (a INT) WITH ('connector' = 'listing'); SELECT * FROM t;")
    done = command(package, "-m", "sqlstream", "run", "q.sql")
    assert (
        "connector 'listing' of listing (listing:ListingConnector) cannot be loaded: ModuleNotFoundError" in done.stderr
    )
