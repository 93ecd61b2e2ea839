"""Hypothesis strategies for arrays of every type that state can hold."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
from hypothesis import reject
from hypothesis import strategies as st

MICROS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)  # the years that Python has

LEAVES = {
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-(2**7), 2**7 - 1),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats() | st.sampled_from([0.0, -0.0, float("nan")]),
    pa.string(): st.text(max_size=20),
    pa.binary(): st.binary(max_size=20),
    pa.date32(): st.integers(-719_162, 2_932_896),
    pa.time64("us"): st.integers(0, 86_399_999_999),
    pa.timestamp("us"): MICROS,
    pa.timestamp("us", "UTC"): MICROS,
    pa.decimal128(38, 6): st.integers(-(10**38) + 1, 10**38 - 1).map(lambda i: Decimal(f"{i}e-6")),
    pa.decimal128(5, 0): st.integers(-99999, 99999).map(Decimal),
    pa.null(): st.none(),
}


def _integer_times(t: pa.DataType) -> pa.DataType:
    """Times are built from integers."""
    if pa.types.is_temporal(t):
        return pa.int32() if t.bit_width == 32 else pa.int64()
    return t


types = st.recursive(
    st.sampled_from(list(LEAVES)),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        st.lists(inner, min_size=1, max_size=3).map(lambda ts: pa.struct([(f"f{i}", t) for i, t in enumerate(ts)])),
        st.tuples(st.sampled_from([pa.int64(), pa.string()]), inner).map(lambda kv: pa.map_(*kv)),
    ),
    max_leaves=4,
)


def values(t: pa.DataType) -> st.SearchStrategy:
    if pa.types.is_map(t):
        pairs = st.dictionaries(values(t.key_type).filter(lambda k: k is not None), values(t.item_type), max_size=3)
        some = pairs.map(lambda d: list(d.items()))
    elif pa.types.is_list(t):
        some = st.lists(values(t.value_type), max_size=4)
    elif pa.types.is_struct(t):
        some = st.fixed_dictionaries({f.name: values(f.type) for f in t})
    else:
        some = LEAVES[t]
    return st.none() | some


def build(items: list, t: pa.DataType) -> pa.Array:
    """An array of `values(t)`; nested times are made by casting."""
    plain = _plain(t)
    a = pa.array(items, plain)
    return a if plain == t else a.cast(t)


def _plain(t: pa.DataType) -> pa.DataType:
    if pa.types.is_map(t):
        return pa.map_(t.key_type, _plain(t.item_type))
    if pa.types.is_list(t):
        return pa.list_(_plain(t.value_type))
    if pa.types.is_struct(t):
        return pa.struct([(f.name, _plain(f.type)) for f in t])
    return _integer_times(t)


@st.composite
def arrays(draw: st.DrawFn, rows: int) -> pa.Array:
    t = draw(types)
    a = build(draw(st.lists(values(t), min_size=rows, max_size=rows)), t)
    try:
        a.validate(full=True)
    except pa.ArrowInvalid:  # Arrow's cast of nested values has made an array that is none
        reject()
    return a
