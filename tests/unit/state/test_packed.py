"""Packed rows come back as they were, for every type; equal keys are equal bytes; damage is an error, never a crash."""

from __future__ import annotations

import ctypes
import mmap
import random
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlstream.errors import CheckpointError, DataError, InternalError
from sqlstream.state.encoding import Packed
from sqlstream.state.packed import RowCodec, block_key, decode_block, encode_block
from sqlstream.state.spec import KEY_GROUPS
from sqlstream.state.table import Rows, StateSpec, StateTable

from .strategies import arrays, build, types, values

slow = settings(max_examples=60, deadline=None)

ODD = pa.StructArray.from_arrays(
    [
        pa.array([1, None, 3], pa.int32()).cast(pa.time32("ms")),
        pa.array([b"abc", None, b"xyz"], pa.binary(3)),
        pa.array([5000, -5000, None], pa.timestamp("ns")),
        pa.array([Decimal("1.5"), None, Decimal("-7")], pa.decimal256(38, 3)),
    ],
    ["a", "b", "c", "d"],
    mask=pa.array([False, False, True]),
)
MAPS = pa.map_(pa.string(), pa.list_(pa.map_(pa.int32(), pa.bool_())))
MORE = [  # what SQL has no types for, too
    pa.array(["", "é", None], pa.large_string()),
    pa.array([[1, None], [], None], pa.large_list(pa.int16())),
    pa.array([["a", None], ["", "bc"], None], pa.list_(pa.string(), 2)),
    pa.array([[[None, None], None, []], [], None], pa.list_(pa.list_(pa.null()))),
    pa.array([{}, None], pa.struct([])),
    pa.array([[{}, None], [], None], pa.list_(pa.struct([]))),
    pa.array([[("b", [[(2, True), (1, None)]]), ("a", None), ("a", [])], [], None], MAPS),
    pa.array([[b"", b"x", None], None], pa.list_(pa.large_binary())),
    pa.array([np.float16(0.5), np.float16(-0.0), None], pa.float16()),
    pa.array([2**64 - 1, 0, None], pa.uint64()),
    pa.array([1, -1, None], pa.timestamp("ms")),
    pa.array([1, 86399, None], pa.time32("s")),
    ODD,
]


def same(a: pa.Array, b: pa.Array) -> bool:
    """Equal, with NaN as itself and signs of zero told apart."""
    return a.type == b.type and repr(a.to_pylist()) == repr(b.to_pylist())


def spec_of(keys: list[pa.Array], columns: list[pa.Array], distribution: int = -1) -> StateSpec:
    return StateSpec(
        "s",
        pa.schema([(f"k{i}", a.type) for i, a in enumerate(keys)]),
        pa.schema([(f"v{i}", a.type) for i, a in enumerate(columns)]),
        distribution,
    )


def back(codec: RowCodec, keys: list[pa.Array], columns: list[pa.Array], n: int) -> Rows:
    """The rows, packed and unpacked, each column checked by Arrow."""
    rows = codec.rows(codec.keys(keys, n), codec.values(keys, columns, n))
    for a in [*rows.keys, *rows.values]:
        a.validate(full=True)
    return rows


cases = st.integers(0, 8).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(arrays(n), max_size=3), st.lists(arrays(n), max_size=10))
)


