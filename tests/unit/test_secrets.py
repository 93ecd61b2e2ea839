"""Secrets are never shown: hostile ones in every place that shows options, paths or errors."""

from __future__ import annotations

import json
import re
import traceback
from pathlib import Path
from urllib.parse import quote

import pytest

from sqlstream import secrets
from sqlstream.connectors.kafka.settings import settings
from sqlstream.errors import SqlStreamError
from sqlstream.runtime.tables import check_tables, remembered
from sqlstream.secrets import HIDDEN_VALUE, redacted, shown_value
from sqlstream.session import Session

PASSWORDS = (
    "hunter2hunter2", "p@ss-w0rd-x", "sl/ash/word", "quo'te'word", 'double"quote"w', "spa ce wo rd", "que?stion=word", "ha#sh#word",
    "am&per=sand", "col:on:word", "per%cent%word", "@@@///'''", "pässwörd", "back\\slash\\w", "semi;colon=w",
)  # fmt: skip
WAYS = {  # as an option's value; what is around the secret stays, so that one still sees which it is
    "user": ("ftp://joe:{}@nowhere.invalid/data.json", "@nowhere.invalid/data.json"),
    "pwd": ("https://nowhere.invalid/data.json?pwd={}", "https://nowhere.invalid/data.json?pwd="),
    "key": ("https://nowhere.invalid/data.json?a=1&key={}", "https://nowhere.invalid/data.json?a=1&key="),
    "fragment": ("https://nowhere.invalid/data.json#password={}", "https://nowhere.invalid/data.json#password="),
    "sig": ("https://nowhere.invalid/data.json?sig={}&se=2030", "?sig=******"),
}


@pytest.fixture(autouse=True)
def nothing_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_learnt", set())
    monkeypatch.setattr(secrets, "_known", None)


def shows(text: str, password: str) -> bool:
    """Whether a text gives the password away, in any spelling; its longest run of plain letters counts, too."""
    spelled = (password, quote(password), password.replace("'", "''"), json.dumps(password)[1:-1], repr(password)[1:-1])
    return any(s in text for s in spelled)


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("way", WAYS)
def test_an_option_is_shown_without_its_secret(way: str, password: str) -> None:
    url, around = WAYS[way]
    shown = shown_value("path", url.format(password))
    assert not shows(shown, password) and around in shown and HIDDEN_VALUE in shown
    if way == "user" or not {"&", ";"} & set(password):  # those end a parameter, unless they are written as %26 and %3B
        left = shown.replace("password=", "")
        assert not [part for part in re.split(r"[^a-zäö]+", password) if len(part) > 2 and part in left]


PLACES = [*(("user", p) for p in PASSWORDS), *((way, p) for way in WAYS for p in PASSWORDS[3:6] if way != "user")]


@pytest.mark.share(1)
@pytest.mark.parametrize(("way", "password"), PLACES)
def test_places_of_output(way: str, password: str, tmp_path: Path) -> None:
    """SET, SHOW CREATE, EXPLAIN, errors at binding and reading, notes, the job's files."""
    url = WAYS[way][0].format(password).replace("'", "''")
    said: list[str] = []
    options = {"pipeline.name": "j", "execution.runtime-mode": "streaming"}
    session = Session(options=options, working_directory=str(tmp_path), on_message=said.append)

    def run(sql: str) -> None:
        try:
            for result in session.execute(sql):
                said.append(result.message)
                said.extend(str(b.to_pylist()) for b, _ in result.batches())
        except SqlStreamError as e:
            said.append("".join(traceback.format_exception_only(e)))

    run(f"SET 's3.endpoint' = '{url}'")
    run("SET")
    run("RESET 's3.endpoint'")
    run(f"SET 's3.endpoin' = '{url}'")
    run(f"SET 'parallelism.default' = '{url}'")
    run(f"CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = '{url}', 'format' = 'json')")
    run(f"CREATE TABLE broken (a INT) WITH ('connector' = 'filesystem', 'path' = '{url}' 'format' = 'json')")
    run(f"CREATE TABLE other (a INT) WITH ('connector' = 'filesystem', 'path' = '{url}', 'format' = 'jsn')")
    run(f"CREATE TABLE none WITH ('connector' = 'filesystem', 'path' = '{url}', 'format' = 'json')")
    run("SHOW CREATE TABLE t")
    run("EXPLAIN SELECT * FROM t")
    run("SET 'execution.runtime-mode' = 'batch'; EXPLAIN SELECT * FROM t; SELECT * FROM t;")
    run("SET 'execution.runtime-mode' = 'streaming'; SELECT * FROM t")
    run("CREATE TABLE o (a INT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json')")
    run("INSERT INTO o SELECT * FROM t")
    run("INSERT INTO t SELECT * FROM o")
    run(f"SET 'execution.checkpointing.dir' = '{url}'; INSERT INTO o VALUES (1)")
    text = "\n".join(said)
    assert not shows(text, password), text
    for file in (tmp_path / ".sqlstream").rglob("*"):
        if file.is_file():
            assert not shows(file.read_bytes().decode(errors="replace"), password), file


