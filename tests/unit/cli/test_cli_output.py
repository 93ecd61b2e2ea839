"""The three forms of rows: types, NULLs, quoting, widths, changes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from cli_driver import sqlstream, start

from sqlstream.cli.arguments import Settings
from sqlstream.cli.layout import escaped, width
from sqlstream.cli.script import Script, run_script

CHANGES = """
CREATE TABLE seen (id BIGINT, n BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'filesystem',
  'path' = '${path}', 'format' = 'debezium-json');
SELECT n, COUNT(*) AS c FROM seen GROUP BY n;
"""


def rows(sql: str, form: str, capfdbinary: pytest.CaptureFixture[bytes], **options: str) -> str:
    status = run_script(Script(sql), Settings({k.replace("_", "."): v for k, v in options.items()}, {}, form))
    out, err = capfdbinary.readouterr()
    assert status == 0, err.decode()
    return out.decode()


# SQL, cell of a table, field of CSV, value in JSON
VALUES = [
    ("CAST(NULL AS INT)", "NULL", "", "null"),
    ("''", "", '""', '""'),
    ("'a,b'", "a,b", '"a,b"', '"a,b"'),
    ("'say \"x\"'", 'say "x"', '"say ""x"""', '"say \\"x\\""'),
    ("1.50", "1.50", "1.50", "1.50"),
    ("-7", "-7", "-7", "-7"),
    ("1.5E300", "1.5E300", "1.5E300", "1.5E300"),
    ("TRUE", "true", "true", "true"),
    ("x'00ff'", "x'00ff'", "AP8=", '"AP8="'),
    ("DATE '2024-02-29'", "2024-02-29", "2024-02-29", '"2024-02-29"'),
    ("TIME '01:02:03'", "01:02:03", "01:02:03", '"01:02:03"'),
    ("CAST(TIMESTAMP '2024-01-02 03:04:05' AS TIMESTAMP(0))", *(["2024-01-02 03:04:05"] * 2), '"2024-01-02 03:04:05"'),
    ("CAST(TIMESTAMP '2024-01-02 03:04:05.1' AS TIMESTAMP(3))", *(["2024-01-02 03:04:05.100"] * 2), '"2024-01-02 03:04:05.100"'),
    ("CAST(TIMESTAMP '2024-01-02 03:04:05.1' AS TIMESTAMP(6))", *(["2024-01-02 03:04:05.100000"] * 2), '"2024-01-02 03:04:05.100000"'),
    ("CAST(TIMESTAMP '2024-01-02 03:04:05' AS TIMESTAMP_LTZ(3))", "2024-01-02 03:04:05.000", "2024-01-02 02:04:05.000Z", '"2024-01-02 02:04:05.000Z"'),
    ("INTERVAL '26' HOUR", *(["+1 02:00:00.000000"] * 2), '"+1 02:00:00.000000"'),
    ("INTERVAL '14' MONTH", *(["+1-02"] * 2), '"+1-02"'),
    ("ARRAY[1, 2]", "[1,2]", '"[1,2]"', "[1,2]"),
    ("MAP['k', 1]", '{"k":1}', '"{""k"":1}"', '{"k":1}'),
    ("ROW(1, 'x')", '{"EXPR$0":1,"EXPR$1":"x"}', '"{""EXPR$0"":1,""EXPR$1"":""x""}"', '{"EXPR$0":1,"EXPR$1":"x"}'),
    ("ROW(TIMESTAMP '2024-01-02 03:04:05.100')", *(['{"EXPR$0":"2024-01-02 03:04:05.100"}'] * 1), '"{""EXPR$0"":""2024-01-02 03:04:05.100""}"', '{"EXPR$0":"2024-01-02 03:04:05.100"}'),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "cell", "field", "value"), VALUES, ids=[v[0] for v in VALUES])
