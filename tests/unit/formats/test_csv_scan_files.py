"""Files of CSV: who reads them while the scanner's kernel is not there, and what waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from connector_cases import file_table, schema, source_of, whole

from sqlstream.formats.csv_scan.recipe import LOADING
from sqlstream.formats.csv_scan.records import scan_records
from sqlstream.formats.scan import loading
from sqlstream.state.background import Background
from sqlstream.types import BIGINT, STRING

AB = schema(("a", BIGINT), ("s", STRING))


def positions(path: Path, columns: Any = AB) -> list[Any]:
    """After each batch; there are as many rows as lines."""
    source = source_of(file_table(path, columns, format="csv"))
    (split,) = source.splits()
    reader, rows, found = source.reader(split, None, whole(columns)), 0, []
    try:
        while not reader.finished:
            if (got := reader.poll(1 << 20)) is not None:
                rows += got.batch.num_rows
                found.append(got.position)
    finally:
        reader.close()
    assert rows == path.read_bytes().count(b"\n")
    return found


def test_a_file_that_is_worth_it_waits_for_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is in the cache: small ones are read by a statement, which knows no bytes, until it is there."""
    monkeypatch.setenv(loading.SWITCH, loading.ON)
    assert LOADING.is_there(1)  # and in the cache
    monkeypatch.delenv(loading.SWITCH)
    monkeypatch.setattr(LOADING, "kernel", Background(scan_records, loading.ENOUGH))
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    small.write_bytes(b"1,x\n" * 100)
    large.write_bytes(b"1,%s\n" % (b"x" * 1000) * (loading.WORTH // 1000))
    assert positions(small) == [{"row": 100}]
    assert all("byte" in p for p in positions(large))
    assert "byte" in positions(small)[0]
    monkeypatch.setenv(loading.SWITCH, loading.OFF)
    assert all("byte" not in p for p in positions(large))


def test_a_process_without_a_cache_waits_for_no_compiler(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_bytes(b"1,%s\n" % (b"x" * 1000) * (loading.WORTH // 1000))
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]; from pathlib import Path; import test_csv_scan_files as t; "
        "places = t.positions(Path(sys.argv[3])); print('byte' in places[0], 'numba' in sys.modules)"
    )
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(here), str(here.parent / "connectors"), str(tmp_path / "f.csv")],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), loading.SWITCH: "", "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "False"]
