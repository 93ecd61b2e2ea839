"""What people write wrongly: each is answered with its place, a reason and a hint (`mistakes/*.txt`)."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

import sqlstream
from sqlstream.cli.main import main
from sqlstream.errors import SqlStreamError
from sqlstream.session import Session

PLACE = Path(__file__).parent / "mistakes"


@dataclass(frozen=True)
class Mistake:
    """`text` is wrong; `answer` begins with the place, the exception or the status that is expected."""

    text: str
    answer: str
    hint: str | None


def mistakes(name: str) -> list[Mistake]:
    found = []
    lines = [line for line in (PLACE / name).read_text().split("\n") if not line.startswith("# ")]
    for block in re.split(r"\n\n+", "\n".join(lines).strip()):
        text, _, rest = block.partition("\n-> ")
        answer, _, hint = rest.partition("\n?? ")
        assert answer, f"{name}: no answer:\n{block}"
        found.append(Mistake(text, answer, hint or None))
    return found


SQL = [m for name in ("queries.txt", "statements.txt") for m in mistakes(name)]


def test_there_are_two_hundred_and_no_two_are_one() -> None:
    assert len(SQL) >= 200
    assert len({m.text for m in SQL}) == len(SQL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files of the tables."""
    place = tmp_path_factory.mktemp("mistakes")
    order = '{"id":1,"user_id":1,"price":1.5,"status":"new","ordered_at":"2026-01-01 00:00:00"}\n'
    (place / "orders.json").write_text(order)
    (place / "users.json").write_text('{"id":1,"name":"ada"}\n{"id":2,"name":"bob"}\n')
    return place


@pytest.mark.parametrize("mistake", SQL, ids=lambda m: m.text)
def test_sql(mistake: Mistake, place: Path) -> None:
    session = Session(None, {}, str(place))
    list(session.execute((PLACE / "tables.sql").read_text()))
    with pytest.raises(SqlStreamError) as raised:
        for result in session.execute(mistake.text):
            for _ in result.batches():
                pass
    e = raised.value
    wanted = re.match(r"(\d+:\d+) ", mistake.answer)
    if wanted is not None:
        assert e.position is not None
        assert f"{e.position.line}:{e.position.column}" == wanted[1], str(e)
        assert "\n" in str(e) and "^" in str(e)
    assert mistake.answer.removeprefix(wanted[0] if wanted else "") in str(e).replace(f"{place}/", "")
    assert e.hint, f"no hint: {e}"
    assert (mistake.hint or "") in e.hint, str(e)


@pytest.mark.parametrize("mistake", mistakes("python.txt"), ids=lambda m: m.text)
def test_python(mistake: Mistake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    kind, _, text = mistake.answer.partition(" ")
    with sqlstream.connect() as c, pytest.raises(getattr(sqlstream, kind)) as raised:
        eval(mistake.text, {"sqlstream": sqlstream, "c": c, "k": c.cursor()})
    assert text in str(raised.value)


@pytest.mark.parametrize("mistake", mistakes("commands.txt"), ids=lambda m: m.text)
def test_commands(
    mistake: Mistake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, text = mistake.answer.partition(" ")
    try:
        code: object = main(shlex.split(mistake.text)[1:])
    except SystemExit as e:
        code = e.code
    error = capfd.readouterr().err
    assert code == int(status), error
    assert text in error and f"{mistake.hint or ''}" in error
