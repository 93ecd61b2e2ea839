"""Rows come back as they were, for every type; canonical bytes are equal just when keys are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlstream.errors import CheckpointError, DataError, InternalError
from sqlstream.state.encoding import Packed, canonical_bytes, decode_rows, encode_rows
from sqlstream.state.rows import Block, decode_block, encode_keys, encode_values, sorted_blocks
from sqlstream.state.table import Rows, StateSpec, StateTable

from .strategies import arrays, build, types, values

slow = settings(max_examples=40, deadline=None)


def roundtrip(columns: list[pa.Array]) -> list[pa.Array]:
    packed = encode_rows(columns, len(columns[0]))
    at = packed.offsets[:-1].copy()
    out = decode_rows(packed.data, at, [c.type for c in columns])
    assert at.tolist() == packed.offsets[1:].tolist()
    return out


def same(a: pa.Array, b: pa.Array) -> bool:
    """Equal, with NaN as itself and signs of zero told apart."""
    return a.type == b.type and repr(a.to_pylist()) == repr(b.to_pylist())


@slow
@given(st.integers(0, 6).flatmap(lambda n: st.lists(arrays(n), min_size=1, max_size=10)))
def test_rows_come_back(columns: list[pa.Array]) -> None:
    for got, want in zip(roundtrip(columns), columns, strict=True):
        got.validate(full=True)
        assert same(got, want)
    if len(columns[0]) > 2:  # slices of arrays are arrays
        cut = [c.slice(1, 2) for c in columns]
        assert all(same(g, w) for g, w in zip(roundtrip(cut), cut, strict=True))


def test_long_strings_and_lists() -> None:
    strings = pa.array(["x" * (1 << 20), "", None, "y" * (1 << 20)] * 5)
    lists = pa.array([list(range(100_000)), [], None, [None] * 1000] * 5, pa.list_(pa.int64()))
    texts = pa.array([["a" * i for i in range(50)], [], None, [None, ""]] * 5)
    assert all(g.equals(w) for g, w in zip(roundtrip([strings, lists, texts]), [strings, lists, texts], strict=True))


def test_other_layouts() -> None:
    fixed = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2))
    large = pa.array([["a"], None, []], pa.large_list(pa.string()))
    other = pa.array([[1], None, []], pa.list_(pa.field("element", pa.int64())))
    assert [same(g, w) for g, w in zip(roundtrip([fixed, large, other]), [fixed, large, other], strict=True)] == [
        True
    ] * 3
    nothing = pa.array([None, [], [None] * 3])
    assert roundtrip([nothing])[0].equals(nothing)
    (plain,) = roundtrip([pa.array(["a", None, "a"])])
    packed = encode_rows([plain.dictionary_encode()], 3)
    assert packed.data.tobytes() == encode_rows([plain], 3).data.tobytes()
    with pytest.raises(InternalError, match="cannot be kept in state"):
        encode_rows([pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])], 1)


def canonical(value: object) -> object:
    """A hashable value that is equal just when the keys are."""
    if isinstance(value, float):
        return "nan" if value != value else value + 0.0
    if isinstance(value, dict):
        return tuple(canonical(v) for v in value.values())
    if isinstance(value, list):
        if value and isinstance(value[0], tuple):
            return frozenset((canonical(k), canonical(v)) for k, v in value)
        return tuple(map(canonical, value))
    return value


@slow
@given(types.flatmap(lambda t: st.tuples(st.just(t), st.lists(values(t), min_size=1, max_size=12))))
def test_keys_are_the_same_just_when_equal(case: tuple) -> None:
    t, items = case
    array = build(items + items[::-1], t)
    table = StateTable(StateSpec("s", pa.schema([("k", t)]), pa.schema([])))
    slots, fresh = table.upsert([array])
    model: dict = {}
    want = []
    for v in array.to_pylist():
        want.append(model.setdefault(canonical(v), len(model)))
    if pa.types.is_map(t):  # an empty map and an empty list look alike to `canonical` otherwise
        assert len(set(slots.tolist())) == len(set(want))
    else:
        assert slots.tolist() == want
    rows = encode_keys(0, Rows(table.key_groups(slots), [array], [])).tolist()
    assert [rows.index(r) for r in rows] == [slots.tolist().index(s) for s in slots.tolist()]
    assert table.find([array]).tolist() == slots.tolist()


def test_composite_keys_are_injective() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), (None, "abc"), ("abc", None), (None, None), ("", "")]
    columns = [pa.array([p[i] for p in pairs]) for i in (0, 1)]
    assert len(set(encode_rows(columns, len(pairs), canonical=True).tolist())) == len(pairs)
    table = StateTable(StateSpec("s", pa.schema([("a", pa.string()), ("b", pa.string())]), pa.schema([])))
    assert table.upsert(columns)[1].all()


def joined(blocks: Iterable[Block]) -> Block:
    keys, values = [], []
    for k, v in blocks:
        keys += k
        values += v
    return keys, values


def test_sorted_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(bytes([i % 7, i]), bytes(i % 50)) for i in range(200)]
    parts = [
        (Packed.of([k for k, _ in rows[:90]]), Packed.of([v for _, v in rows[:90]])),
        (Packed.of([k for k, _ in rows[90:100]]), None),
        (Packed.of([k for k, _ in rows[100:]]), Packed.of([v for _, v in rows[100:]])),
    ]
    want = sorted((k, None if 90 <= i < 100 else v) for i, (k, v) in enumerate(rows))
    for most_rows, most_bytes in ((1000, 10**6), (16, 10**6), (1000, 60), (1000, 1)):
        monkeypatch.setattr("sqlstream.state.rows.ROWS_A_BLOCK", most_rows)
        monkeypatch.setattr("sqlstream.state.rows.BYTES_A_BLOCK", most_bytes)
        blocks = list(sorted_blocks(parts))
        assert list(zip(*joined(blocks), strict=True)) == want and joined([])[0] == []
        assert all(0 < len(k) <= most_rows for k, _ in blocks)
    assert list(sorted_blocks([])) == []


@slow
@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.lists(arrays(n), max_size=3), st.lists(arrays(n), max_size=3))))
def test_state_rows_come_back(case: tuple[list[pa.Array], list[pa.Array]]) -> None:
    keys, columns = case
    if not keys:
        columns = [c.slice(0, 1) for c in columns]
    spec = StateSpec(
        "s",
        pa.schema([(f"k{i}", a.type) for i, a in enumerate(keys)]),
        pa.schema([(f"v{i}", a.type) for i, a in enumerate(columns)]),
        len(keys) // 2,
    )
    table = StateTable(spec)
    n = len(keys[0]) if keys else 1
    slots, _ = table.upsert(keys, n)
    table.put(slots, columns)
    changes = table.changes()
    parts = [(encode_keys(7, r), encode_values(spec, r)) for r in changes.upserts]
    key_bytes, value_bytes = joined(sorted_blocks(parts))
    assert key_bytes == sorted(set(key_bytes)) and len(key_bytes) == table.size
    other = StateTable(spec)
    for found, k, v in decode_block({7: spec}, key_bytes, value_bytes):
        assert found is spec
        other.load(k, v)
    assert other.size == table.size and other.changes().num_rows == 0
    there = other.find(keys, n)
    assert (there >= 0).all()
    for a, b in zip(table.keys(slots), other.keys(there), strict=True):
        assert same(a, b)
    for a, b in zip(table.values(slots).columns, other.values(there).columns, strict=True):
        assert same(a, b)


def test_damage_is_an_error() -> None:
    packed = encode_rows([pa.array([["abc", "d"]]), pa.array(["xyz"])], 1)
    types_ = [pa.list_(pa.string()), pa.string()]
    for cut in range(len(packed.data)):
        with pytest.raises(CheckpointError, match="schema"):
            decode_rows(packed.data[:cut].copy(), np.zeros(1, np.int64), types_)
    spec = StateSpec("s", pa.schema([("k", pa.int64())]), pa.schema([("v", pa.string())]))
    rows = Rows(np.zeros(1, np.uint16), [pa.array([1])], [pa.array(["a"])])
    (key,), (value,) = encode_keys(3, rows).tolist(), encode_values(spec, rows).tolist()
    for keys, vals, text in (
        ([key], [b"\x09" + value[1:]], "format 9"),
        ([key], [value + b"x"], "schema"),
        ([key + b"x"], [value], "schema"),
        ([b"\0"], [value], "too short"),
        ([key], [b""], "too short"),
        ([key[:3] + b"\4" + key[4:]], [value], "number 4"),
    ):
        with pytest.raises(CheckpointError, match=text):
            list(decode_block({3: spec}, keys, vals))


def test_packed() -> None:
    assert Packed.of([]).tolist() == [] and Packed.of([b"", b"ab", b""]).tolist() == [b"", b"ab", b""]


def test_canonical_bytes_of_two_gigabytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlstream.state.encoding.INT32_MAX", 10)
    with pytest.raises(DataError, match="do not fit"):
        canonical_bytes(pa.array([[1, 2, 3]]))
