"""The bytes before a record, as Confluent documents them (wire format), and messages without them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlstream.formats.confluent.framing import EMPTY, MAGIC, SHORT, framed, place, places, prefix, unframed
from sqlstream.formats.messages import Refused, Texts
from sqlstream.formats.scan.layout import PADDING

# https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop: the length of the array, and its items, as
# zig-zag varints; [0] is a single 0
PLACES = [
    ((0,), b"\x00"), ((1,), b"\x02\x02"), ((1, 0), b"\x04\x02\x00"), ((0, 0), b"\x04\x00\x00"), ((63,), b"\x02\x7e"),
    ((64, 3), b"\x04\x80\x01\x06"), ((100_000,), b"\x02\xc0\x9a\x0c"),
]  # fmt: skip


def test_places_of_messages() -> None:
    assert [place(p) for p, _ in PLACES] == [data for _, data in PLACES]
    records = [data + b"record" for _, data in PLACES]
    # as long as it may be, none at all, one that is cut, a negative number of them, and a negative one
    wrong = [b"\x02\xff", b"\x01", b"\x04\x02\x01", b"\x80\x80\x80\x80\x80\x80"]
    for some in (records[:1], records, [*records, *wrong], wrong, []):
        data = b"".join(some)
        sizes = np.array([len(r) for r in some], np.int64)
        begins = np.cumsum(sizes) - sizes
        buffer = np.frombuffer(data + b"\xff" * PADDING, np.uint8)
        of, paths, used = places(buffer, begins, sizes)
        found = [(paths[n], int(u)) if n >= 0 else None for n, u in zip(of.tolist(), used, strict=True)]
        known = [(p, len(d)) for p, d in PLACES] + [None] * len(wrong)
        assert found == [known[(records + wrong).index(r)] for r in some]


def test_an_empty_path_is_the_first_message() -> None:
    """A length of 0 is the short form of [0], and so are its bytes behind which nothing is."""
    buffer = np.frombuffer(b"\x00" + b"\xff" * PADDING, np.uint8)
    of, paths, used = places(buffer, np.array([0]), np.array([1]))
    assert [paths[int(of[0])], int(used[0])] == [(0,), 1]


VALUES = st.lists(st.none() | st.binary(max_size=12), max_size=8)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(0, 2**32 - 1))
def test_framed(values: list[bytes | None], number: int) -> None:
    """With every byte that there is in them, line ends too."""
    before = prefix(number)
    found = framed(Texts.of(values), before)
    assert found.values() == [None if v is None else before + v for v in values]
    assert found.buffer.size == found.size + PADDING


@settings(max_examples=100, deadline=None)
@given(VALUES, st.sampled_from([b"\0\0\0\0\x01", b"\0\0\0\x0a\x0a", b"\x01\0\0\0\x01", b"\0\0\0"]))
def test_unframed(values: list[bytes | None], before: bytes) -> None:
    """What is refused is not there any more; others are as long as they were, and begin with blanks."""
    given = [v and before + v for v in values]
    texts, refused = unframed(Texts.of(given))
    reasons: list[str | None] = [
        None
        if v is None
        else SHORT
        if not v
        else MAGIC
        if v[0]
        else SHORT
        if len(v) < 5
        else EMPTY
        if len(v) == 5
        else None
        for v in given
    ]
    assert refused == [Refused(i, r) for i, r in enumerate(reasons) if r]
    assert texts.values() == [None if v is None or r else b" " * 5 + v[5:] for v, r in zip(given, reasons, strict=True)]


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_the_messages_stay_what_they_were(count: int) -> None:
    texts = Texts.of([b"\0\0\0\0\x01{}"] * count)
    before = texts.buffer[: texts.size].tobytes()
    unframed(texts)
    assert texts.buffer[: texts.size].tobytes() == before
