"""The stable hash: the same for equal values however Arrow lays them out, and for ever."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from sqlstream.state.keys import KEY_GROUPS, canonical, key_groups, stable_hash

COLUMNS = {
    "long": pa.array([0, 1, -1, None, 2**63 - 1]),
    "text": pa.array(["", "a", None, "seven77", "a text of more than sixteen bytes"]),
    "double": pa.array([0.0, None, float("nan"), 1.5, -2.25]),
    "decimal": pa.array(
        [Decimal("0.00"), Decimal("1.23"), None, Decimal("-1.23"), Decimal("1e20")], pa.decimal128(30, 2)
    ),
    "time": pa.array([0, 1, None, 1_700_000_000_000_000, -1], pa.timestamp("us")),
    "flag": pa.array([True, False, None, True, False]),
    "list": pa.array([[], [1], None, [1, 2], [None]], pa.list_(pa.int64())),
    "row": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": None}, {"a": 1, "b": None}, {"a": 2, "b": ""}]),
}
# Never change these: they decide in which key group stored state is.
GOLDEN = {
    "long": [55, 106, 110, 49, 2],
    "text": [86, 64, 49, 42, 94],
    "double": [55, 49, 97, 99, 97],
    "decimal": [76, 35, 22, 70, 86],
    "time": [55, 106, 49, 124, 110],
    "flag": [106, 55, 49, 106, 55],
    "list": [120, 47, 49, 115, 13],
    "row": [109, 49, 35, 95, 50],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_golden(name: str) -> None:
    assert key_groups([COLUMNS[name]], 5).tolist() == GOLDEN[name]


def test_golden_of_several() -> None:
    assert key_groups([COLUMNS["long"], COLUMNS["text"]], 5).tolist() == [12, 82, 22, 125, 38]
    assert [hex(h) for h in stable_hash([canonical(COLUMNS["text"])], 5)[[1, 4]].tolist()] == [
        "0xdf5dc516d81a9240",
        "0xb84320298fff655e",
    ]


@pytest.mark.parametrize("name", COLUMNS)
def test_layouts(name: str) -> None:
    a = COLUMNS[name]
    want = key_groups([a], 5).tolist()
    padded = pa.concat_arrays([a.slice(2, 3), a, a])
    assert key_groups([padded.slice(3, 5)], 5).tolist() == want
    assert key_groups([pa.chunked_array([a.slice(0, 2), a.slice(2, 0), a.slice(2)])], 5).tolist() == want
    assert key_groups([pa.chunked_array([], a.type)], 0).tolist() == []
    if not pa.types.is_nested(a.type):
        assert key_groups([a.dictionary_encode()], 5).tolist() == want
        runs = pa.compute.run_end_encode(a)
        assert key_groups([runs], 5).tolist() == want
    valid = a.is_valid()
    assert key_groups([a.filter(valid)], 4).tolist() == [g for g, v in zip(want, valid.to_pylist(), strict=True) if v]
    if name == "text":
        for t in (pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()):
            assert key_groups([a.cast(t)], 5).tolist() == want
    if name == "time":
        seconds = pa.array([0, 1, None], pa.timestamp("s"))
        assert key_groups([seconds], 3).tolist() == key_groups([seconds.cast(pa.timestamp("us"))], 3).tolist()


def test_zeros_and_nans() -> None:
    bits = np.array([0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000007], np.uint64)
    a = pa.array([0.0, -0.0, *bits.view(np.float64)])
    zero, minus, *nans = stable_hash([canonical(a)], 5).tolist()
    assert zero == minus and len(set(nans)) == 1 and zero != nans[0]
    assert stable_hash([canonical(a.cast(pa.float32()))], 5).tolist() == [zero, minus, *nans]


def test_no_columns() -> None:
    assert key_groups([], 3).tolist() == [0, 0, 0]


def test_groups_are_even() -> None:
    for a in (pa.array(range(100_000)), pa.array([f"user-{i}" for i in range(100_000)])):
        counts = np.bincount(key_groups([a], len(a)), minlength=KEY_GROUPS)
        assert len(counts) == KEY_GROUPS and counts.min() > 600 and counts.max() < 1000


def test_another_process_agrees() -> None:
    code = (
        "import pyarrow as pa; from sqlstream.state.keys import key_groups;"
        "print(key_groups([pa.array(['a', None, 'bc']), pa.array([1, 2, None])], 3).tolist())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(key_groups([pa.array(["a", None, "bc"]), pa.array([1, 2, None])], 3).tolist())