@pytest.mark.parametrize("password", PASSWORDS)
def test_an_option_with_a_telling_name(password: str) -> None:
    said: list[str] = []
    session = Session(options={"s3.secret-key": password})
    for sql in ("SET", f"SET 's3.secret-key' = '{password.replace(chr(39), chr(39) * 2)}'"):
        for result in session.execute(sql):
            said.append(result.message)
            said.extend(str(b.to_pylist()) for b, _ in result.batches())
    said.append(redacted(f"a library says: {password} is wrong"))
    said.append(str(SqlStreamError(f"bad: {password}", hint=f"not {password}")))
    said.append(repr(session.settings))
    assert not shows("\n".join(said), password)


def test_a_short_secret_is_hidden_where_it_stands_and_mangles_nothing_else() -> None:
    secrets.learn("path", "ftp://joe:ab@host/x")
    assert redacted("a crab at ftp://joe:ab@host/x") == "a crab at ftp://******@host/x"


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/dir@2024/x", "http://localhost:9000/a@b", "http://localhost:9000", "file:///tmp/a?b=c", "key=value",
        "in/day=monday/x.json", "memory://a/b", "https://host/x?keyboard=us&monkey=1&author=x",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert shown_value("path", text) == text == redacted(text)


def test_the_caret_stays_below_its_place() -> None:
    sql = "CREATE TABLE t (a INT) WITH ('path' = 'ftp://joe:it''s@host/x', 'password' = 'a''b', 'format' 'x')"
    line = redacted(sql, aligned=True)
    assert len(line) == len(sql) and "it" not in line[38:60] and "a''b" not in line


def test_what_a_checkpoint_remembers_of_secrets() -> None:
    tables = {"t": {"connector": "filesystem", "path": "ftp://joe:hunter2@host/x", "format": "json"}}
    kept = remembered(tables, "0123abcd")
    assert "hunter2" not in str(kept) and "joe" not in str(kept) and "@host/x" in kept["t"]["path"]
    check_tables("j", 1, kept, remembered(tables, "0123abcd"))
    other = {"t": {**tables["t"], "path": "ftp://joe:hunter3@host/x"}}
    with pytest.raises(SqlStreamError, match="'path' was") as e:
        check_tables("j", 1, kept, remembered(other, "0123abcd"))
    assert "hunter" not in str(e.value)


@pytest.mark.parametrize(
    "key", ["properties.ssl.key.pem", "properties.ssl.keystore.key", "properties.sasl.jaas.config"]
)
def test_private_keys_of_kafkas_clients_are_hidden(key: str) -> None:
    assert shown_value(key, "-----BEGIN PRIVATE KEY-----") == HIDDEN_VALUE
    assert "BEGIN" not in redacted(f"CREATE TABLE t (a INT) WITH ('{key}' = '-----BEGIN PRIVATE KEY-----')")


def test_a_password_within_a_jaas_config_is_hidden_by_itself() -> None:
    settings(
        {
            "properties.bootstrap.servers": "x",
            "properties.sasl.jaas.config": 'X required username="u" password="hunter2x";',
        }
    )
    assert redacted("login as u with hunter2x failed") == f"login as u with {HIDDEN_VALUE} failed"