@slow
@given(cases, st.integers(0, 3))
def test_rows_come_back(case: tuple[int, list[pa.Array], list[pa.Array]], cut: int) -> None:
    n, keys, columns = case
    codec = RowCodec(spec_of(keys, columns, len(keys) // 2), 7)
    rows = back(codec, keys, columns, n)
    assert len(rows) == n
    for a, b in zip([*keys, *columns], [*rows.keys, *rows.values], strict=True):
        assert same(a, b)
    some = [a[cut:] for a in keys], [a[cut:] for a in columns]  # slices: arrays that begin within their buffers
    rows = back(codec, *some, max(0, n - cut))
    for a, b in zip([*some[0], *some[1]], [*rows.keys, *rows.values], strict=True):
        assert same(a, b)


@slow
@given(types.flatmap(lambda t: st.tuples(st.just(t), st.lists(values(t), min_size=1, max_size=8))), st.randoms())
def test_equal_keys_have_equal_bytes(case: tuple, rng: random.Random) -> None:
    t, items = case
    array = build(items + items, t)
    array = array.take(pa.array(rng.sample(range(len(array)), len(array))))
    spec = spec_of([array], [])
    table = StateTable(spec)
    slots, _ = table.upsert([array])
    packed = RowCodec(spec, 0).keys([array], len(array)).tolist()
    assert [packed.index(r) for r in packed] == [slots.tolist().index(s) for s in slots.tolist()]
    assert [int.from_bytes(r[1:3], "big") for r in packed] == table.key_groups(slots).tolist()


def test_key_groups_are_those_of_the_table() -> None:
    keys = [pa.array(["a", "b", None, ""]), pa.array([1.5, -0.0, 0.0, None]), pa.array([[1], [], None, [2]])]
    for by in [None, (1,), (2, 0)]:
        spec = StateSpec("s", spec_of(keys, []).key, pa.schema([]), by=by)
        table = StateTable(spec)
        slots, _ = table.upsert(keys)
        packed = RowCodec(spec, 0).keys(keys, 4).tolist()
        assert [int.from_bytes(r[1:3], "big") for r in packed] == table.key_groups(slots).tolist()
    packed = RowCodec(spec_of(keys, [], 0), 3).keys(keys, 4).tolist()
    assert {r[:3] for r in packed} == {b"\x03\x00\x00"}


@pytest.mark.parametrize("a", MORE, ids=lambda a: str(a.type))
def test_other_types(a: pa.Array) -> None:
    rows = back(RowCodec(spec_of([a], [a, a]), 1), [a], [a, a[::-1]], len(a))
    assert same(rows.keys[0], a)
    assert same(rows.values[0], a)
    assert same(rows.values[1], a[::-1])


def test_other_layouts() -> None:
    strings, numbers = pa.array(["a", None, "a", ""]), pa.array([2, 2, None, 1], pa.int64())
    codec = RowCodec(spec_of([strings], [strings, numbers]), 0)
    keys, rows = codec.keys([strings], 4), codec.values([strings], [strings, numbers], 4)
    others = [strings.dictionary_encode(), numbers.dictionary_encode()]
    assert codec.keys(others[:1], 4).tolist() == keys.tolist()
    assert codec.values(others[:1], others, 4).tolist() == rows.tolist()
    chunks = pa.chunked_array([strings[:1], strings[1:]])
    assert codec.keys([chunks], 4).tolist() == keys.tolist()
    wide = [strings.cast(pa.large_string()), numbers.cast(pa.int32())]
    assert codec.values(wide[:1], wide, 4).tolist() == rows.tolist()


def test_more_rows_than_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlstream.state.fields.PIECE", 4096)
    n, rng = 20_000, np.random.default_rng(3)
    numbers = pa.array(rng.integers(-(2**60), 2**60, n))
    late = pa.array(np.arange(n), mask=np.arange(n) == n - 2)  # NULL in the last piece only
    texts = pa.array([None if i % 7 == 0 else "x" * (i % 23) for i in range(n)])
    lists = pa.array([None if i % 5 == 0 else [i, None] * (i % 3) for i in range(n)], pa.list_(pa.int32()))
    keys, columns = [texts, numbers], [late, texts, lists]
    rows = back(RowCodec(spec_of(keys, columns), 0), keys, columns, n)
    for a, b in zip([*keys, *columns], [*rows.keys, *rows.values], strict=True):
        assert a.equals(b)


def test_no_columns() -> None:
    codec = RowCodec(spec_of([], []), 9)
    assert codec.keys([], 2).tolist() == [b"\x09\0\0"] * 2
    assert codec.values([], [], 2).tolist() == [b"\x01"] * 2
    rows = codec.rows(codec.keys([], 2), codec.values([], [], 2))
    assert (len(rows), rows.keys, rows.values) == (2, [], [])
    with pytest.raises(InternalError, match="255"):
        RowCodec(spec_of([], []), 255)


def test_group_range_holds_the_rows_of_its_groups() -> None:
    keys = pa.array(range(3000), pa.int64())
    spec = spec_of([keys], [])
    table = StateTable(spec)
    slots, _ = table.upsert([keys])
    groups = table.key_groups(slots).tolist()
    codecs = [RowCodec(spec, i) for i in (4, 5, 6)]
    packed = [k for c in codecs for k in c.keys([keys], 3000).tolist()]
    for lo, hi in [(0, KEY_GROUPS), (0, 1), (5, 77), (100, KEY_GROUPS), (9, 9)]:
        first, end = codecs[1].group_range(lo, hi)
        assert [i for i, k in enumerate(packed) if first <= k < end] == [
            3000 + i for i, g in enumerate(groups) if lo <= g < hi
        ]
        assert not first <= block_key(5, 0) < end and not first <= block_key(4, 2**63) < end
    assert all(k.startswith(codecs[i // 3000].prefix) for i, k in enumerate(packed))
    with pytest.raises(InternalError, match="key groups"):
        codecs[0].group_range(0, KEY_GROUPS + 1)


def test_the_format_stays() -> None:
    """Bytes that stores have on disks."""
    keys = [pa.array([1, None], pa.int32()), pa.array(["ab", ""]), pa.array([-0.0, 1.5])]
    columns = [
        pa.array([True, None]),
        pa.array([Decimal("1.5"), Decimal("-1")], pa.decimal128(5, 1)),
        pa.array([None, b"\x07"]),
        pa.array([[("b", 1), ("a", None)], []], pa.map_(pa.string(), pa.int8())),
        pa.array([{"x": [[1], None], "y": None}, None], pa.struct([("x", pa.list_(pa.list_(pa.int16()))), ("y", pa.null())])),
    ]  # fmt: skip
    codec = RowCodec(spec_of(keys, columns, 0), 2)
    assert [r.hex(" ") for r in codec.keys(keys, 2).tolist()] == [
        "02 00 00 00 01 00 00 00 02 00 00 00 61 62 00 00 00 00 00 00 00 00",
        "02 00 00 01 00 00 00 00 00 00 00 00 00 00 f8 3f",
    ]
    assert [r.hex(" ") for r in codec.values(keys, columns, 2).tolist()] == [
        # version, bitmap (column 3 is NULL); -0.0; TRUE; 15
        "01 08 00 00 00 00 00 00 00 80 01 0f 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
        # map: 18 bytes; 2 entries; keys: validity, lengths, bytes; values: validity, 1 and NULL
        "12 00 00 00 02 00 00 00 03 01 00 00 00 01 00 00 00 62 61 01 01 00 "
        # row: 18 bytes; x: validity, 2 elements; their validity, lengths; 1 element: validity, 1; y: validity
        "12 00 00 00 01 02 00 00 00 01 01 00 00 00 00 00 00 00 01 01 00 00",
        "01 22 00 00 00 00 00 00 f8 3f f6 ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff 01 00 00 00 07 04 00 00 00 00 00 00 00",
    ]  # fmt: skip
    rows = codec.rows(codec.keys(keys, 2), codec.values(keys, columns, 2))
    for a, b in zip([*keys, *columns], [*rows.keys, *rows.values], strict=True):
        assert same(a, b)


def read(codec: RowCodec, keys: Packed, packed: Packed) -> None:
    """Reads the rows, or finds that they are damaged; whatever comes is sound to Arrow, but for bytes of a string."""
    try:
        rows = codec.rows(keys, packed)
    except CheckpointError as e:
        assert "row of state s cannot be read" in str(e)
        return
    for a in [*rows.keys, *rows.values]:
        a.validate()


@slow
@given(cases, st.randoms(use_true_random=False))
def test_damage_is_no_crash(case: tuple[int, list[pa.Array], list[pa.Array]], rng: random.Random) -> None:
    n, keys, columns = case
    codec = RowCodec(spec_of(keys, columns), 7)
    good = codec.keys(keys, n), codec.values(keys, columns, n)
    for _ in range(30 if n else 0):
        pair = [*good]
        which = rng.randrange(2)
        rows = pair[which].tolist()
        i = rng.randrange(n)
        row = bytearray(rows[i])
        for _ in range(rng.randint(1, 3)):
            at, patch = (
                rng.randrange(len(row)),
                rng.choice([b"\xff" * 4, b"\0\0\0\x80", rng.randbytes(4), rng.randbytes(1)]),
            )
            row[at : at + len(patch)] = patch[: len(row) - at]
        rows[i] = bytes(row)
        pair[which] = packed_of(rows)
        read(codec, *pair)


@slow
@given(cases, st.randoms(use_true_random=False))
def test_rows_cut_short_are_found(case: tuple[int, list[pa.Array], list[pa.Array]], rng: random.Random) -> None:
    n, keys, columns = case
    codec = RowCodec(spec_of(keys, columns), 7)
    for which in (0, 1) if n else ():
        pair = [codec.keys(keys, n), codec.values(keys, columns, n)]
        rows = pair[which].tolist()
        i = rng.randrange(n)
        for changed in (rows[i][: rng.randrange(len(rows[i]))], rows[i] + b"\0"):
            pair[which] = packed_of([*rows[:i], changed, *rows[i + 1 :]])
            with pytest.raises(CheckpointError, match="row of state s cannot be read"):
                codec.rows(*pair)


def packed_of(rows: list[bytes]) -> Packed:
    """Right before a page that cannot be read: who reads beyond the rows does not live on."""
    joined, page = b"".join(rows), mmap.PAGESIZE
    room = -(-len(joined) // page) * page
    memory = mmap.mmap(-1, room + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + room), ctypes.c_size_t(page), 0) == 0
    data = np.frombuffer(memory, np.uint8)[room - len(joined) : room]
    data[:] = np.frombuffer(joined, np.uint8)
    return Packed(data, np.cumsum([0, *map(len, rows)]).astype(np.int64))


@pytest.mark.parametrize(
    "t", [pa.null(), pa.bool_(), pa.int64(), pa.string(), pa.list_(pa.int8()), pa.struct([])], ids=str
)
@pytest.mark.parametrize("count", [0, 2, 4, 8, 9, 200, 2**31 - 1, 2**31, 2**32 - 1])
def test_wild_lengths_are_found(t: pa.DataType, count: int) -> None:
    """Neither is memory asked for nor are bytes read that are not there."""
    lists = pa.array([[None] * 3], pa.list_(t))
    codec = RowCodec(spec_of([], [lists]), 0)
    keys, (row,) = codec.keys([], 1), codec.values([], [lists], 1).tolist()
    assert row[6:10] == b"\x03\0\0\0"
    changed = packed_of([row[:6] + count.to_bytes(4, "little") + row[10:]])
    if t in (pa.null(), pa.struct([])) and 0 < count <= 8:  # a byte of validity is all that there is
        assert len(codec.rows(keys, changed).values[0][0]) == count
        return
    with pytest.raises(CheckpointError, match="r than it says"):
        codec.rows(keys, changed)


def test_wild_lengths_of_strings_are_found() -> None:
    strings = pa.array([["abc"]])
    codec = RowCodec(spec_of([], [strings]), 0)
    (row,) = codec.values([], [strings], 1).tolist()
    assert row[11:] == b"\x03\0\0\0abc"
    for size in (2, 4, 11, 2**31, 2**32 - 1):
        with pytest.raises(CheckpointError, match="r than it says"):
            codec.decode_values(packed_of([row[:11] + size.to_bytes(4, "little") + b"abc"]))


def test_null_as_key_of_a_map_is_found() -> None:
    maps = pa.array([[(1, 2), (3, 4)]], pa.map_(pa.int8(), pa.int8()))
    codec = RowCodec(spec_of([], [maps]), 0)
    (row,) = codec.values([], [maps], 1).tolist()
    assert row[6:] == b"\x02\0\0\0\x03\x01\x03\x03\x02\x04"
    with pytest.raises(CheckpointError, match="a key of a map is NULL"):
        codec.decode_values(packed_of([row[:10] + b"\x01" + row[11:]]))


def test_rows_of_others_are_refused() -> None:
    codec, other = (RowCodec(spec_of([pa.array([1])], []), i) for i in (0, 1))
    keys, rows = other.keys([pa.array([1])], 1), codec.values([pa.array([1])], [], 1)
    with pytest.raises(CheckpointError, match="another state"):
        codec.rows(keys, rows)
    with pytest.raises(CheckpointError, match="its layout is 2, this version reads layout 1"):
        codec.decode_values(packed_of([b"\x02" + rows.tolist()[0][1:]]))
    with pytest.raises(InternalError, match="offsets up to 9 in 1 bytes"):
        codec.decode_values(Packed(np.zeros(1, np.uint8), np.array([0, 9])))


def test_more_strings_than_an_array_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    for a in (pa.array(["abc"] * 4), pa.array([["abc"]] * 4)):
        codec = RowCodec(spec_of([], [a]), 0)
        packed = codec.values([], [a], 4)
        with monkeypatch.context() as m:
            m.setattr("sqlstream.state.packed.INT32_MAX", 10)
            m.setattr("sqlstream.state.nested.INT32_MAX", 10)
            with pytest.raises(DataError, match="do not fit in one Arrow array"):
                codec.decode_values(packed)


def test_types_that_state_cannot_hold() -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    with pytest.raises(InternalError, match="cannot be kept in state"):
        RowCodec(spec_of([], [union]), 0).values([], [union], 1)


@slow
@given(cases)
def test_blocks_come_back(case: tuple[int, list[pa.Array], list[pa.Array]]) -> None:
    n, keys, columns = case
    spec = spec_of(keys, columns)
    rows = decode_block(encode_block(Rows(n, keys, columns), spec), spec)
    assert len(rows) == n
    for a, b in zip([*keys, *columns], [*rows.keys, *rows.values], strict=True):
        assert same(a, b)


def test_damaged_blocks_are_found() -> None:
    keys, columns = [pa.array(range(50), pa.int64())], [pa.array(["abc"] * 50).dictionary_encode()]
    spec = StateSpec("s", pa.schema([("k", pa.int64())]), pa.schema([("v", pa.string())]), log=True)
    block = encode_block(Rows(50, keys, columns), spec)
    assert decode_block(block, spec).values[0].to_pylist() == ["abc"] * 50
    for i in range(len(block)):
        flipped = bytearray(block)
        flipped[i] ^= 16
        for damaged in (bytes(flipped), block[:i]):
            with pytest.raises(CheckpointError, match="block of state s cannot be read"):
                decode_block(damaged, spec)
    other = StateSpec("s", pa.schema([("k", pa.int32())]), spec.value, log=True)
    with pytest.raises(CheckpointError, match="not in the form of its schema"):
        decode_block(block, other)


def test_block_keys_are_in_order() -> None:
    assert block_key(1, 258) == b"\x01\xff\xff\0\0\0\0\0\0\x01\x02"
    numbers = [0, 1, 255, 256, 2**40]
    assert sorted(block_key(3, n) for n in numbers) == [block_key(3, n) for n in numbers]
