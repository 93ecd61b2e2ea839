"""The runbook: its files are made, its commands run one after the other in one shell, and their output is as shown."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.pages import matches, steps

from sqlstream.distribution import NAME

ROOT = Path(__file__).parents[1]
# What comes behind the runbook has jobs of its own, and its tests in test_docs.py.
PAGE, _BEHIND, _ = (ROOT / "docs" / "operations.md").read_text().partition("\n## A job that lasts\n")
FILES = dict(re.findall(r"^```(?:sql|ini|python|dockerfile)\n(?:--|#) (\S+)\n(.*?)^```$", PAGE, re.M | re.S))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    work, programs = tmp_path / "work", tmp_path / "bin"
    work.mkdir()
    programs.mkdir()
    for name, content in FILES.items():
        (work / name).write_text(content)
    program = programs / "sqlstream"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m sqlstream "$@"\n')
    program.chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    yield work
    for status in tmp_path.glob("*/.sqlstream/*/status.json"):
        if (pid := re.search(r'"pid": (\d+)', status.read_text())) is not None:
            _kill(int(pid[1]), tmp_path)


def _kill(pid: int, below: Path) -> None:
    try:
        if os.readlink(f"/proc/{pid}/cwd").startswith(str(below)):
            os.kill(pid, signal.SIGKILL)
    except OSError:
        return


def environment(place: Path) -> dict[str, str]:
    path = f"{place.parent / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(place.parent / "state")}


def test_every_command_does_what_is_shown(place: Path) -> None:
    """In one shell, as somebody would who reads it from top to bottom."""
    shell = subprocess.Popen(
        ["bash"], cwd=place, env=environment(place), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert shell.stdin is not None and shell.stdout is not None
    try:
        for command, shown in steps(PAGE):
            _as_if_time_had_passed(place, command)
            shell.stdin.write(f'{command}\necho "== $?"\n')
            shell.stdin.flush()
            out = ""
            while not (ended := re.fullmatch(r"== (\d+)\n", line := shell.stdout.readline())):
                assert line, (command, out)
                out += line
            assert ended[1] == "0", (command, out)
            assert matches(shown, out), f"$ {command}\n{out}\nand not\n{shown}"
    finally:
        shell.kill()
        shell.wait()
        shell.stdout.close()
        shell.stdin.close()
        assert shell.stderr is not None
        shell.stderr.close()
    _each_order_once(place.parent / "moved" / "out")


def _as_if_time_had_passed(place: Path, command: str) -> None:
    """Whoever reads the page has a job that has taken a checkpoint, and whose log has a line."""
    job = place / ".sqlstream" / "orders"
    wanted = {"logs": (job / "log" / "job.log", " rows in "), "status": (job / "status.json", r'"checkpoint": \d')}
    for word, (path, pattern) in wanted.items():
        end = time.monotonic() + 60
        while f"sqlstream {word}" in command and not re.search(pattern, _read(path)):
            assert time.monotonic() < end
            time.sleep(0.1)


def _each_order_once(out: Path) -> None:
    """What the page says of all its stops, kills and restores: nothing lost, nothing twice.

    The files before the savepoint that was restored last were removed with all others, as the page says."""
    ids = sorted(int(i) for f in out.glob("part-*") for i in re.findall(r'"id":(\d+)', f.read_text()))
    assert ids and ids == list(range(ids[0], ids[0] + len(ids)))


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    unit = FILES["sqlstream@.service"]
    found = configparser.ConfigParser(interpolation=None, strict=False)
    found.optionxform = str  # type: ignore[assignment, method-assign]
    found.read_string(unit)
    assert set(found) == {"DEFAULT", "Unit", "Service", "Install"}
    if (analyze := shutil.which("systemd-analyze")) is None:
        return
    # it looks whether the program and the user are there, which are those of the machine that it is made for
    here = unit.replace("/opt/sqlstream/bin/sqlstream", "/bin/true").replace("User=etl\n", "")
    (tmp_path / "sqlstream@.service").write_text(here)
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / "sqlstream@.service")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    about_it = [line for line in done.stderr.splitlines() if "sqlstream@" in line]
    assert not about_it, done.stderr


def lived(place: Path, command: list[str], number: int) -> tuple[int, str]:
    """Runs a command until its job has a checkpoint, then sends it the signal that a supervisor sends."""
    with open(place / "messages", "w") as messages:
        process = subprocess.Popen(command, cwd=place, env=environment(place), stdout=messages, stderr=messages)
        end = time.monotonic() + 60
        while not re.search(r'"checkpoint": \d', _read(place / ".sqlstream/orders/status.json")):
            assert time.monotonic() < end and process.poll() is None, _read(place / "messages")
            time.sleep(0.1)
        process.send_signal(number)
        return process.wait(60), _read(place / "messages")


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_what_the_unit_runs_is_started_and_stopped_as_systemd_does(place: Path) -> None:
    unit = FILES["sqlstream@.service"]
    (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    program, *arguments = shlex.split(line.replace("%i", "orders"))
    assert Path(program).name == "sqlstream"
    status, said = lived(place, [str(place.parent / "bin" / "sqlstream"), *arguments], signal.SIGTERM)
    (success,) = re.findall(r"^SuccessExitStatus=(\d+)$", unit, re.M)
    assert status == int(success) and "stopped at checkpoint" in said, said


def test_what_the_image_runs_is_started_and_stopped_as_a_container_is(place: Path) -> None:
    image = FILES["Dockerfile"]
    assert f"pip install --no-cache-dir {NAME} && sqlstream warmup" in image
    (command,) = re.findall(r"^CMD (\[.*\])$", image, re.M)
    (check,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", image, re.M)
    (name,) = re.findall(r"^STOPSIGNAL (\w+)$", image, re.M)
    program, *arguments = re.findall(r'"(.*?)"', command)
    path = str(place.parent / "bin" / program)
    checked = subprocess.run(
        re.findall(r'"(.*?)"', check), cwd=place, env=environment(place), capture_output=True, timeout=60
    )
    assert checked.returncode == 1  # there is no such job yet
    status, said = lived(place, [path, *arguments], getattr(signal, name))
    assert status == 143 and "stopped at checkpoint" in said, said
    checked = subprocess.run(
        re.findall(r'"(.*?)"', check), cwd=place, env=environment(place), capture_output=True, timeout=60
    )
    assert checked.returncode == 3  # it does not run any more


def test_files_and_commands_are_there() -> None:
    assert set(FILES) == {"orders.sql", "sqlstream@.service", "Dockerfile", "check.py"}
    assert _BEHIND and len(steps(PAGE)) > 15
