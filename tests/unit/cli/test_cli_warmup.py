"""`sqlstream warmup`: all kernels in the cache, and what it says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_driver import sqlstream

from sqlstream.cli.main import main
from sqlstream.operators.kernels import all_kernels
from sqlstream.state import kernel_cache


def test_warmup_fills_the_cache_once(tmp_path: Path) -> None:
    n = len(all_kernels())
    done = sqlstream("warmup", "--verbose", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path))
    assert done.status == 0, done.err
    place = tmp_path / "sqlstream/kernels"
    assert done.out.startswith(f"{n} kernels in {place}: {n} compiled, 0 there before, ")
    assert "kernels.upsert_bytes: " in done.err and len(done.err.splitlines()) == n
    assert {f.name.partition("-")[0] for f in place.iterdir()} == set(all_kernels())
    again = sqlstream("warmup", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path))
    assert (again.status, again.err) == (0, "")
    assert again.out.startswith(f"{n} kernels in {place}: 0 compiled, {n} there before, ")


def test_without_a_directory_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(kernel_cache, "CACHE", kernel_cache.KernelCache())
    monkeypatch.setattr(kernel_cache, "candidates", lambda: [tmp_path / "file/kernels"])
    assert main(["warmup"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and f"no cache directory that can be written: {tmp_path}/file/kernels" in err
    assert "hint: set XDG_CACHE_HOME" in err


def test_help_has_an_example(tmp_path: Path) -> None:
    done = sqlstream("warmup", "--help", cwd=tmp_path)
    assert done.status == 0 and "examples:\n  sqlstream warmup" in done.out and "exit status:" in done.out
