"""Every command's help, and every option in it, is what docs/cli.md says; each has an example."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from sqlstream.cli.main import main, program
from sqlstream.cli.parser import subparsers

ROOT = Path(__file__).parents[3]
PARSERS = {"": program(), **subparsers(program())}
PAGE = (ROOT / "docs" / "cli.md").read_text()


def section(name: str) -> str:
    heading = f"## sqlstream {name}".rstrip() + "\n"
    assert heading in PAGE, f"docs/cli.md has no {heading}"
    return PAGE.partition(heading)[2].partition("\n## sqlstream")[0]


@pytest.mark.parametrize("name", PARSERS, ids=lambda n: n or "sqlstream")
def test_help_is_as_documented(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main([*([name] if name else []), "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "examples" in shown and re.search(rf"^  (.* )?sqlstream {name}", shown, re.M), "it has no example"
    documented = section(name)
    for action in PARSERS[name]._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction) or action.help == argparse.SUPPRESS:
            continue
        assert action.help, f"{action.dest} has no help"
        for written in action.option_strings or [str(action.metavar)]:
            assert written in shown
            assert f"`{written}" in documented


@pytest.mark.parametrize("name", [n for n in PARSERS if n])
def test_examples_are_of_options_that_there_are(name: str) -> None:
    """Each `sqlstream …` of the epilog is a command line that the parser takes."""
    import shlex

    for line in (PARSERS[name].epilog or "").splitlines():
        for part in re.split(r"&&|\|\|?|<\(|\)|;(?= )", re.split(r"#|  ", line.strip())[0]):
            words = shlex.split(part) if part.count("'") % 2 == 0 and part.count('"') % 2 == 0 else []
            while words and "=" in words[0]:
                words.pop(0)
            if words[:1] == ["sqlstream"] and name in words and "exit" not in words[:1]:
                arguments = words[1:]
                if ">" in arguments:
                    arguments = arguments[: arguments.index(">")]
                program().parse_args(arguments)


def test_every_command_is_listed() -> None:
    text = program().format_help()
    assert all(re.search(rf"^    {name}\b", text, re.M) for name in PARSERS if name)
