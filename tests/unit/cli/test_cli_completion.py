"""Completion, in the shells themselves."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_driver import environment, sqlstream

from sqlstream.cli.arguments import OUTPUTS


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the command, the scripts for each shell, two jobs and a file."""
    place = tmp_path_factory.mktemp("completion")
    (place / "bin").mkdir()
    command = place / "bin" / "sqlstream"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m sqlstream "$@"\n')
    command.chmod(0o755)
    for shell in ("bash", "zsh", "fish"):
        done = sqlstream("completion", shell, cwd=place)
        assert (done.status, done.err) == (0, "")
        (place / f"completion.{shell}").write_text(done.out)
    for job in ("counts", "clicks"):
        (place / ".sqlstream" / job).mkdir(parents=True)
    (place / "query.sql").touch()
    return place


def shell(home: Path, *command: str) -> list[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    path = f"{home / 'bin'}:{environment()['PATH']}"
    done = subprocess.run(
        command, cwd=home, capture_output=True, text=True, timeout=120,
        env=environment(PATH=path, HOME=str(home), XDG_STATE_HOME=str(home)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return sorted(done.stdout.split())


CASES = {
    ("val",): ["validate"],
    ("run", "--out"): ["--output"],
    ("jobs", "--output", ""): sorted(OUTPUTS),
    ("stop", "c"): ["clicks", "counts"],
    ("run", "q"): ["query.sql"],
    ("completion", "b"): ["bash"],
    ("-D", "pipeline.name=x", "chec"): ["checkpoints"],
}


@pytest.mark.parametrize(
    ("words", "expected"), CASES.items(), ids=lambda v: " ".join(v) if isinstance(v, tuple) else ""
)
def test_bash(home: Path, words: tuple[str, ...], expected: list[str]) -> None:
    assert of_bash(home, *words) == expected


def test_keys_and_values_of_options_in_bash(home: Path) -> None:
    assert of_bash(home, "run", "-D", "execution.runtime") == ["execution.runtime-mode="]
    assert of_bash(home, "run", "-D", "execution.runtime-mode=") == ["automatic", "batch", "streaming"]
    assert of_bash(home, "-D", "execution.runtime-mode=b") == ["batch"]
    assert {"run", "jobs", "init"} <= set(of_bash(home, ""))


def test_a_tab_on_a_terminal(home: Path) -> None:
    """An interactive bash, with its own ways to split words."""
    terminal, theirs = pty.openpty()
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=home,
        env=environment(PATH=path, TERM="dumb", PS1="> "), start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        for typed, expected in (
            ("source completion.bash; echo re''ady\n", "ready"),
            ("sqlstream val\t", "sqlstream validate "),
            ("q\t", "query.sql "),
            ("-D execution.runtime\t", "-D execution.runtime-mode="),
            ("b\t", "batch "),
        ):
            os.write(terminal, typed.encode())
            shown(terminal, expected)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def shown(terminal: int, expected: str) -> None:
    """Waits until a terminal shows it, behind what was typed."""
    seen, end = "", time.monotonic() + 60
    while expected not in seen:
        assert time.monotonic() < end, seen
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")


def of_bash(home: Path, *words: str) -> list[str]:
    """`=` is a word of its own, as in COMP_WORDBREAKS."""
    split = [p for w in ("sqlstream", *words) for p in w.replace("=", "\n=\n").split("\n") if p or not w]
    quoted = " ".join(f"'{w}'" for w in split)
    script = (
        f"source completion.bash; COMP_WORDS=({quoted}); COMP_CWORD={len(split) - 1}; _sqlstream 2>/dev/null; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return shell(home, "bash", "--norc", "-c", script)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sqlstream val", ["validate"]),
        ("sqlstream run --out", ["--output"]),
        ("sqlstream jobs --output ", sorted(OUTPUTS)),
        ("sqlstream stop c", ["clicks", "counts"]),
        ("sqlstream run -D execution.runtime-mode=b", ["execution.runtime-mode=batch"]),
    ],
)
def test_fish(home: Path, line: str, expected: list[str]) -> None:
    found = shell(home, "fish", "--no-config", "-c", f"source completion.fish; complete -C '{line}' | cut -f1")
    assert found == expected


def test_zsh_takes_the_script(home: Path) -> None:
    """What it offers: `compadd` and `_describe` are listened to."""
    script = """
    compadd() { print -l -- "${(@P)${@[-1]}}" 2>/dev/null; }
    _describe() { print -l -- "${(@P)2}"; }
    _files() { print files; }
    compset() { : }
    compdef() { : }
    source completion.zsh
    words=(sqlstream jobs --output ""); CURRENT=4; _sqlstream
    words=(sqlstream run ""); CURRENT=3; _sqlstream
    words=(sqlstream ""); CURRENT=2; _sqlstream | cut -d: -f1
    words=(sqlstream run -D "execution.runtime-mode="); CURRENT=4; _sqlstream
    """
    found = shell(home, "zsh", "-f", "-c", script)
    assert {"csv", "json", "table", "files", "validate", "batch", "streaming"} <= set(found)
