"""Files that nobody declared as tables: 'logs/*.json', read_csv(…): types, options, partitions; one answer each way; what is
wrong with files is said with their names."""

from __future__ import annotations

import gzip
import os
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import rows, ways

import sqlstream
from sqlstream.errors import SqlStreamError
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

JSON = (
    '{"id":1,"at":"2026-01-01T00:00:00Z","v":1.5,"r":{"x":1},"l":["a"]}\n{"id":2,"at":"2026-01-01T00:00:01.5Z","v":2}\n'
)
CSV = "id,name,at\n1,ada,2026-01-01 00:00:00\n2,,2026-01-02 00:00:00\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with files of all kinds."""

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("logs/1.json", JSON)
    write("logs/2.json", '{"id":3,"extra":true}\n')
    write("people.csv", CSV)
    write("points.tsv", "a\tb\n1\t2.5\n")
    write("semi.csv", "a;b\n1;x\n")
    write("bare.csv", "1,x\n2,y\n")
    write("digits.csv", "zip,n,large,d,zero\n00123,12,99999999999999999999,1.5,0\n10000,-3,1,0.5,0.0\n")
    write("lines.jsonl", '{"a":1}\n')
    write("lines.ndjson", '{"a":2}\n')
    write("h/dt=2026-01-01/hour=01/a.json", '{"x":1}\n')
    write("h/dt=2026-01-02/hour=02/a.json", '{"x":2}\n')
    write("g/key=a%2Fb/a.csv", "n,m\n1,2\n")
    write("null/k=1/a.json", '{"x":1}\n')
    write("null/k=__HIVE_DEFAULT_PARTITION__/a.json", '{"x":2}\n')
    write("flink/k=2026-01-01/a.json", '{"x":1}\n')
    write("flink/k=__DEFAULT_PARTITION__/a.json", '{"x":2}\n')
    with gzip.open(tmp_path / "packed.json.gz", "wt") as file:
        file.write('{"a":1}\n{"a":2}\n')
    pq.write_table(
        pa.table({"a": pa.array([1, 2], pa.int32()), "t": pa.array([0, 1], pa.timestamp("ms"))}), tmp_path / "p.parquet"
    )
    return tmp_path


def answer(place: Path, sql: str, **options: str) -> list[list[Any]]:
    session = Session(None, {k.replace("_", "."): v for k, v in options.items()}, str(place))
    (result,) = session.execute(sql)
    return [list(row.values()) for batch, _ in result.batches() for row in batch.to_pylist()]


def columns(place: Path, name: str) -> str:
    return ", ".join(f"{name} {type}" for name, type, *_ in answer(place, f"DESCRIBE {name}"))


