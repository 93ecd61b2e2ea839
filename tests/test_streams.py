"""Pipes and devices as tables: all rows, in both modes; a writer that is silent does not hang the command."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROWS = 20_000
MODES = ("batch", "streaming")


def command(path: str, mode: str, sql: str = "SELECT COUNT(*) AS n, SUM(a) AS s FROM t", **options: str) -> list[str]:
    given = "".join(f", '{k.replace('__', '-').replace('_', '.')}' = '{v}'" for k, v in options.items())
    table = f"CREATE TABLE t (a INT, b STRING) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv'{given});"
    script = f"{table} {sql};"
    return [sys.executable, "-m", "sqlstream", "-c", script, "-D", f"execution.runtime-mode={mode}", "--output", "json"]


def data() -> bytes:
    return b"".join(b"%d,x\n" % i for i in range(ROWS))


def answer(out: bytes) -> bytes:
    return out.strip().splitlines()[-1].replace(b'"op":"+U",', b"").replace(b'"op":"+I",', b"")


EXPECTED = b'{"n":%d,"s":%d}' % (ROWS, ROWS * (ROWS - 1) // 2)


@pytest.mark.parametrize("mode", MODES)
def test_standard_input(mode: str) -> None:
    done = subprocess.run(command("/dev/stdin", mode), input=data(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert answer(done.stdout) == EXPECTED


def test_a_table_that_a_batch_query_scans_twice() -> None:
    sql = "SELECT COUNT(*) AS n, SUM(x.a) AS s FROM t AS x JOIN t AS y ON x.a = y.a"
    done = subprocess.run(command("/dev/stdin", "batch", sql), input=data(), capture_output=True, timeout=120)
    assert answer(done.stdout) == EXPECTED, done.stderr


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["pipe", "pipe.gz"])
def test_named_pipes(mode: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    os.mkfifo(path)
    content = gzip.compress(data()) if name.endswith("gz") else data()

    def write() -> None:
        with open(path, "wb") as f:
            for i in range(0, len(content), 10_000):
                f.write(content[i : i + 10_000])
                f.flush()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    done = subprocess.run(command(str(path), mode), capture_output=True, timeout=120)
    writer.join(10)
    assert done.returncode == 0, done.stderr
    assert answer(done.stdout) == EXPECTED


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("silent", [True, False])  # the pipe has no writer yet; or one that writes a row and stays
def test_a_signal_ends_the_wait(mode: str, silent: bool, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    descriptor = None if silent else os.open(path, os.O_RDWR)
    wanted = command(str(path), mode, "SELECT a FROM t")
    with subprocess.Popen(wanted, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if descriptor is not None:
            os.write(descriptor, b"1,x\n2,")
        if descriptor is not None and mode == "streaming":
            assert process.stdout is not None
            assert process.stdout.readline().strip().endswith(b'"a":1}')
        else:
            opened(process, path)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 143, said
    if descriptor is not None:
        os.close(descriptor)


def opened(process: subprocess.Popen[bytes], path: Path) -> None:
    """Waits until the process has the pipe open."""
    end = time.monotonic() + 60
    descriptors = Path(f"/proc/{process.pid}/fd")
    if not descriptors.exists():
        pytest.skip("no /proc to see when the pipe is opened")
    while not any(os.path.realpath(d) == str(path) for d in descriptors.iterdir()):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("mode", MODES)
def test_files_whose_size_says_nothing(mode: str) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")
    sql = "SELECT b FROM t WHERE a LIKE 'Name%'"
    done = subprocess.run(
        [c.replace("a INT", "a STRING") for c in command("/proc/1/status", mode, sql, csv_field__delimiter="\\t", csv_ignore__parse__errors="true")],
        capture_output=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b'"b":' in done.stdout


def test_a_pipe_does_not_grow(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    done = subprocess.run(
        command(str(path), "streaming", source_monitor__interval="1 s"), capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert b"which is no file that grows" in done.stderr and b"hint: leave 'source.monitor-interval' out" in done.stderr


def of_stdin(sql: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "sqlstream", "-c", sql, "--output", "json", *more]


def test_rows_of_standard_input_come_while_it_is_written() -> None:
    process = subprocess.Popen(
        of_stdin("SELECT a * 2 AS twice FROM stdin WHERE b <> ''"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        for number in (1, 2, 3):
            process.stdin.write(b'{"a":%d,"b":"x"}\n' % number)
            process.stdin.flush()
            assert process.stdout.readline() == b'{"twice":%d}\n' % (2 * number)
        process.stdin.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()


@pytest.mark.parametrize(
    ("data", "sql", "expected"),
    [
        (b"1,x\n2,y\n", "SELECT f0, f1 FROM stdin", b'{"f0":1,"f1":"x"}\n{"f0":2,"f1":"y"}\n'),
        (b"id;name\n1;x\n", "SELECT name FROM stdin", b'{"name":"x"}\n'),
        (b'{"a":1}\n{"a":2}', "SELECT SUM(a) AS s FROM stdin", b'{"s":3}\n'),
        (b'{"a":1}\n{"a":2}\n', "SELECT x.a FROM stdin AS x JOIN stdin AS y ON x.a = y.a WHERE x.a > 1", b'{"a":2}\n'),
        (b"a\n1\n", "SELECT f0 FROM read_csv('-', header => false)", b'{"f0":"a"}\n{"f0":"1"}\n'),
        (b'{"a":1}\n', "SELECT a FROM read_json('/dev/stdin', types => 'a STRING')", b'{"a":"1"}\n'),
    ],
)  # fmt: skip
def test_standard_input_without_a_declaration(data: bytes, sql: str, expected: bytes) -> None:
    done = subprocess.run(of_stdin(sql), input=data, capture_output=True, timeout=120)
    assert (done.stdout, done.returncode) == (expected, 0), done.stderr


def test_limit_ends_a_writer_without_end() -> None:
    writer = subprocess.Popen(["yes", '{"a":1}'], stdout=subprocess.PIPE)
    try:
        done = subprocess.run(
            of_stdin("SELECT a FROM stdin LIMIT 2"), stdin=writer.stdout, capture_output=True, timeout=120
        )
        assert done.stdout == b'{"a":1}\n' * 2, done.stderr
    finally:
        writer.kill()
        writer.communicate()


def test_standard_input_that_is_none() -> None:
    master, terminal = os.openpty()
    try:
        for stdin, reason in (
            (terminal, b"is a terminal"),
            (subprocess.DEVNULL, b"there is nothing in standard input"),
        ):
            done = subprocess.run(of_stdin("SELECT * FROM stdin"), stdin=stdin, capture_output=True, timeout=120)
            assert done.returncode == 1 and reason in done.stderr and b"line 1:15" in done.stderr
    finally:
        os.close(master)
        os.close(terminal)


def test_errors_in_standard_input_name_it() -> None:
    for mode in MODES:
        done = subprocess.run(
            of_stdin("SELECT * FROM stdin /*+ OPTIONS('schema.sample-size' = '8 b') */", "-D", f"execution.runtime-mode={mode}"),
            input=b'{"a":1}\n' + b'{"a":"x"}\n', capture_output=True, timeout=120,
        )  # fmt: skip
        assert b"/dev/stdin, line 2" in done.stderr and b"field a: x is not a BIGINT" in done.stderr, done.stderr
