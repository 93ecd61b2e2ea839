"""Rows of MySQL's text protocol, taken apart where they lie: packets whose values are texts with their lengths before them."""

from __future__ import annotations

from sqlstream.state.kernel import I64, U8, kernel, r, w

# How far it has come: the rest is not there yet; the rows have ended; an error follows; a row follows that is more than one packet.
MORE, ENDED, FAILED, LARGE = 0, 1, 2, 3
NULL = -1  # in place of a value's length


@kernel(I64, r(U8), I64, I64, I64, w(I64), w(I64), w(I64))
def take_apart(data, size, columns, most, begins, sizes, came):  # type: ignore[no-untyped-def]
    """At most `most` rows of `columns` values each, that begin at 0: where each value begins and how long it is. How many there are;
    `came`: up to where, and why not further (one of the above)."""
    made = 0
    at = 0
    came[1] = 0
    while made < most:
        if at + 5 > size:
            break
        length = data[at] + 256 * (data[at + 1] + 256 * data[at + 2])
        if length == 16777215:
            came[1] = 3
            break
        if at + 4 + length > size:
            break
        p = at + 4
        first = data[p]
        if first == 254 and length < 9:
            came[1] = 1
            break
        if first == 255:
            came[1] = 2
            break
        base = made * columns
        for j in range(columns):
            value = data[p]
            p += 1
            if value == 251:
                begins[base + j] = p
                sizes[base + j] = -1
                continue
            n = value * 1
            if value > 251:
                width = 2 if value == 252 else 3 if value == 253 else 8
                n = 0
                for k in range(width):
                    n += data[p + k] * (1 << (8 * k))
                p += width
            begins[base + j] = p
            sizes[base + j] = n
            p += n
        made += 1
        at += 4 + length
    came[0] = at
    return made
