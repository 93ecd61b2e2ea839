"""The forms of --output of what commands list."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from sqlstream.cli.arguments import OUTPUTS
from sqlstream.cli.main import main
from sqlstream.cli.records import FORMS

RECORDS = [{"name": "a|b", "n": None, "on": True}, {"name": "x\x1b[31m\ny,z", "n": 2, "on": False}]


def test_every_form_is_there() -> None:
    assert set(FORMS) == set(OUTPUTS) - {"table"}
    assert {name: form([]) for name, form in FORMS.items()} == dict.fromkeys(FORMS, "")


def test_forms() -> None:
    assert [json.loads(line) for line in FORMS["json"](RECORDS).splitlines()] == RECORDS
    assert FORMS["jsonl"] is FORMS["json"]
    assert list(csv.DictReader(FORMS["csv"](RECORDS).splitlines(keepends=True))) == [
        {"name": "a|b", "n": "", "on": "true"}, {"name": "x\x1b[31m\ny,z", "n": "2", "on": "false"},
    ]  # fmt: skip
    assert FORMS["markdown"](RECORDS) == (
        "| name | n | on |\n|---|---|---|\n| a\\|b |  | true |\n| x\\x1b[31m\\ny,z | 2 | false |\n"
    )
    assert FORMS["vertical"](RECORDS) == (
        "-[ RECORD 1 ]\nname | a|b\nn    |\non   | true\n-[ RECORD 2 ]\nname | x\\x1b[31m\\ny,z\nn    | 2\non   | false\n"
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", ["config runtime-mode", "catalog one --with v.sql", "version -v", "jobs"])
def test_commands_take_them(
    command: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    Path("v.sql").write_text("CREATE VIEW one AS SELECT 1 AS x")
    assert main([*command.split(), "--output", form]) == 0
    out = capsys.readouterr().out
    assert (out == "") == (command == "jobs")
