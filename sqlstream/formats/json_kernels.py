"""The compiled loop of `json_numbers.py`: where in JSON lines numbers stand that a DOUBLE cannot hold."""

from __future__ import annotations

import numpy as np

from sqlstream.state.kernel import I64, U8, helper, kernel, r, w

QUOTE, BACKSLASH, NEWLINE, MINUS, PLUS, POINT = 34, 92, 10, 45, 43, 46
DOUBLE_DIGITS = 15  # decimal digits that every DOUBLE gives back


@helper
def is_one_of(data, start, end, names, ends):  # type: ignore[no-untyped-def]
    """Whether the bytes from `start` to `end` are one of the names, which stand one after the other in `names`."""
    first = np.int64(0)
    for k in range(ends.size):
        if ends[k] - first == end - start:
            same = True
            for j in range(end - start):
                if data[start + j] != names[first + j]:
                    same = False
                    break
            if same:
                return True
        first = ends[k]
    return False


@kernel(I64, r(U8), r(U8), r(I64), I64, w(I64))
def long_numbers(data, names, ends, every, places):  # type: ignore[no-untyped-def]
    """How many numbers outside strings have a point or exponent and more than DOUBLE_DIGITS digits, under a key that is
    one of the names (or has escapes, or `every` is set). `places`: first byte of each, and the byte after it; at most
    as many as there is room for.
    """
    n, at, count = data.size, 0, 0
    key, key_end, escaped = 0, 0, False
    while at < n:
        c = data[at]
        if c == QUOTE:
            at += 1
            key, escaped = at, False
            while at < n and data[at] != QUOTE and data[at] != NEWLINE:
                if data[at] == BACKSLASH:
                    escaped = True
                    at += 1
                at += 1
            key_end = min(at, n)
            at += 1
        elif c == MINUS or (c >= 48 and c <= 57):
            start, digits, real, at = at, np.int64(c != MINUS), False, at + 1
            while at < n:
                c = data[at]
                if c >= 48 and c <= 57:
                    digits += 1
                elif c == POINT or c == 101 or c == 69:
                    real = True
                elif c != MINUS and c != PLUS:
                    break
                at += 1
            if real and digits > DOUBLE_DIGITS and 2 * count + 1 < places.size:  # noqa: SIM102
                if every or escaped or is_one_of(data, key, key_end, names, ends):
                    places[2 * count] = start
                    places[2 * count + 1] = at
                    count += 1
        else:
            at += 1
    return count
