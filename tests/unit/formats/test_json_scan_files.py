"""Files by the scanner: when its kernel comes in the middle of one, when lines are unusual, and when code is nowhere kept."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sqlstream.connectors.block_decoder import ToolPool
from sqlstream.connectors.file_reader import FileReader, FileScan
from sqlstream.contracts import ScanColumn, ScanRequest, TableContext
from sqlstream.errors import OptionError
from sqlstream.formats.json import JsonFormat
from sqlstream.formats.json_scan.lines import scan_lines
from sqlstream.formats.json_scan.recipe import LOADING
from sqlstream.formats.scan import loading
from sqlstream.state.background import FEW, MANY, Background
from sqlstream.types import BIGINT, STRING, Schema, timestamp

REQUEST = ScanRequest(
    (ScanColumn(("a",), BIGINT), ScanColumn(("s",), STRING), ScanColumn(("t",), timestamp(3))),
    (("_keep", "c0 % 2 = 0"),),
)
PLAIN = {"json.fail-on-missing-field": False, "json.timestamp-format.standard": "SQL"}


def scan_of(path: Path, skips: bool = False) -> FileScan:
    decoder = JsonFormat().decoder(TableContext("t", Schema(()), {}), REQUEST, PLAIN)
    return FileScan(str(path), decoder, REQUEST, {}, "json", skips, keeps=skips, pool=ToolPool())


def read(scan: FileScan, position: Any = None, rows: int = 1 << 20) -> tuple[list[Any], list[Any], list[Any]]:
    """Rows, malformed records, and the positions after each batch."""
    reader, out, bad, positions = FileReader(scan, position), list[Any](), list[Any](), list[Any]()
    try:
        while not reader.finished:
            if (got := reader.poll(rows)) is not None:
                out += got.batch.to_pylist()
                bad += got.bad
                positions.append(got.position)
    finally:
        reader.close()
    return out, bad, positions


def line(n: int, rnd: random.Random) -> bytes:
    if rnd.random() < 0.02:
        return b'{"a":tru}' if rnd.random() < 0.5 else b'{"a":"%d.0","s":null}' % n
    return b'{"a":%d,"s":"x%d","t":"2020-01-01 00:00:00.%03d","l":[%d,2]}' % (n, n, n % 1000, n)


def write(path: Path, count: int) -> None:
    rnd = random.Random(4)
    path.write_bytes(b"".join(line(n, rnd) + b"\n" * (1 + (n % 50 == 0)) for n in range(count)))


@pytest.mark.parametrize("after", [0, 1, 3, 7])
def test_the_kernel_comes_in_the_middle_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """And goes on from every position of a reader that had it, or had it not."""
    write(tmp_path / "f.json", 400)
    monkeypatch.setattr("sqlstream.connectors.blocks.BLOCK", 1000)
    scan = scan_of(tmp_path / "f.json", skips=True)
    monkeypatch.setenv(loading.SWITCH, loading.OFF)
    rows, bad, _ = read(scan)
    assert len(rows) > 380
    assert bad
    monkeypatch.setenv(loading.SWITCH, loading.ON)
    LOADING.is_there(1)
    monkeypatch.delenv(loading.SWITCH)
    blocks = 0

    def there(size: int) -> bool:
        nonlocal blocks
        blocks += 1
        return blocks > after

    monkeypatch.setattr(LOADING, "is_there", there)
    found, found_bad, positions = read(scan_of(tmp_path / "f.json", skips=True), rows=7)
    assert (found, found_bad) == (rows, bad)
    assert blocks > 9
    for position in positions[::9]:
        rest, rest_bad, _ = read(scan_of(tmp_path / "f.json", skips=True), position)
        assert rest == rows[position["row"] :]
        assert rest_bad == bad[len(bad) - len(rest_bad) :]


@pytest.mark.parametrize("scanner", [loading.ON, loading.OFF])
def test_a_byte_order_mark_is_one_at_the_beginning_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scanner: str
) -> None:
    """Wherever blocks begin, and whatever else is malformed in them."""
    mark = b"\xef\xbb\xbf"
    lines = [b'{"a":%d}' % n if n % 3 else mark + b'{"a":%d}' % n for n in range(12)]
    (tmp_path / "f.json").write_bytes(b"\n".join([*lines, b"x"]))
    monkeypatch.setenv(loading.SWITCH, scanner)
    for size in range(20, 60):
        monkeypatch.setattr("sqlstream.connectors.blocks.BLOCK", size)
        monkeypatch.setattr("sqlstream.connectors.blocks.FIRST", size)
        rows, bad, _ = read(scan_of(tmp_path / "f.json", skips=True))
        assert [r["c0"] for r in rows] == [0, *(n for n in range(12) if n % 3)]
        assert [b.line for b in bad] == [4, 7, 10, 13]


def test_the_switch_is_understood_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(loading.SWITCH, "Off")
    assert not loading.is_allowed()
    monkeypatch.setenv(loading.SWITCH, "0")
    with pytest.raises(OptionError, match="SQLSTREAM_SCANNER is '0'"):
        loading.is_allowed()


def test_a_file_of_unusual_lines_is_read_by_a_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(b"".join(b'{"\\u0061":%d,"s":"x"}\n' % n for n in range(5000)))
    monkeypatch.setenv(loading.SWITCH, loading.OFF)
    rows, _, _ = read(scan_of(path))
    monkeypatch.setenv(loading.SWITCH, loading.ON)
    monkeypatch.setattr("sqlstream.connectors.blocks.FIRST", 4000)
    found, _, positions = read(scan_of(path))
    assert found == rows
    assert "byte" in positions[0]
    assert positions[-1] == {"row": 5000}
    for position in positions:
        assert read(scan_of(path), position)[0] == rows[position["row"] :]


@pytest.mark.parametrize("scanner", [loading.ON, loading.OFF, ""])
def test_a_process_without_a_cache(tmp_path: Path, scanner: str) -> None:
    """It compiles in another one, or itself where it is told to, and reads meanwhile."""
    write(tmp_path / "f.json", 20_000)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import test_json_scan_files as t; "
        "t.LOADING.kernel._enough = 1; rows, bad, _ = t.read(t.scan_of(Path(sys.argv[2]), skips=True)); print(len(rows), len(bad))"
    )
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        loading.SWITCH: scanner,
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "f.json")],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["19800", "200"]


def test_it_is_loaded_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there is enough to read; from the cache, into which `on` has put it."""
    monkeypatch.setenv(loading.SWITCH, loading.ON)
    assert LOADING.is_there(1)
    monkeypatch.delenv(loading.SWITCH)
    fresh = Background(scan_lines, loading.ENOUGH)
    monkeypatch.setattr(LOADING, "kernel", fresh)
    assert not LOADING.is_there(loading.ENOUGH - 1)
    assert fresh._thread is None
    LOADING.is_there(1)
    assert fresh._thread is not None
    fresh._thread.join(60)
    assert LOADING.is_there(1)
    monkeypatch.setenv(loading.SWITCH, loading.OFF)
    assert not LOADING.is_there(1)


def test_it_is_loaded_for_many_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement of DuckDB takes milliseconds for a single message, too: a queue with few bytes would wait for them for ever."""
    monkeypatch.setenv(loading.SWITCH, loading.ON)
    assert LOADING.is_there(1)
    monkeypatch.delenv(loading.SWITCH)
    fresh = Background(scan_lines, loading.ENOUGH)
    monkeypatch.setattr(LOADING, "kernel", fresh)
    assert not any(LOADING.is_there(1) for _ in range(FEW - 1))
    assert fresh._thread is None
    LOADING.is_there(1)
    assert fresh._thread is not None
    fresh._thread.join(60)
    assert LOADING.is_there(1)


def test_it_is_not_compiled_for_a_few_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Background(scan_lines, loading.ENOUGH)
    monkeypatch.setattr(fresh, "_is_cached", lambda: False)
    monkeypatch.setattr(fresh, "_load", lambda: None)
    assert not any(fresh.is_there(1) for _ in range(MANY - 1))
    assert fresh._thread is None
    fresh.is_there(1)
    assert fresh._thread is not None