def error(place: Path, sql: str) -> str:
    session = Session(None, {}, str(place))
    with pytest.raises(SqlStreamError) as raised:
        for result in session.execute(sql):
            for _ in result.batches():
                pass
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "'logs/*.json'",
            "id BIGINT, at TIMESTAMP_LTZ(3), v DOUBLE, r ROW<`x` BIGINT>, l ARRAY<STRING>, extra BOOLEAN",
        ),
        ("'logs'", "id BIGINT, at TIMESTAMP_LTZ(3), v DOUBLE, r ROW<`x` BIGINT>, l ARRAY<STRING>, extra BOOLEAN"),
        ("'people.csv'", "id BIGINT, name STRING, at TIMESTAMP(3)"),
        ("'points.tsv'", "a BIGINT, b DOUBLE"),
        ("'semi.csv'", "a BIGINT, b STRING"),
        ("'bare.csv'", "f0 BIGINT, f1 STRING"),
        ("'digits.csv'", "zip STRING, n BIGINT, large STRING, d DOUBLE, zero BIGINT"),
        ("'lines.*'", "a BIGINT"),
        ("`lines.jsonl`", "a BIGINT"),
        ("'packed.json.gz'", "a BIGINT"),
        ("'p.parquet'", "a INT, t TIMESTAMP(3)"),
        ("'h'", "x BIGINT, dt DATE, hour BIGINT"),
        ("'h/*/*/*.json'", "x BIGINT, dt DATE, hour BIGINT"),
        ("'g'", "n BIGINT, m BIGINT, key STRING"),
        ("'null'", "x BIGINT, k BIGINT"),
        ("'flink'", "x BIGINT, k DATE"),
    ],
)
def test_types_are_flinks(place: Path, name: str, expected: str) -> None:
    assert columns(place, name) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT id, v, r.x, l[1] FROM 'logs/*.json'", ["[1, 1.5, 1, \"a\"]", "[2, 2.0, null, null]", "[3, null, null, null]"]),
        ("SELECT p.id, name FROM 'people.csv' AS p WHERE id > 1", ['[2, ""]']),
        ("SELECT people.id FROM 'people.csv'", ["[1]", "[2]"]),
        ("SELECT f0, f1 FROM 'bare.csv'", ['[1, "x"]', '[2, "y"]']),
        ("SELECT id, name FROM read_csv('people.csv', header => true) WHERE name <> ''", ['[1, "ada"]']),
        ("SELECT f0 FROM TABLE(read_csv('people.csv', `csv.header` => 'false'))", ['["id"]', '["1"]', '["2"]']),
        ("SELECT f0 FROM 'people.csv' /*+ OPTIONS('csv.header' = 'false') */", ['["id"]', '["1"]', '["2"]']),
        ("SELECT a, b FROM read_csv('semi.csv', field_delimiter => ';')", ['[1, "x"]']),
        ("SELECT zip, large FROM 'digits.csv' WHERE n > 0", ['["00123", "99999999999999999999"]']),
        ("SELECT v FROM read_json('logs/1.json', types => 'v STRING')", ['["1.5"]', '["2"]']),
        ("SELECT nothing, id FROM read_json('logs/2.json', types => 'nothing INT')", ["[null, 3]"]),
        ("SELECT * FROM read_json('logs/1.json', columns => 'v DOUBLE, twice AS v * 2')", ["[1.5, 3.0]", "[2.0, 4.0]"]),
        ("SELECT day_of, id FROM read_json('logs/1.json', columns => 'day_of AS EXTRACT(DAY FROM `at`)')", ["[1, 1]", "[1, 2]"]),
        ("SELECT SUM(x), hour FROM 'h' GROUP BY hour", ["[1, 1]", "[2, 2]"]),
        ("SELECT x FROM 'h' WHERE dt = DATE '2026-01-02'", ["[2]"]),
        ("SELECT x, k FROM 'null' WHERE k IS NULL OR k = 1", ["[1, 1]", "[2, null]"]),
        ("SELECT COUNT(*), k FROM 'flink' GROUP BY k", ['[1, "2026-01-01"]', "[1, null]"]),
        ("SELECT a FROM read_parquet('p.parquet') AS r (a, b) WHERE b > TIMESTAMP '1970-01-01 00:00:00'", ["[2]"]),
        ("SELECT l.a, r.a FROM 'lines.*' AS l JOIN 'packed.json.gz' AS r ON l.a = r.a", ["[1, 1]", "[2, 2]"]),
        ("SELECT COUNT(*) FROM (SELECT a FROM 'lines.jsonl' UNION ALL SELECT a FROM 'p.parquet')", ["[3]"]),
        (
            "SELECT COUNT(*) FROM TUMBLE(TABLE w, DESCRIPTOR(`at`), INTERVAL '1' SECOND) GROUP BY window_start, window_end",
            ["[1]", "[1]"],
        ),
    ],
)  # fmt: skip
def test_each_way_gives_the_same(
    place: Path, sql: str, expected: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    watermark = "CREATE VIEW w AS SELECT * FROM read_json('logs/1.json', columns => 'WATERMARK FOR `at` AS `at`')"
    for name in (
        "logs",
        "people.csv",
        "digits.csv",
        "bare.csv",
        "semi.csv",
        "h",
        "null",
        "flink",
        "p.parquet",
        "lines",
        "packed.json.gz",
    ):
        sql, watermark = (t.replace(f"'{name}", f"'{place}/{name}") for t in (sql, watermark))
    case = ways.Case((watermark,), sql, 4)
    rng = random.Random(0)
    answers = {"batch": ways.batch(case, tmp_path_factory.mktemp("batch"))[0]}
    for way in ("streaming", "parallel", "restored"):
        answers[way] = getattr(ways, way)(case, tmp_path_factory.mktemp(way), rng)
    for way, found in answers.items():
        wanted = Counter(rows.expected_row(line, found.schema) for line in expected)
        assert rows.difference(found.fold.rows, wanted, found.schema) is None, way


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FROM 'people.cvs'", ("line 1:15", "people.cvs' does not exist", "did you mean people.csv")),
        ("SELECT * FROM 'none/*.json'", ("line 1:15", "no file matches")),
        ("SELECT * FROM 'people.csv' JOIN 'lgs/*' ON TRUE", ("line 1:33", "no file matches")),
        ("SELECT * FROM '*n*'", ("line 1:15", "files of several formats")),
        ("SELECT * FROM ''", ("line 1:15", "path of files is empty")),
        ("SELECT * FROM peple", ("line 1:15", "there is no table or view 'peple'")),
        ("SELECT * FROM 'empty.json'", ("line 1:15", "no data in 'empty.json'", "columns => ")),
        ("SELECT * FROM 'notes.txt'", ("line 1:15", "does not say what format", "read_csv")),
        ("SELECT * FROM 'array.json'", ("array.json, line 1", "no object", "jq -c '.[]'")),
        ("SELECT * FROM 'pretty.json'", ("pretty.json, line 1", "jq -c .")),
        ("SELECT * FROM 'torn.json'", ("torn.json, line 2", "not an object of JSON", "ignore_parse_errors")),
        ("SELECT * FROM 'case.json'", ("'ID' and 'id' differ by case alone",)),
        ("SELECT * FROM 'twice.csv'", ("two columns are called 'a'",)),
        ("SELECT * FROM 'ragged.csv'", ("ragged.csv, line 3: it has 3 fields", "2")),
        ("SELECT * FROM 'torn.csv'", ("torn.csv, line 22: it has 4 fields", "3")),
        ("SELECT * FROM read_csv('headers-*.csv', header => true)", ("headers-2.csv: the header is c, d",)),
        ("SELECT * FROM read_json('people.csv')", ("people.csv, line 1", "not an object of JSON")),
        ("SELECT * FROM read_parquet('people.csv')", ("people.csv", "not a parquet file")),
        ("SELECT * FROM read_json('logs', moniter_interval => '1 s')", ("line 1:33", "did you mean monitor_interval")),
        ("SELECT * FROM read_json('logs', monitor_interval => 'soon')", ("line 1:33", "'soon'")),
        ("SELECT * FROM read_csv('people.csv', delim => ';')", ("line 1:38", "field_delimiter")),
        ("SELECT * FROM read_csv('people.csv', 'bare.csv')", ("line 1:38", "takes one path")),
        ("SELECT * FROM read_csv(header => true)", ("line 1:15", "takes one path")),
        ("SELECT * FROM read_json(logs)", ("line 1:25", "in single quotes")),
        ("SELECT * FROM read_json('logs', types => 'v STRIN')", ("line 1:15", "argument 'types'")),
        ("SELECT * FROM read_json('logs', types => 'v INT, WATERMARK FOR v AS v')", ("line 1:15", "columns alone")),
        ("SELECT * FROM read_jsn('logs')", ("line 1:15", "did you mean READ_JSON")),
        ("SELECT * FROM 'people.csv' /*+ OPTIONS('csv.heder' = 'true') */", ("line 1:15", "did you mean csv.header")),
        ("INSERT INTO 'people.csv' SELECT 1", ("line 1:13", "declared as a table")),
        ("SELECT * FROM '/dev/zero'", ("line 1:15", "'/dev/zero' is a device", "stdin")),
        ("SELECT nam FROM 'people.csv'", ("line 1:8", "did you mean name")),
    ],
)  # fmt: skip
def test_errors_say_where_what_and_how(place: Path, sql: str, said: tuple[str, ...]) -> None:
    for name, text in {
        "empty.json": "", "notes.txt": "hello\n", "array.json": '[{"a":1},{"a":2}]\n', "pretty.json": '{\n  "a": 1\n}\n',
        "torn.json": '{"a":1}\n{"a":\n', "case.json": '{"id":1,"ID":2}\n', "twice.csv": "a,a\n1,2\n",
        "ragged.csv": "a,b\n1,2\n1,2,3\n", "torn.csv": "a;b;c\n" + "1;x;1,5\n" * 20 + "1;2;3;4\n1;2\n", "headers-1.csv": "a,b\n1,2\n", "headers-2.csv": "c,d\n1,2\n",
    }.items():  # fmt: skip
        (place / name).write_text(text)
    text = error(place, sql)
    for part in said:
        assert part in text, text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(place: Path) -> None:
    (place / "people.csv").chmod(0)
    assert "permissions" in error(place, "SELECT * FROM 'people.csv'")


