"""Lines of JSON by thousands: most of them good, and what one can do wrong in the others.

Values are made one by one, some hundreds for each column; lines are put together of them by Arrow, and bytes are changed
in the whole block, since a loop over lines would take longer than decoding them.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from harness.decoding import accepted
from harness.json_shapes import Shape
from harness.json_values import (
    BROKEN,
    BROKEN_BYTES,
    BROKEN_NUMBERS,
    BROKEN_STRINGS,
    NUMBERS,
    OTHERS,
    STRINGS,
    good,
    key,
    odd,
    space,
)
from harness.seed import random_of
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.formats.conversion import is_scalar
from sqlstream.types import Type

LEGAL, OTHER, HALVED = 20_000, 1000, 200  # lines a block, by what a malformed one costs


@dataclass(frozen=True)
class Oddness:
    """How much of a block's lines is unusual: shares of lines, and (`bytes`) how many places are changed for each line.

    `legal`: only as far as that is good JSON, and of the columns' types.
    """

    legal: bool
    value: float = 0.0
    missing: float = 0.0
    again: float = 0.0
    unknown: float = 0.0
    shuffled: bool = False
    spaced: float = 0.0
    bytes: float = 0.0
    lines: float = 0.0


def an_oddness(rng: random.Random, shape: Shape, legal: bool) -> Oddness:
    """`legal`: as in Oddness."""
    share = (0.0, 0.001, 0.01, 0.1, 0.5) if legal or shape.flat else (0.0, 0.001, 0.004)
    complete = shape.fail_on_missing or not all(t.nullable for _, t in shape.columns)
    return Oddness(
        legal,
        value=rng.choice(share),
        missing=0.0 if legal and complete else rng.choice((0.0, 0.0, 0.001, 0.1)),
        again=0.0 if legal else rng.choice((0.0, 0.0, 0.0, share[1], share[-1] / 10)),
        unknown=rng.choice((0.0, 0.3, 1.0)),
        shuffled=rng.random() < 0.3,
        spaced=rng.choice((0.0, 0.0, 0.01, 1.0)),
        bytes=0.0 if legal else rng.choice((0.0, *share)),
        lines=rng.choice((0.0, 0.0, 0.001, 0.01) if legal or shape.flat else (0.0, 0.001)),
    )


LINES = (
    b"", b"", b" ", b"\t \r", b"\r", b"null", b" null ", b"{}", b" { } ", b"[]", b"7", b'"s"', b"true", b"NaN", b"\xef\xbb\xbf", b"\xef\xbb\xbf{}", b'{"a":1}{"a":2}',
    b'{"a":1} {"a":2}', b'{"a":1}x', b"{", b"}", b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,', b"{}}", b"{} ", b"{}\x00", b"\x00", b"{}//", b"[{}]", b"{},", b"\x0b{}",
    b"\xa0{}", b'{"x":' + b"[" * 600 + b"]" * 600 + b"}", b'{"x":' + b'{"x":' * 200 + b"1" + b"}" * 200 + b"}", b'{"x":"' + b"long " * 4000 + b'"}', b"nul", b"\xff",
)  # fmt: skip
UNKNOWN = ("other", "z", "a_", "ab", "K" * 80, "nested", "é é", "p", "pric", "price2")


BLANK = (b"", b" ", b"\r", b"\t \r")


@cache
def _unusual(t: Type, standard: str) -> tuple[list[str], list[bytes]]:
    """Values that are written in an unusual way: good ones of the type, and others."""
    rng = random_of("unusual values", t, standard)
    made = [odd(t, rng, standard).replace(b"\n", b"\r") for _ in range(800)]
    shape = Shape((("v", t),), ScanRequest((ScanColumn(("v",), t),)), standard)
    legal = accepted(shape, [b'{"v":' + v + b"}\n" for v in made])
    good = [v.decode("utf-8", "surrogatepass") for v, is_good in zip(made, legal, strict=True) if is_good]
    return good or ["null"], [v for v, is_good in zip(made, legal, strict=True) if not is_good]


def unusual(t: Type, standard: str) -> list[str]:
    """Good values of a scalar type, written in an unusual way."""
    return _unusual(t.null(), standard)[0]


def block(shape: Shape, rng: random.Random, most: int) -> bytes:
    """A block of up to `most` lines for the shape's columns."""
    legal = rng.random() < 0.5
    cheap = legal and shape.flat and all(t.nullable for _, t in shape.columns)
    count = min(most, LEGAL if cheap else OTHER if shape.flat else HALVED)
    return lines(shape, an_oddness(rng, shape, legal), rng.randrange(count // 2, count), rng)


def lines(shape: Shape, oddness: Oddness, count: int, rng: random.Random) -> bytes:
    """A block of `count` lines for the shape's columns."""
    numbers = np.random.default_rng(rng.randrange(2**63))
    pools = {n: _pool(n, t, shape.standard, oddness, rng) for n, t in shape.columns}
    unknown = _unknown(rng, oddness.legal)
    groups, left = [], count
    while left > 0:
        size = min(left, rng.choice((30, 300, 1000)) if oddness.shuffled else 2000)
        order: list[str | None] = [n for n, _ in shape.columns]
        if oddness.unknown:
            for _ in range(rng.randrange(2 if oddness.legal else 3)):  # two could have one name
                order.insert(rng.randrange(len(order) + 1), None)
        if oddness.shuffled:
            rng.shuffle(order)
        groups.append(_group(order, pools, unknown, oddness, size, numbers, rng))
        left -= size
    made = pa.chunked_array(groups).combine_chunks()
    if len(groups) > 1:
        made = made.take(pa.array(numbers.permutation(len(made))))
    if oddness.lines:
        places = numbers.random(len(made)) < oddness.lines
        made = pc.replace_with_mask(
            made,
            pa.array(places),
            pa.array(rng.choices(BLANK if oddness.legal else LINES, k=int(places.sum())), pa.binary()),
        )
    joined = pc.binary_join_element_wise(made, pa.scalar(b"\n"), pa.scalar(b""))
    data = b"".join(joined.to_pylist()) if joined.offset else joined.buffers()[2].to_pybytes()[: _size(joined)]
    return mutated(data, int(oddness.bytes * len(made)) + (oddness.bytes > 0), rng)


def _size(a: pa.Array) -> int:
    return int(np.frombuffer(a.buffers()[1], np.int32)[len(a)])


def _pool(name: str, t: Type, standard: str, oddness: Oddness, rng: random.Random) -> tuple[pa.Array, int]:
    """`"key":value` for a column, and how many of them have a usual value: those stand first."""
    count = 250 if is_scalar(t) else 120
    may = unusual if oddness.value else None
    values = [
        good(t, rng, standard, None if is_scalar(t) else may).encode("utf-8", "surrogatepass") for _ in range(count)
    ]
    if not t.nullable:
        values = [v for v in values if v != b"null"] or [b"null"]
    usual = len(values)
    if oddness.value and is_scalar(t):
        legal, others = _unusual(t.null(), standard)
        values += [v.encode("utf-8", "surrogatepass") for v in rng.choices(legal, k=150) if v != "null"]
        values += [] if oddness.legal else rng.choices(others, k=100)
    elif oddness.value and not oddness.legal:
        values += [odd(t, rng, standard) for _ in range(100)]
    spaces = (lambda: space(rng)) if oddness.spaced else (lambda: "")
    keys = (
        key
        if oddness.spaced and not (oddness.legal and oddness.missing == 0)
        else (lambda n, _: json.dumps(n, ensure_ascii=False))
    )
    pool = [f"{spaces()}{keys(name, rng)}{spaces()}:{spaces()}".encode() + v + spaces().encode() for v in values]
    return pa.array([p.replace(b"\n", b"\r") for p in pool], pa.binary()), usual


def _unknown(rng: random.Random, legal: bool) -> tuple[pa.Array, int]:
    values = [rng.choice((rng.choice(STRINGS), rng.choice(NUMBERS), rng.choice(OTHERS))) for _ in range(200)]
    values += (
        []
        if legal
        else [
            rng.choice((rng.choice(BROKEN_STRINGS), rng.choice(BROKEN_NUMBERS), rng.choice(BROKEN))) for _ in range(100)
        ]
    )
    of = rng.choice((1, 10, 3000))
    names = [f"{rng.choice(UNKNOWN)}{rng.randrange(of)}" for _ in values]
    pool = [f"{key(n, rng)}:{v}".encode("utf-8", "surrogatepass") for n, v in zip(names, values, strict=True)]
    pool += [] if legal else [b'"bytes":' + v for v in BROKEN_BYTES]
    return pa.array([p.replace(b"\n", b"\r") for p in pool], pa.binary()), 200


def _group(
    order: list[str | None],
    pools: dict[str, tuple[pa.Array, int]],
    unknown: tuple[pa.Array, int],
    oddness: Oddness,
    size: int,
    numbers: np.random.Generator,
    rng: random.Random,
) -> pa.Array:
    """Lines whose fields stand in one order."""
    fields: list[pa.Array] = []
    for name in order:
        pool, usual = unknown if name is None else pools[name]
        share = oddness.value / max(len(order), 1)
        some = numbers.integers(0, usual, size)
        unusual = numbers.random(size) < share
        some[unusual] = numbers.integers(0, len(pool), int(unusual.sum()))
        left_out = numbers.random(size) < (oddness.missing if name is not None else 1 - oddness.unknown)
        fields.append(pool.take(pa.array(some, mask=left_out)))
        if name is not None and oddness.again:
            again = numbers.random(size) < oddness.again / len(order)
            fields.append(pool.take(pa.array(numbers.integers(0, len(pool), size), mask=~again)))
    if not fields:
        return pa.array([b"{}"] * size, pa.binary())
    comma = rng.choice((b",", b",", b", ", b" ,\t")) if oddness.spaced else b","
    parts: list[pa.Array] = []
    before = np.zeros(size, bool)  # whether a field stands there already
    for f in fields:
        here = f.is_valid().to_numpy(zero_copy_only=False)
        parts += [pc.if_else(pa.array(before & here), pa.scalar(comma), pa.scalar(b"")), pc.fill_null(f, b"")]
        before |= here
    body = pc.binary_join_element_wise(*parts, pa.scalar(b""))
    ends = [b"}"] * 20 + ([b"}\r", b"} ", b" }", b"}\t \r", b" } "] if oddness.spaced else [])
    begins = [b"{"] * 20 + ([b" {", b"{ ", b"\t{\r"] if oddness.spaced else [])
    begin = pa.array(begins, pa.binary()).take(pa.array(numbers.integers(0, len(begins), size)))
    end = pa.array(ends, pa.binary()).take(pa.array(numbers.integers(0, len(ends), size)))
    return pc.binary_join_element_wise(begin, body, end, pa.scalar(b""))


SPECIAL = (
    b'"', b"\\", b",", b":", b"{", b"}", b"[", b"]", b" ", b"\t", b"\r", b"\x00", b"\x01", b"\x1f", b"\x7f", b"\x80", b"\xc0", b"\xc3\xa9", b"\xe2\x82\xac",
    b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xf5", b"\xff", b"0", b"9", b"-", b"+", b".", b"e", b"E", b"n", b"null", b"true", b"\\u", b"\\n", b'\\"', b"//", b"/*",
    b"'", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\\ud83d", b"\\ude00", b"\x0c", b"\xa0", b"NaN", b'"a":1,', b",,", b"{}", b"00", b"1e400",
)  # fmt: skip


def mutated(data: bytes, count: int, rng: random.Random, special: tuple[bytes, ...] = SPECIAL) -> bytes:
    """`data` with so many places changed: bytes put in (`special` ones), left out, repeated, replaced; lines cut off."""
    if not data:
        return data
    out, at = [], 0
    for place in sorted(rng.randrange(len(data)) for _ in range(count)):
        if place < at:
            continue
        out.append(data[at:place])
        x, at = rng.random(), place
        if x < 0.2:
            at = place + rng.choice((1, 1, 1, 2, 5, 20))
        elif x < 0.6:
            out.append(rng.choice(special))
        elif x < 0.75:
            out.append(bytes((rng.randrange(256),)))
            at = place + 1
        elif x < 0.8:  # the rest of the line is gone
            at = max(data.find(b"\n", place), place)
        elif x < 0.85:  # and of what stands before it
            at = place
            while out and b"\n" not in out[-1]:
                out.pop()
            if out:
                out[-1] = out[-1][: out[-1].rfind(b"\n") + 1]
        elif x < 0.92:
            out.append(data[max(0, place - rng.randrange(1, 30)) : place])
        else:
            begin = rng.randrange(len(data))
            out.append(data[begin : begin + rng.randrange(1, 60)])
    out.append(data[at:])
    return b"".join(out)
