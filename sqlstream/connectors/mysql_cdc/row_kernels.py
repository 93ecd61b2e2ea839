"""Rows of events of the binary log, taken apart where they lie: a bitmap of NULLs, then values of known or of written length."""

from __future__ import annotations

from sqlstream.state.kernel import I64, U8, kernel, r, w

NULL = -1  # in place of a value's length


@kernel(I64, r(U8), r(I64), r(I64), I64, I64, r(I64), I64, w(I64), w(I64), w(I64))
def take_apart(data, starts, ends, events, columns, widths, stores, begins, sizes, counts):  # type: ignore[no-untyped-def]
    """The rows of events, each of which has them from a start to an end: where each value begins and how long it is. `widths`: of
    each column its bytes, or below 0 how many bytes its length is written in. `counts`: rows of each event. How many there are; -1 where one
    goes beyond its event. `stores`: 0 to count alone."""
    made = 0
    for i in range(events):
        at = starts[i]
        end = ends[i]
        before = made
        while at < end:
            nulls = at
            at += (columns + 7) // 8
            base = made * columns
            for j in range(columns):
                if data[nulls + j // 8] & (1 << (j % 8)):
                    if stores:
                        begins[base + j] = at
                        sizes[base + j] = -1
                    continue
                size = widths[j]
                if size < 0:
                    n = 0
                    for k in range(-size):
                        n += data[at + k] * (1 << (8 * k))
                    at += -size
                    size = n
                if stores:
                    begins[base + j] = at
                    sizes[base + j] = size
                at += size
                if at > end:
                    return -1
            made += 1
        counts[i] = made - before
    return made