@pytest.mark.parametrize("mode", ["batch", "streaming"])
def test_a_value_beyond_the_sample_is_named(place: Path, mode: str) -> None:
    (place / "long.json").write_text('{"v":1}\n' * 100 + '{"v":"x"}\n')
    sql = f"SET 'execution.runtime-mode' = '{mode}'; SELECT SUM(v) FROM 'long.json' /*+ OPTIONS('schema.sample-size'='64 b') */"
    text = error(place, sql)
    assert "long.json, line 101" in text and "field v: x is not a BIGINT" in text
    assert "types => '`v` STRING'" in text
    found = answer(place, "SELECT MAX(v) FROM 'long.json'")
    assert found == [["x"]]


def test_a_table_of_the_name_wins(place: Path) -> None:
    session = Session(None, {}, str(place))
    for text in ("CREATE VIEW `people.csv` AS SELECT 7 AS seven", "CREATE VIEW stdin AS SELECT 8 AS eight"):
        list(session.execute(text))
    assert _only(session, "SELECT * FROM `people.csv`") == [{"seven": 7}]
    assert _only(session, "SELECT * FROM stdin") == [{"eight": 8}]


def _only(session: Session, sql: str) -> list[dict[str, Any]]:
    (result,) = session.execute(sql)
    return [row for batch, _ in result.batches() for row in batch.to_pylist()]


