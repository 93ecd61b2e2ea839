"""datagen: rows by type, a function of (seed, n); sequences, pacing, bad options."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from connector_cases import read, read_from, read_positions, relation, schema, source_of, table, whole

from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.errors import NotSupported, OptionError
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    SMALLINT,
    STRING,
    TIME,
    TINYINT,
    Type,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

ALL = schema(
    ("b", BOOLEAN), ("i1", TINYINT), ("i2", SMALLINT), ("i4", INT), ("i8", BIGINT), ("f", FLOAT), ("d", DOUBLE),
    ("n", decimal(30, 4)), ("s", STRING), ("c", Type("CHAR", 5)), ("y", BYTES_TYPE), ("dd", DATE), ("tt", TIME),
    ("t", timestamp(3)), ("z", timestamp_ltz(0)), ("r", row(("x", INT), ("y", row(("z", STRING))))),
    ("l", array(INT)),
)  # fmt: skip


def free(t: Any) -> Any:
    """The source with its clock at the end of time, so that pacing holds nothing back."""
    source: Any = source_of(t)
    start = iter([0.0])
    source.clock = lambda: next(start, 1e9)
    return source


def test_every_type_and_determinism() -> None:
    t = table(ALL, connector="datagen", number__of__rows="500", fields_i4_null__rate="0.5")
    source = free(t)
    (split,) = source.splits()
    reader = source.reader(split, None, whole(ALL))
    got = reader.poll(500)
    assert reader.finished and got.batch.schema == whole(ALL).arrow_schema()
    got.batch.validate(full=True)
    assert 150 < got.batch.column(3).null_count < 350
    rnd = random.Random(2)
    columns = ScanRequest(tuple(ScanColumn((c.name,), c.type) for c in ALL if not c.type.is_timestamp))
    rows = relation(t, columns)
    assert len(rows) == 500
    assert read(t, columns, batch=lambda: rnd.randrange(1, 60), source=free(t))[0] == rows
    assert relation(table(ALL, connector="datagen", number__of__rows="500", seed="1"), columns) != rows
    assert {len(r[8]) for r in rows} == {100} and {len(r[9]) for r in rows} == {5}
    nested = ScanRequest((ScanColumn(("r", "y", "z"), STRING),))
    assert [x for (x,) in relation(t, nested)] == [r[-2]["f1"]["f0"] for r in rows]


def test_limits_and_sequences() -> None:
    columns = schema(("id", BIGINT), ("v", INT), ("s", STRING), ("n", decimal(6, 2)), ("q", STRING))
    t = table(
        columns, connector="datagen", fields_id_kind="sequence", fields_id_start="5", fields_id_end="104",
        fields_v_min="-3", fields_v_max="3", fields_s_length="8", fields_s_var__len="true", fields_n_max="1.5",
        fields_n_min="0", fields_q_kind="sequence", fields_q_start="1", fields_q_end="1000",
    )  # fmt: skip
    rows = relation(t)
    assert [r[0] for r in rows] == list(range(5, 105))
    assert {r[1] for r in rows} == set(range(-3, 4))
    assert {len(r[2]) for r in rows} == set(range(1, 9))
    assert all(0 <= r[3] <= 1.5 for r in rows)
    assert rows[0][4] == "1"
    for position, first, part in read_positions(
        table(columns, connector="datagen", rows__per__second="1000000000", number__of__rows="50"), 7
    ):
        assert position == {"row": first + len(part)}


def test_resume() -> None:
    t = table(schema(("a", INT)), connector="datagen", number__of__rows="30", rows__per__second="1000000000")
    rows = relation(t)
    for n in range(31):
        assert read_from(t, {"row": n}) == rows[n:]


def test_pace() -> None:
    source: Any = source_of(table(schema(("a", INT)), connector="datagen", rows__per__second="10"))
    assert not source.bounded
    now = [0.0]
    source.clock = lambda: now[0]
    reader = source.reader(source.splits()[0], None, whole(schema(("a", INT))))
    counts = []
    for _ in range(4):
        got = reader.poll(100)
        counts.append(got.batch.num_rows if got else 0)
        now[0] += 0.5
    assert counts == [1, 5, 5, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fields_b_min": "1"}, "there is no column 'b'"),
        ({"fields_a_mni": "1"}, "unknown option 'fields.a.mni'"),
        ({"fields_a_min": "x"}, "expected a number"),
        ({"fields_a_kind": "sequence"}, "needs options"),
        ({"fields_a_min": "5", "fields_a_max": "1"}, "greater than"),
        ({"fields_a_max": "3000000000"}, "out of the range"),
        ({"fields_a_null__rate": "2"}, "between 0 and 1"),
        ({"rows__per__second": "0"}, "at least 1"),
    ],
)
def test_bad_options(options: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        source_of(table(schema(("a", INT)), connector="datagen", **options))


def test_types_it_does_not_make() -> None:
    with pytest.raises(NotSupported):
        source_of(table(schema(("m", map_of(STRING, INT))), connector="datagen"))


def test_times_are_those_of_the_rows_and_not_of_the_start() -> None:
    """Flink's: now at each row, less a random part of max-past."""
    columns = schema(("t", timestamp(3)), ("p", timestamp(3)), ("z", timestamp_ltz(3)))
    source: Any = source_of(table(columns, connector="datagen", fields_p_max__past="10 s"))
    clock = [0.0]
    begun = 1_700_000_000_000_000
    source.clock = lambda: clock[0]
    source.now = lambda: begun + int(clock[0] * 1_000_000)
    reader = source.reader(source.splits()[0], None, whole(columns))
    for second in range(1, 4):
        clock[0] = float(second)
        got = reader.poll(50_000).batch
        now = source.now()
        assert got.num_rows > 1000
        for name in (0, 2):
            assert set(got.column(name).cast(pa.int64()).to_pylist()) == {now}
        past = [now - t for t in got.column(1).cast(pa.int64()).to_pylist()]
        assert min(past) < 1_000_000 and 9_000_000 < max(past) <= 10_000_000
