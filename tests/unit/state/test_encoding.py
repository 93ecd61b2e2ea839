"""Canonical bytes are equal just when the values are."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlstream.errors import DataError, InternalError
from sqlstream.state.encoding import canonical_bytes, encode_rows
from sqlstream.state.table import StateSpec, StateTable

from .strategies import build, types, values

slow = settings(max_examples=40, deadline=None)


def test_other_layouts() -> None:
    plain = pa.array(["a", None, "a"])
    assert encode_rows([plain.dictionary_encode()], 3).data.tobytes() == encode_rows([plain], 3).data.tobytes()
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
    rows = encode_rows([array], len(array)).tolist()
    assert [rows.index(r) for r in rows] == [slots.tolist().index(s) for s in slots.tolist()]
    assert table.find([array]).tolist() == slots.tolist()


def test_composite_keys_are_injective() -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), (None, "abc"), ("abc", None), (None, None), ("", "")]
    columns = [pa.array([p[i] for p in pairs]) for i in (0, 1)]
    assert len(set(encode_rows(columns, len(pairs)).tolist())) == len(pairs)
    table = StateTable(StateSpec("s", pa.schema([("a", pa.string()), ("b", pa.string())]), pa.schema([])))
    assert table.upsert(columns)[1].all()


def test_canonical_bytes_of_two_gigabytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlstream.state.encoding.INT32_MAX", 10)
    with pytest.raises(DataError, match="do not fit"):
        canonical_bytes(pa.array([[1, 2, 3]]))