def test_a_table_of_which_only_the_path_is_said(place: Path) -> None:
    session = Session(None, {}, str(place))
    list(session.execute("CREATE TABLE people (WATERMARK FOR `at` AS `at`) WITH ('path' = 'people.csv')"))
    ((made,),) = [list(row.values()) for row in _only(session, "SHOW CREATE TABLE people")]
    assert "`at` TIMESTAMP(3)" in made and "'csv.header' = 'true'" in made and "WATERMARK FOR `at`" in made
    list(session.execute("CREATE TABLE others WITH ('source.monitor-interval' = '1 s') LIKE 'people.csv'"))
    ((made,),) = [list(row.values()) for row in _only(session, "SHOW CREATE TABLE others")]
    assert "monitor-interval" in made
    list(session.execute(made.replace("`others`", "`third`")))


def test_a_folder_that_grows(place: Path) -> None:
    session = Session(None, {}, str(place))
    (result,) = session.execute("SELECT id FROM 'logs/*.json' /*+ OPTIONS('source.monitor-interval' = '10 ms') */")
    assert not result.bounded
    found: list[int] = []
    for batch, _ in result.batches():
        found += batch.column(0).to_pylist()
        if len(found) == 3:
            (place / "logs" / "3.json").write_text('{"id":4}\n')
        if len(found) == 4:
            break
    result.close()
    assert sorted(found) == [1, 2, 3, 4]