def test_a_value(sql: str, cell: str, field: str, value: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    zone = {"table_local-time-zone": "Europe/Berlin"}
    query = f"SELECT {sql} AS v"
    assert rows(query, "table", capfdbinary, **zone).splitlines()[3].strip("| ") == cell
    assert rows(query, "csv", capfdbinary, **zone) == f"v\n{field}\n"
    line = rows(query, "json", capfdbinary, **zone)
    assert line == f'{{"v":{value}}}\n'
    json.loads(line)


def test_a_table(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sql = "SELECT * FROM (VALUES (1, 'a', 1.5), (200, '日本', NULL), (3, 'x' || U&'\\000a' || U&'\\001b', 2.5)) AS t(n, `s.`, d)"
    assert rows(sql, "table", capfdbinary) == (
        "+-----+---------+------+\n"
        "|   n | s.      |    d |\n"
        "+-----+---------+------+\n"
        "|   1 | a       |  1.5 |\n"
        "| 200 | 日本    | NULL |\n"
        "|   3 | x\\n\\x1b |  2.5 |\n"
        "+-----+---------+------+\n"
    )


def test_no_rows(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    sql = "SELECT a FROM (VALUES (1)) AS t(a) WHERE a > 1"
    assert rows(sql, "table", capfdbinary) == "+---+\n| a |\n+---+\n"
    assert rows(sql, "csv", capfdbinary) == "a\n"
    assert rows(sql, "json", capfdbinary) == ""


def test_names_that_repeat(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert rows("SELECT 1 AS a, 2 AS a", "json", capfdbinary) == '{"a":1,"a0":2}\n'


def test_changes_have_a_first_column_op(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    file = tmp_path / "c.json"
    file.write_text(
        '{"before":null,"after":{"id":1,"n":5},"op":"c"}\n{"before":{"id":1,"n":5},"after":{"id":1,"n":6},"op":"u"}\n'
    )
    sql = CHANGES.replace("${path}", str(file))
    options = {"execution_runtime-mode": "streaming", "execution_epoch_max-rows": "1"}
    assert rows(sql, "csv", capfdbinary, **options) == "op,n,c\n+I,5,1\n-D,5,1\n+I,6,1\n"
    assert rows(sql, "json", capfdbinary, **options).splitlines()[1] == '{"op":"-D","n":5,"c":1}'
    head, first = rows(sql, "table", capfdbinary, **options).splitlines()[1:4:2]
    assert head.startswith("| op |") and first.startswith("| +I |")
    # as a batch query the result is final, and has no such column
    assert "op" not in rows(sql, "csv", capfdbinary)


def test_explain_and_show_create_are_plain_text(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert rows("EXPLAIN SELECT 1", "table", capfdbinary).startswith(
        "== Optimized Logical Plan (batch: one query of DuckDB's) ==\n"
    )
    sql = "CREATE VIEW v AS SELECT 1 AS a; SHOW CREATE VIEW v"
    assert rows(sql, "table", capfdbinary).startswith("CREATE VIEW")


def test_standard_output_without_unicode(tmp_path: Path) -> None:
    done = sqlstream("-c", "SELECT '日本' AS v", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.status == 0 and "\\u65e5\\u672c" in done.out
    done = sqlstream("-c", "SELECT '日本' AS v", "--output", "json", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.out == '{"v":"日本"}\n'  # JSON is UTF-8


@pytest.mark.parametrize("form", ["table", "csv", "json"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away(form: str, unbuffered: str, tmp_path: Path) -> None:
    sql = "CREATE TABLE n (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '2000000'); SELECT a FROM n"
    with start("-c", sql, "--output", form, cwd=tmp_path, PYTHONUNBUFFERED=unbuffered) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == b""


def test_widths() -> None:
    assert [width(s) for s in ("abc", "日本", "e\u0301", "한글", "👍")] == [3, 4, 1, 4, 2]
    assert escaped("a\tb\x9b\u202e") == "a\\tb\\x9b\\u202e"


def test_later_rows_widen_their_column(tmp_path: Path) -> None:
    from sqlstream.cli.output import Table
    from sqlstream.results import Result
    from sqlstream.types import STRING, Column, Schema

    written: list[str] = []

    class Screen:
        def text(self, text: str) -> None:
            written.append(text)

    table = Table(Result("SELECT", Schema((Column("a", STRING),))), Screen(), "UTC")  # type: ignore[arg-type]
    table.begin()
    table.stream = True
    for value in ("x", "longer", "y"):
        table.rows(pa.record_batch({"a": [value]}), None)
    table.end()
    table.close()
    assert "".join(written) == "+---+\n| a |\n+---+\n| x |\n| longer |\n| y      |\n+--------+\n"
