"""Every option has a reader, and does what it says or says that it does nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

import sqlstream
from sqlstream.connectors.registry import CONNECTORS
from sqlstream.errors import OptionError, SqlStreamError
from sqlstream.formats.registry import FORMATS
from sqlstream.options import SESSION_OPTIONS, WITHOUT_EFFECT, Option, SessionOptions, find, without_effect
from sqlstream.session import Session

PACKAGE = Path(sqlstream.__file__).parent


def attributes(module: str) -> set[str]:
    """The names of attributes that a module reads, e.g. `options.parallelism`."""
    tree = ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text())
    return {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}


@pytest.mark.parametrize("field", fields(SessionOptions), ids=lambda f: f.metadata["option"].key)
def test_a_session_option_has_a_reader(field: object) -> None:
    option: Option = field.metadata["option"]  # type: ignore[attr-defined]
    assert option.reader, f"{option.key} names no reader"
    assert field.name in attributes(option.reader), f"{option.reader} does not read {option.key}"  # type: ignore[attr-defined]


@cache
def keys_read() -> set[str]:
    """Constants that connectors and formats look options up by: `options["path"]`, `options.get(f"{x}.y")`."""
    found: set[str] = set()

    def texts(node: ast.expr) -> Iterator[str]:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield from (str(v.value) for v in node.values if isinstance(v, ast.Constant))

    for path in [*(PACKAGE / "connectors").rglob("*.py"), *(PACKAGE / "formats").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                inside = [*node.args, *(k.value for k in node.keywords)]
                if isinstance(node.func, ast.Name) and node.func.id == "Option":
                    continue
                for argument in inside:
                    found.update(texts(argument))
            elif isinstance(node, ast.Subscript):
                found.update(texts(node.slice))
            elif isinstance(node, ast.Dict):  # what options are called elsewhere
                for key in node.keys:
                    found.update(texts(key) if key is not None else ())
    return found


def declared() -> list[Option]:
    forms = [f if isinstance(f, type) else type(f) for f in FORMATS.values()]
    return [o for x in [*CONNECTORS.values(), *forms] for o in x.options]


@pytest.mark.parametrize("option", declared(), ids=lambda o: o.key)
def test_an_option_of_a_table_has_a_reader(option: Option) -> None:
    if option.doc.startswith("no effect: "):  # the documentation says so
        return
    read = keys_read()
    name, _, rest = option.key.partition(".")
    assert option.key.rstrip("*") in read or option.key in read or (name in FORMATS and f".{rest.rstrip('*')}" in read)


def test_options_are_one_typed_object() -> None:
    made = SessionOptions.of({"parallelism.default": "3", "execution.checkpointing.interval": "2 s"})
    assert (made.parallelism, made.interval, made.time_zone) == (3, 2_000_000, "UTC")
    assert SessionOptions.of({}) == SessionOptions()
    assert "hunter2" not in repr(SessionOptions.of({"s3.secret-key": "hunter2"}))
    assert [o.key for o in SESSION_OPTIONS if o.default != getattr(SessionOptions(), field_of(o))] == []


@pytest.mark.parametrize(
    ("former", "value", "field", "meant"),
    [
        ("state.backend", "rocksdb", "backend", "rocksdb"),
        ("state.backend", "HASHMAP", "backend", "hashmap"),
        ("state.backend", "filesystem", "backend", "hashmap"),
        ("state.backend", "jobmanager", "backend", "hashmap"),
        ("state.backend.incremental", "false", "incremental", False),
        ("state.checkpoints.dir", "/c", "checkpoint_dir", "/c"),
        ("state.checkpoints.num-retained", "3", "retained", 3),
    ],
)
def test_former_keys_of_flink(former: str, value: str, field: str, meant: object) -> None:
    session = Session(options={former: value})
    assert getattr(session.settings, field) == meant
    now = next(o.key for o in SESSION_OPTIONS if field_of(o) == field)
    both = SessionOptions.of({former: value, now: {"backend": "rocksdb", "incremental": "true"}.get(field, "5")})
    assert getattr(both, field) == {"backend": "rocksdb", "incremental": True, "retained": 5}.get(field, "5")
    list(session.execute(f"RESET '{former}';"))


def test_several_values_of_one_option() -> None:
    key = "state.backend.rocksdb.compression.per.level"
    made = SessionOptions.of({key: "no_compression;LZ4_COMPRESSION; zstd_compression"})
    assert made.store_compression == ("NO_COMPRESSION", "LZ4_COMPRESSION", "ZSTD_COMPRESSION")
    with pytest.raises(OptionError, match="'LZ5_COMPRESSION' is not a value of it") as e:
        SessionOptions.of({key: "LZ4_COMPRESSION;LZ5_COMPRESSION"})
    assert "LZ4_COMPRESSION" in (e.value.hint or "")


def field_of(option: Option) -> str:
    return next(f.name for f in fields(SessionOptions) if f.metadata["option"] is option)


@pytest.mark.parametrize("value", ["129", "100000", "0", "-1", "two"])
def test_parallelism_is_within_the_key_groups(value: str) -> None:
    with pytest.raises(OptionError, match="parallelism.default"):
        Session(options={"parallelism.default": value})
    assert Session(options={"parallelism.default": "128"}).settings.parallelism == 128


@pytest.mark.parametrize(
    "key",
    [
        "table.exec.mini-batch.enabled",
        "table.exec.mini-batch.allow-latency",
        "table.optimizer.multiple-input-enabled",
        "table.exec.resource.default-parallelism",
        "pipeline.max-parallelism",
    ],
)
def test_harmless_options_of_flink_are_accepted_and_said_to_do_nothing(key: str) -> None:
    said: list[str] = []
    session = Session(on_message=said.append)
    for _ in session.execute(f"SET '{key}' = 'x'; SET '{key}' = 'y'; RESET '{key}';"):
        pass
    assert len(said) == 1 and f"'{key}' has no effect here: " in said[0]


@pytest.mark.parametrize("key", ["table.exec.minibatch.enabled", "table.exec.sink.keyed-shuffle"])
def test_what_could_change_rows_is_refused(key: str) -> None:
    assert without_effect(key) is None
    with pytest.raises(OptionError, match="unknown option"):
        list(Session().execute(f"SET '{key}' = 'x';"))


def test_nothing_is_both_declared_and_without_effect() -> None:
    for key in WITHOUT_EFFECT:
        assert find(SESSION_OPTIONS, key) is None, key
    for option in SESSION_OPTIONS:
        assert without_effect(option.key) is None


def test_insert_overwrite_says_what_works() -> None:
    session = Session()
    session_sql = "CREATE TABLE t (a INT) WITH ('connector' = 'blackhole'); INSERT OVERWRITE t SELECT 1;"
    with pytest.raises(SqlStreamError) as e:
        list(session.execute(session_sql))
    assert "'connector' = 'filesystem'" in (e.value.hint or "")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("execution.checkpointing.interval", "9999999999999999999", "at most 106751 d"),
        ("restart-strategy.fixed-delay.delay", "106752 d", "at most 106751 d"),
        ("restart-strategy.fixed-delay.attempts", "9223372036854775808", "a number of 64 bits"),
        ("execution.checkpointing.num-retained", "1_000", "a whole number"),
        ("execution.checkpointing.num-retained", "٣", "a whole number"),
        ("restart-strategy.exponential-delay.jitter-factor", "nan", "a number"),
        ("restart-strategy.exponential-delay.backoff-multiplier", "inf", "a number"),
        ("restart-strategy.exponential-delay.backoff-multiplier", "1e999", "a number"),
    ],
)
def test_numbers_that_are_none_of_flinks(key: str, value: str, expected: str) -> None:
    """Its whole numbers and durations are Java's; nothing can wait for longer, and no delay is NaN."""
    with pytest.raises(OptionError, match=f"'{key}': expected {expected}, not '{value}'"):
        SessionOptions.of({key: value})
    assert SessionOptions.of({"restart-strategy.fixed-delay.delay": "106751 d"}).fixed_delay < 2**63


@pytest.mark.parametrize("key", ["execution.checkpointing.storage", "state.checkpoint-storage"])
def test_checkpoints_are_files(key: str) -> None:
    Session(options={key: "filesystem"})
    with pytest.raises(OptionError, match="only 'filesystem' can be had, not 'jobmanager'"):
        Session(options={key: "jobmanager"})


def test_a_place_for_checkpoints_has_a_name() -> None:
    session = Session(options={"execution.checkpointing.dir": " ", "execution.runtime-mode": "streaming"})
    with pytest.raises(OptionError, match="'execution.checkpointing.dir' is empty"):
        list(
            session.execute(
                "CREATE TABLE s (a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');"
                "CREATE TABLE t (a INT) WITH ('connector' = 'blackhole'); INSERT INTO t SELECT a FROM s;"
            )
        )