def test_remote_files(place: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/a.json", b'{"a":1}\n')
    memory.pipe("/bucket/b.json", b'{"a":2}\n')
    memory.pipe("/bucket/p.parquet", (place / "p.parquet").read_bytes())
    try:
        assert answer(place, "SELECT SUM(a) FROM 'memory://bucket/*.json'") == [[3]]
        assert answer(place, "SELECT SUM(a) FROM 'memory://bucket/p.parquet'") == [[3]]
    finally:
        memory.rm("/bucket", recursive=True)


def test_from_python(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert sqlstream.sql("SELECT id FROM 'people.csv' ORDER BY id").fetchall() == [(1,), (2,)]
    with sqlstream.connect() as connection:
        cursor = connection.execute("SELECT a FROM read_parquet('p.parquet') WHERE a > ?", [1])
        assert cursor.fetchall() == [(2,)]


def test_a_job_that_goes_on_keeps_the_columns_that_it_began_with(tmp_path: Path) -> None:
    (tmp_path / "in" / "day=1").mkdir(parents=True)
    (tmp_path / "in" / "day=1" / "b.json").write_text('{"id":1,"at":"2026-01-01T00:00:00Z"}\n')
    table = "CREATE TABLE o (id BIGINT, `at` TIMESTAMP_LTZ(3), `day` BIGINT) WITH ('path' = 'out', 'connector' = 'filesystem', 'format' = 'json');"
    job = "INSERT INTO o SELECT * FROM 'in' /*+ OPTIONS('source.monitor-interval' = '10 ms') */"

    def run(rows_wanted: int) -> None:
        def enough(progress: Progress) -> None:
            if progress.rows_in >= rows_wanted:
                session.cancel()

        options = {"pipeline.name": "j", "execution.checkpointing.interval": "50 ms"}
        session = Session(None, options, str(tmp_path), on_progress=enough)
        list(session.execute(table + job))

    run(1)
    # now the beginning of the files says something else
    (tmp_path / "in" / "day=1" / "a.json").write_text('{"more":"x","id":2,"at":"2026-01-01T00:00:01Z"}\n')
    run(1)
    found = answer(tmp_path, "SELECT id, `day` FROM read_json('out') ORDER BY id")
    assert found == [[1, 1], [2, 1]]


@pytest.mark.parametrize("form", ["json", "csv"])
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT COUNT(*) FROM t", "[101]"),
        ("SELECT COUNT(*), 'x' FROM t HAVING COUNT(*) > 0", '[101, "x"]'),
        ("SELECT SUM(w) FROM t", "[203]"),
        ("SELECT COUNT(*) FROM t WHERE w = 3", "[1]"),
        ("SELECT COUNT(*) FROM (SELECT * FROM t UNION ALL SELECT * FROM t)", "[202]"),
        ("SELECT COUNT(*) FROM t JOIN t AS u ON t.w = u.w", "[10001]"),
        ("SELECT COUNT(*) FROM t CROSS JOIN (VALUES 1, 2)", "[202]"),
        ("SELECT COUNT(*) FROM t WHERE EXISTS (SELECT * FROM t)", "[101]"),
    ],
)
def test_a_field_that_is_not_read_is_not_decoded(
    form: str, sql: str, expected: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As in Flink, whose formats decode what the query reads: a value that is not of its type is none of its business."""
    place = tmp_path_factory.mktemp("data")
    record = {"json": '{"v":%s,"w":%d}\n', "csv": "%s,%d\n"}[form]
    bad = '"x"' if form == "json" else "x"
    (place / f"long.{form}").write_text(record % (1, 2) * 100 + record % (bad, 3))
    table = (
        "CREATE TABLE t (v BIGINT, w BIGINT) WITH "
        f"('connector' = 'filesystem', 'path' = '{place}/long.{form}', 'format' = '{form}')"
    )
    case = ways.Case((table,), sql, 4)
    rng = random.Random(0)
    answers = {"batch": ways.batch(case, tmp_path_factory.mktemp("batch"))[0]}
    for way in ("streaming", "parallel", "restored"):
        answers[way] = getattr(ways, way)(case, tmp_path_factory.mktemp(way), rng)
    for way, found in answers.items():
        wanted = Counter([rows.expected_row(expected, found.schema)])
        assert rows.difference(found.fold.rows, wanted, found.schema) is None, way


@pytest.mark.parametrize("mode", ["batch", "streaming"])
@pytest.mark.parametrize(("name", "last"), [("torn.json", '{"v":1,"w":\n'), ("torn.csv", "1,2,3\n")])
def test_what_is_no_record_is_an_error_whatever_is_read(place: Path, name: str, last: str, mode: str) -> None:
    good = '{"v":1,"w":2}\n' if name.endswith("json") else "1,2\n"
    (place / name).write_text(good * 10 + last)
    form = name.rpartition(".")[2]
    for what in ("COUNT(*)", "SUM(w)", "SUM(v)"):
        sql = (
            f"SET 'execution.runtime-mode' = '{mode}'; CREATE TABLE t (v BIGINT, w BIGINT) WITH "
            f"('connector' = 'filesystem', 'path' = '{name}', 'format' = '{form}'); SELECT {what} FROM t"
        )
        assert f"{name}, line 11" in error(place, sql), what


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello\n", "f0 STRING"),
        ("ada\nbob\n", "f0 STRING"),
        ("n\n1\n2\n", "n BIGINT"),
        ("a,b\nc,d\n", "a STRING, b STRING"),
        ("x,1\ny,2\n", "f0 STRING, f1 BIGINT"),
    ],
)
def test_the_first_line_of_a_pipe(place: Path, text: str, expected: str) -> None:
    """DuckDB takes a text above texts for a header: lines of a pipe have none. What stands above numbers is one."""
    pipe = place / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(text,), daemon=True)
    writer.start()
    assert columns(place, "'pipe'") == expected
    writer.join()


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (["123456789012345678901234567890", "-1"], "v DECIMAL(38, 0)"),
        (["1234567890123456789012345678901234567890", "1"], "v STRING"),
        (["12345678901234567890", "1.5"], "v STRING"),
        (["9007199254740993", "1.5"], "v STRING"),
        (["9007199254740992", "1.5", "1e300"], "v DOUBLE"),
        (["[123456789012345678901234567890, null]", "[]"], "v ARRAY<DECIMAL(38, 0)>"),
        (['{"a": [{"b": 123456789012345678901234567890}]}'], "v ROW<`a` ARRAY<ROW<`b` DECIMAL(38, 0)>>>"),
    ],
)
def test_whole_numbers_lose_no_digit(place: Path, records: list[str], expected: str) -> None:
    (place / "numbers.json").write_text("".join(f'{{"v": {r}}}\n' for r in records))
    assert columns(place, "'numbers.json'") == expected
    if expected in ("v STRING", "v DECIMAL(38, 0)"):
        assert [str(v) for (v,) in answer(place, "SELECT v FROM 'numbers.json'")] == records
