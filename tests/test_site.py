"""The documentation as a site (mkdocs.yml)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def pages(nav: Any) -> Iterator[str]:
    for entry in nav:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from [value] if isinstance(value, str) else pages(value)


def test_every_page_is_in_the_navigation() -> None:
    listed = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    there = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
    missing = {p for p in there if not p.startswith("decisions/")} - set(listed)
    assert not missing, f"nav of mkdocs.yml has not {', '.join(sorted(missing))}"
    assert set(listed) <= there and len(set(listed)) == len(listed)


@pytest.mark.parametrize(
    ("link", "page", "becomes"),
    [
        ("[a](sql.md#joins)", "index.md", None),
        ("[a](../sql.md)", "tutorial/windows.md", None),
        ("[a](https://x.y/z/)", "index.md", None),
        ("[a](../README.md#b)", "sql.md", "[a](https://github.com/sqlstream-engine/sqlstream/blob/main/README.md#b)"),
        ("[a](decisions/)", "sql.md", "[a](https://github.com/sqlstream-engine/sqlstream/blob/main/docs/decisions)"),
    ],
)
def test_links_out_of_the_pages(link: str, page: str, becomes: str | None) -> None:
    spec = importlib.util.spec_from_file_location("site_links", ROOT / "tools" / "site_links.py")
    assert spec is not None and spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    made = hook.on_page_markdown(link, SimpleNamespace(file=SimpleNamespace(src_uri=page)))
    assert made == (becomes or link)


def test_it_builds_without_warnings(tmp_path: Path) -> None:
    for library in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(library, reason=f"{library} is not installed: extra docs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "fetch_record_batch_reader" in (tmp_path / "api" / "index.html").read_text()
