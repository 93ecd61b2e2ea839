"""Bytes of values that lie scattered, put together."""

from __future__ import annotations

from sqlstream.state.kernel import I64, U8, VOID, kernel, r, w


@kernel(VOID, r(U8), r(I64), r(I64), I64, w(U8))
def gather(data, begins, sizes, count, out):  # type: ignore[no-untyped-def]
    """The bytes of `count` values, one behind the other."""
    to = 0
    for i in range(count):
        begin = begins[i]
        for k in range(sizes[i]):
            out[to + k] = data[begin + k]
        if sizes[i] > 0:
            to += sizes[i]
