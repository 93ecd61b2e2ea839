"""`sqlstream samples`: scripts that run where they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlstream.cli import main, samples


def test_samples_run_where_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.main(["samples"]) == 0
    assert "files in queries and catalog" in capfd.readouterr().err
    assert main.main(["run", "queries/getting-started/changelog.sql"]) == 0
    assert "+I[Oslo, 1, 100]" in capfd.readouterr().out


def test_files_that_are_there_stay(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "queries" / "nexmark" / "q5.sql"
    mine.parent.mkdir(parents=True)
    mine.write_text("SELECT 1;")
    assert main.main(["samples", str(tmp_path)]) == 0
    assert mine.read_text() == "SELECT 1;" and "1 were there already" in capfd.readouterr().err


def test_a_place_that_cannot_be(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "queries").write_text("a file")
    assert main.main(["samples", str(tmp_path)]) == 1
    assert "cannot be written" in capfd.readouterr().err


def test_the_package_or_the_checkout_has_them() -> None:
    assert all((samples.root() / name).is_dir() for name in samples.NAMES)
