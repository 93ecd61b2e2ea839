"""Messages of pgoutput about rows, taken apart where they lie: INSERT, UPDATE and DELETE are tuples of values of known length."""

from __future__ import annotations

from sqlstream.state.kernel import I64, U8, kernel, r, w

# What a tuple is.
INSERTED, UPDATED, OLD_KEY, OLD_ROW, DELETED_KEY, DELETED_ROW = 1, 2, 3, 4, 5, 6
NULL, UNCHANGED = -1, -2  # in place of a value's length


@kernel(I64, r(U8), r(I64), I64, I64, w(I64), w(I64), w(I64), w(I64))
def take_apart(data, starts, count, columns, kinds, of, begins, sizes):  # type: ignore[no-untyped-def]
    """The tuples of `count` messages that begin at `starts`, in their order: what each is, its message, and where each of its
    values begins and how long it is (or one of the above). How many there are; -1 when one has not `columns` values."""
    made = 0
    for i in range(count):
        at = starts[i]
        tag = data[at]
        at += 5  # the tag, and the relation's number
        more = 1
        while more:
            part = data[at]
            at += 1
            more = 0
            if tag == 73:  # I
                kinds[made] = 1
            elif tag == 85:  # U
                if part == 78:  # N
                    kinds[made] = 2
                else:
                    kinds[made] = 3 if part == 75 else 4  # K, O
                    more = 1
            else:
                kinds[made] = 5 if part == 75 else 6
            of[made] = i
            if data[at] * 256 + data[at + 1] != columns:
                return -1
            at += 2
            base = made * columns
            for j in range(columns):
                value = data[at]
                at += 1
                if value == 116:  # t
                    size = ((data[at] * 256 + data[at + 1]) * 256 + data[at + 2]) * 256 + data[at + 3]
                    begins[base + j] = at + 4
                    sizes[base + j] = size
                    at += 4 + size
                else:
                    begins[base + j] = at
                    sizes[base + j] = -2 if value == 117 else -1  # u
            made += 1
    return made
