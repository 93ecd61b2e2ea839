"""The SQLAlchemy dialect: its own suite, and what pandas, Polars and users do with an engine."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

sa = pytest.importorskip("sqlalchemy")

from sqlalchemy.dialects import registry  # noqa: E402

import sqlstream  # noqa: E402
from sqlstream.sqlalchemy import ARRAY, MAP, ROW, STRING, TIMESTAMP  # noqa: E402

registry.register("sqlstream", "sqlstream.sqlalchemy", "dialect")  # as the entry point does where it is installed
HERE = Path(__file__).parent


@pytest.fixture
def engine() -> Iterator[Any]:
    made = sa.create_engine("sqlstream://")
    yield made
    made.dispose()


def test_the_suite_of_sqlalchemy() -> None:
    """What is left out stands in tests/sqlalchemy_suite: requirements.py and exceptions.py, with reasons."""
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", ".", "-c", "setup.cfg", "-p", "plugin"]
    done = subprocess.run(
        [
            *command,
            "-p",
            "no:cacheprovider",
            "suite.py",
            "--dburi",
            "sqlstream://",
            "--maxfail",
            "20",
            "-W",
            "ignore::sqlalchemy.exc.SAWarning",
        ],
        cwd=HERE / "sqlalchemy_suite",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 600


def test_entry_point() -> None:
    text = (HERE.parent / "pyproject.toml").read_text()
    assert '[project.entry-points."sqlalchemy.dialects"]\nsqlstream = "sqlstream.sqlalchemy:dialect"' in text


# ---- URLs and connections


def test_url(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlstream:///{tmp_path}/shop?fetch_timeout=0.05&execution.runtime-mode=streaming")
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver.fetch_timeout == 0.05
        rows = connection.exec_driver_sql("SET").all()
        assert ("execution.runtime-mode", "streaming") in rows
        connection.exec_driver_sql("CREATE VIEW v AS SELECT 1 AS a")
    engine.dispose()
    assert (tmp_path / "shop" / "catalog.sql").exists()
    again = sa.create_engine(f"sqlstream:///{tmp_path}/shop")
    assert sa.inspect(again).get_view_names() == ["v"]
    again.dispose()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlstream://host/db", "has no host"),
        ("sqlstream:///?fetch_timeout=soon", "number of seconds"),
        ("sqlstream:///?execution.runtime-mod=batch", "did you mean"),
    ],
)
def test_wrong_urls(url: str, message: str) -> None:
    with pytest.raises((sa.exc.ArgumentError, sa.exc.DBAPIError), match=message):
        sa.create_engine(url).connect()


def test_threads_share_the_engines_catalog(engine: Any) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW one AS SELECT 1 AS a")
    seen: list[Any] = []

    def read() -> None:
        with engine.connect() as other:
            seen.append(other.exec_driver_sql("SELECT a FROM one").scalar())

    threads = [threading.Thread(target=read) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert seen == [1, 1, 1]
    other = sa.create_engine("sqlstream://")
    assert not sa.inspect(other).has_table("one")
    other.dispose()


def test_another_connection_has_the_same_catalog_and_options() -> None:
    with sqlstream.connect(**{"execution.runtime-mode": "streaming"}) as first:
        with first.another() as second:
            second.execute("CREATE VIEW v AS SELECT 2 AS a")
            assert second.execute("SET").fetchall() == first.execute("SET").fetchall()
        assert first.execute("SELECT a FROM v").fetchall() == [(2,)]


def test_rollback_is_harmless(engine: Any) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE VIEW v AS SELECT 1 AS a")
        connection.rollback()
        assert connection.exec_driver_sql("SELECT a FROM v").scalar() == 1
        assert connection.get_isolation_level() == "AUTOCOMMIT"


# ---- types, both ways


def test_types_of_columns_come_back(engine: Any) -> None:
    metadata = sa.MetaData()
    columns: list[tuple[str, Any, str, Any]] = [
        ("i", sa.Integer, "INT", 1),
        ("b", sa.BigInteger, "BIGINT", 2**40),
        ("f", sa.Float, "DOUBLE", 0.1),
        ("r", sa.REAL, "FLOAT", 0.5),
        ("n", sa.Numeric(12, 2), "DECIMAL(12, 2)", Decimal("3.25")),
        ("wide", sa.Numeric, "DECIMAL(38, 18)", Decimal("3.250000000000000000")),
        ("s", sa.String, "STRING", 'it\'s ` "ü"'),
        ("v", sa.String(7), "VARCHAR(7)", "seven"),
        ("x", sa.LargeBinary, "BYTES", b"\x00\xff"),
        ("t", sa.Boolean, "BOOLEAN", True),
        ("d", sa.Date, "DATE", datetime.date(2024, 2, 29)),
        ("h", sa.Time, "TIME(6)", datetime.time(1, 2, 3, 4)),
        ("ts", sa.DateTime, "TIMESTAMP(6)", datetime.datetime(2024, 2, 29, 1, 2, 3, 4)),
        ("ms", TIMESTAMP(3), "TIMESTAMP(3)", datetime.datetime(2024, 2, 29, 1, 2, 3, 4000)),
        (
            "at",
            sa.DateTime(timezone=True),
            "TIMESTAMP_LTZ(6)",
            datetime.datetime(2024, 2, 29, 1, 2, 3, 4, datetime.UTC),
        ),
        ("gap", sa.Interval, "INTERVAL DAY TO SECOND(6)", datetime.timedelta(days=1, microseconds=5)),
        ("tags", ARRAY(sa.String), "ARRAY<STRING>", ["a", "b"]),
        ("m", MAP(sa.String, sa.Integer), "MAP<STRING, INT>", {"a": 1}),
        (
            "row",
            ROW(("city", sa.String), ("spots", ARRAY(sa.Integer))),
            "ROW<`city` STRING, `spots` ARRAY<INT>>",
            {"city": "Rome", "spots": [1, 2]},
        ),
    ]
    table = sa.Table("all_types", metadata, *(sa.Column(name, t) for name, t, _, _ in columns))
    metadata.create_all(engine)
    compiler = engine.dialect.type_compiler_instance
    reflected = sa.inspect(engine).get_columns("all_types")
    assert [(c["name"], compiler.process(c["type"])) for c in reflected] == [(n, text) for n, _, text, _ in columns]
    nested = ("m", "row")  # of one type with other values a literal is; a dict alone is a MAP
    values = {n: v for n, _, _, v in columns if n not in nested}
    with engine.begin() as connection:
        connection.execute(table.insert(), [values])
        (row,) = connection.execute(sa.select(*(table.c[n] for n in values)))
        assert row._asdict() == values
        named = sa.text(
            "SELECT MAP['a', 1] AS m, CAST(ROW('Rome', ARRAY[1, 2]) AS ROW<city STRING, spots ARRAY<INT>>) AS r"
        )
        assert tuple(connection.execute(named).one()) == ({"a": 1}, {"city": "Rome", "spots": [1, 2]})


def test_literals_have_their_types(engine: Any) -> None:
    values = [
        sa.literal(datetime.date(2024, 1, 2), literal_execute=True),
        sa.literal(datetime.datetime(2024, 1, 2, 3), literal_execute=True),
        sa.literal(b"\x01", literal_execute=True),
        sa.literal("a'b", literal_execute=True),
        sa.literal([1, 2], ARRAY(sa.Integer), literal_execute=True),
    ]
    with engine.connect() as connection:
        row = connection.execute(sa.select(*values)).one()
    assert tuple(row) == (datetime.date(2024, 1, 2), datetime.datetime(2024, 1, 2, 3), b"\x01", "a'b", [1, 2])


def test_numbers_of_both_kinds_in_many_rows() -> None:
    with sqlstream.connect() as connection:
        got: list[Any] = []
        connection.register_sink("t", lambda batch: got.extend(batch.to_pylist()), "x DOUBLE, a ARRAY<DOUBLE>")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(0.5, [1.5, Decimal("2.5")]), (Decimal("1.25"), [])])
    assert got == [{"x": 0.5, "a": [1.5, 2.5]}, {"x": 1.25, "a": []}]


# ---- tables


def test_tables_say_where_they_are(engine: Any, tmp_path: Path) -> None:
    metadata = sa.MetaData()
    clicks = sa.Table(
        "clicks",
        metadata,
        sa.Column("user name", STRING, comment="who"),
        sa.Column("at", TIMESTAMP(3)),
        sa.Column("day", sa.Date),
        sa.Column("hour", sa.Integer, sa.Computed("EXTRACT(HOUR FROM `at`)")),
        sqlstream_with={"connector": "filesystem", "path": str(tmp_path / "clicks"), "format": "json"},
        sqlstream_watermark="`at` AS `at` - INTERVAL '5' SECOND",
        sqlstream_partitioned_by=["day"],
    )
    metadata.create_all(engine)
    when = datetime.datetime(2024, 1, 2, 3, 4, 5)
    with engine.begin() as connection:
        connection.execute(clicks.insert(), [{"user name": "ann", "at": when, "day": when.date()}])
        assert connection.execute(sa.select(clicks)).all() == [("ann", when, when.date(), 3)]
    assert [p.name for p in (tmp_path / "clicks").glob("day=*")] == ["day=2024-01-02"]
    again = sa.Table("clicks", sa.MetaData(), autoload_with=engine)
    assert again.c["user name"].comment == "who" and again.c.hour.computed is not None
    assert again.dialect_options["sqlstream"]["with"]["format"] == "json"
    assert again.dialect_options["sqlstream"]["partitioned_by"] == ["day"]
    metadata.drop_all(engine)
    assert (tmp_path / "clicks").exists()  # what a table names itself is not the dialect's to remove


def test_tables_without_a_place_are_kept_with_the_catalog(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlstream:///{tmp_path}/shop")
    metadata = sa.MetaData()
    table = sa.Table("a/b", metadata, sa.Column("x", sa.Integer, primary_key=True, autoincrement=False))
    metadata.create_all(engine)
    with engine.begin() as connection:
        assert connection.execute(table.select()).all() == []
        assert connection.execute(table.insert(), [{"x": 1}, {"x": 2}]).rowcount == 2
    engine.dispose()
    again = sa.create_engine(f"sqlstream:///{tmp_path}/shop")
    assert sa.inspect(again).get_pk_constraint("a/b")["constrained_columns"] == ["x"]
    with again.begin() as connection:
        assert sorted(connection.execute(table.select()).scalars()) == [1, 2]
        connection.execute(table.delete())
        assert connection.execute(table.select()).all() == []
        connection.execute(table.insert(), [{"x": 3}])
    metadata.drop_all(again)
    metadata.create_all(again)
    with again.begin() as connection:
        assert connection.execute(table.select()).all() == []
    again.dispose()


def test_delete_never_leaves_rows_in_silence(engine: Any) -> None:
    """INSERT OVERWRITE of no rows replaces no partition."""
    metadata = sa.MetaData()
    columns = sa.Column("d", sa.String), sa.Column("v", sa.Integer)
    table = sa.Table("parted", metadata, *columns, sqlstream_partitioned_by=["d"])
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"d": "a", "v": 1}, {"d": "b", "v": 2}])
        with pytest.raises(sa.exc.CompileError, match="'parted': it is partitioned, and nothing would be deleted"):
            connection.execute(sa.delete(sa.table("parted", sa.column("v"))))
        assert len(connection.execute(table.select()).all()) == 2


def test_table_options(tmp_path: Path) -> None:
    options = {"connector": "filesystem", "path": f"{tmp_path}/{{table}}", "format": "csv"}
    engine = sa.create_engine("sqlstream://", table_options=options)
    metadata = sa.MetaData()
    table = sa.Table("t", metadata, sa.Column("x", sa.Integer))
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(table.insert(), [{"x": 7}])
    engine.dispose()
    (part,) = (tmp_path / "t").glob("part-*")
    assert part.read_text() == "7\n"


def test_what_nobody_keeps_is_said(engine: Any) -> None:
    unique = sa.Table("u", sa.MetaData(), sa.Column("x", sa.Integer, unique=True))
    with pytest.warns(sa.exc.SAWarning, match="table u: UNIQUE is left out"):
        unique.create(engine)
    default = sa.Table("d", sa.MetaData(), sa.Column("x", sa.Integer, server_default="1"))
    with pytest.raises(sa.exc.CompileError, match="no DEFAULT"):
        default.create(engine)
    with engine.connect() as connection, pytest.raises(sa.exc.NotSupportedError, match="DELETE is not supported"):
        connection.execute(unique.delete().where(unique.c.x == 1))


def test_temporary_tables_are_dropped(engine: Any) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE t (x INT) WITH ('connector' = 'blackhole')")
    inspector = sa.inspect(engine)
    assert (inspector.get_temp_table_names(), inspector.get_table_names()) == (["t"], [])
    sa.Table("t", sa.MetaData(), autoload_with=engine).drop(engine)
    assert sa.inspect(engine).get_temp_table_names() == []


def test_names_with_the_database(engine: Any) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW v AS SELECT 1 AS a")
        for schema in sa.inspect(engine).get_schema_names() + ["default_catalog.default_database"]:
            v = sa.Table("v", sa.MetaData(), autoload_with=engine, schema=schema)
            assert connection.execute(sa.select(v).where(v.c.a == 1)).all() == [(1,)]
    with pytest.raises(sa.exc.NoSuchTableError, match="v"):
        sa.Table("v", sa.MetaData(), autoload_with=engine, schema="other")


# ---- streams


@pytest.fixture
def clicks(engine: Any) -> Any:
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE clicks (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000', "
            "'fields.n.min' = '7', 'fields.n.max' = '7')"
        )
    return sa.Table("clicks", sa.MetaData(), autoload_with=engine)


def test_a_continuous_query(engine: Any, clicks: Any) -> None:
    with engine.connect() as connection:
        with connection.execute(sa.select(clicks.c.n)) as result:
            assert [row.n for row, _ in zip(result, range(3), strict=False)] == [7, 7, 7]
        with connection.execution_options(yield_per=10).execute(sa.select(clicks.c.n)) as result:
            part = next(result.partitions())
            assert 1 <= len(part) <= 10 and part[0].n == 7
        with (
            connection.execution_options(stream_results=True).execute(sa.select(clicks.c.n)) as result,
            pytest.raises(sa.exc.NotSupportedError, match="never ends"),
        ):
            result.all()


def test_changes_have_their_kind(engine: Any, clicks: Any) -> None:
    with (
        engine.connect() as connection,
        connection.execute(sa.select(sa.func.count().label("rows")).select_from(clicks)) as result,
    ):
        row = result.fetchone()
        assert (row.op, row.rows > 0) == ("+I", True)


def test_a_timeout_is_an_operational_error(clicks: Any, engine: Any) -> None:
    with engine.connect() as connection, connection.execute(sa.select(clicks).where(clicks.c.n < 0)) as result:
        result.cursor.timeout = 0.05
        begun = time.monotonic()
        with pytest.raises(sa.exc.OperationalError, match="no row came"):
            result.fetchone()
        assert time.monotonic() - begun < 30


# ---- pandas and Polars


def test_pandas(engine: Any) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "a": [1, 2, 3],
            "b": [1.5, None, 2.5],
            "c": ["x", None, "z"],
            "d": pd.to_datetime(["2024-01-01", "2024-01-02", None]),
            "e": [True, False, True],
        }
    )
    assert frame.to_sql("frame", engine, index=True) == 3
    read = pd.read_sql("SELECT * FROM frame ORDER BY a", engine, index_col="index")
    pd.testing.assert_frame_equal(read, frame, check_names=False, check_dtype=False)
    assert frame.to_sql("frame", engine, if_exists="append") == 3
    assert len(pd.read_sql_table("frame", engine)) == 6
    assert frame.to_sql("frame", engine, if_exists="replace", index=False, chunksize=2) == 3
    assert sorted(pd.read_sql("frame", engine)["a"]) == [1, 2, 3]
    assert pd.read_sql(sa.text("SELECT a FROM frame WHERE a > :n"), engine, params={"n": 2})["a"].tolist() == [3]
    with pytest.raises(ValueError, match="already exists"):
        frame.to_sql("frame", engine)
    parts = pd.read_sql("SELECT a FROM frame", engine.connect().execution_options(stream_results=True), chunksize=2)
    assert sorted(a for part in parts for a in part["a"]) == [1, 2, 3]


def test_polars(engine: Any) -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert frame.write_database("frame", engine) == 2
    for source in (engine, engine.connect()):
        assert pl.read_database("SELECT * FROM frame ORDER BY a", source).equals(frame)
    with sqlstream.connect() as connection:
        read = pl.read_database("SELECT DATE '2024-01-01' AS d, CAST(1.5 AS DECIMAL(10, 2)) AS n", connection)
    assert read.rows() == [(datetime.date(2024, 1, 1), Decimal("1.50"))]
