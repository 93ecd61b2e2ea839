"""The compiled loops of `csv_records.py`: bytes to the places of records and fields, and fields to text."""

from __future__ import annotations

import numpy as np

from sqlstream.state.kernel import I32, I64, U8, helper, kernel, r, w

LF, CR, SPACE, HASH = 10, 13, 32, 35
UNCLOSED, AFTER_QUOTE = 1, 2  # what is wrong with a record
QUOTED, BARE = 1, 2  # how a field with escapes stands there


@helper
def stands(data, at, text):  # type: ignore[no-untyped-def]
    """Whether `text` (never, when it is empty) stands at `at`."""
    n = text.size
    if n == 0 or at + n > data.size or data[at] != text[0]:
        return False
    for k in range(1, n):  # noqa: SIM110  no generators in a kernel
        if data[at + k] != text[k]:
            return False
    return True


@helper
def line_end(data, at):  # type: ignore[no-untyped-def]
    """How many bytes the line end at `at` has; 0: there is none. A CR that is the last byte there is counts as one."""
    if data[at] == LF:
        return 1
    if data[at] == CR:
        return 2 if at + 1 < data.size and data[at + 1] == LF else 1
    return 0


@kernel(I64, r(U8), r(U8), r(U8), r(U8), I64, I64, I64, w(I64), w(I64), w(U8), w(I64, 2), w(I64))
def split(data, delimiter, quote, escape, comments, single, final, starts, sizes, escaped, records, total):  # type: ignore[no-untyped-def]
    """The number of whole records at the beginning of `data`, with their places. See `csv_records.py` for what one is.

    `single`: tables of one column, whose empty lines are records. `final`: the last record needs no line end. Of each
    field: `starts`, `sizes` (bytes, without quotes), `escaped` (QUOTED or BARE, if it has escapes or doubled quotes
    inside); none are written when `starts` is empty. Of each record: (first field, first byte, first line from 0, what
    is wrong). `total`: bytes, fields, lines of all of them.
    """
    n = data.size
    keep = starts.size > 0
    at, count, fields, line = 0, 0, 0, 0
    while at < n:
        begin, first, first_line, wrong = at, fields, line, 0
        if comments and data[at] == HASH:
            while at < n and line_end(data, at) == 0:
                at += 1
            size = line_end(data, at) if at < n else 0
            if not final and (size == 0 or (at + 1 == n and data[at] == CR)):
                at = begin
                break
            at += size
            line += 1
            continue
        size = line_end(data, at)
        if size and not single:
            if not final and at + 1 == n and data[at] == CR:
                break
            at += size
            line += 1
            continue
        whole = False
        while True:
            start, special = at, 0
            if stands(data, at, quote):
                at += quote.size
                start = at
                while at < n:
                    if stands(data, at, escape):
                        special = QUOTED
                        at += escape.size
                    elif stands(data, at, quote):
                        if not stands(data, at + quote.size, quote):
                            break
                        special = QUOTED
                        at += 2 * quote.size
                        continue
                    if at < n:
                        size = line_end(data, at)
                        line += size > 0
                        at += size if size else 1
                stop = at if at < n else n
                if at >= n:
                    at, wrong = n, UNCLOSED
                else:
                    at += quote.size
                    while at < n and data[at] == SPACE and not stands(data, at, delimiter):
                        at += 1
                    if at < n and line_end(data, at) == 0 and not stands(data, at, delimiter):
                        wrong = AFTER_QUOTE
                        while at < n and line_end(data, at) == 0 and not stands(data, at, delimiter):
                            at += 1
            else:
                while at < n and line_end(data, at) == 0 and not stands(data, at, delimiter):
                    if stands(data, at, escape):
                        special = BARE
                        at += escape.size
                    at += 1
                at = at if at < n else n
                stop = at
            if keep:
                starts[fields], sizes[fields], escaped[fields] = start, stop - start, special
            fields += 1
            if at >= n:
                whole = final != 0
                break
            if stands(data, at, delimiter):
                at += delimiter.size
                continue
            if not final and at + 1 == n and data[at] == CR:
                break
            at += line_end(data, at)
            line += 1
            whole = True
            break
        if not whole:
            at, fields, line = begin, first, first_line
            break
        if keep:
            records[count, 0], records[count, 1], records[count, 2], records[count, 3] = first, begin, first_line, wrong
        count += 1
    total[0], total[1], total[2] = at, fields, line
    return count


@helper
def unescaped(data, at, stop, quote, escape, quoted, out, to):  # type: ignore[no-untyped-def]
    """Writes a field without its escapes and, if it was `quoted`, doubled quotes at `to`; gives its end."""
    while at < stop:
        if stands(data, at, escape) and at + escape.size < stop:
            at += escape.size
            c = data[at]
            if c == 110:  # n
                c = np.uint8(LF)
            elif c == 114:  # r
                c = np.uint8(CR)
            elif c == 116:  # t
                c = np.uint8(9)
            elif c == 48:  # 0
                c = np.uint8(0)
            out[to] = c
        else:
            if quoted and stands(data, at, quote) and stands(data, at + quote.size, quote):
                at += quote.size
                for _ in range(quote.size - 1):
                    out[to] = data[at]
                    at += 1
                    to += 1
            out[to] = data[at]
        at += 1
        to += 1
    return to


@kernel(I64, r(U8), r(U8), r(U8), r(I64), r(I64), r(U8), r(I64), w(I32), w(U8))
def take(data, quote, escape, starts, sizes, escaped, chosen, offsets, out):  # type: ignore[no-untyped-def]
    """The text of the fields `chosen`, one after the other in `out`, with Arrow's offsets; gives its size."""
    to = np.int64(0)
    for i in range(chosen.size):
        offsets[i] = to
        field = chosen[i]
        at, stop = starts[field], starts[field] + sizes[field]
        if escaped[field]:
            to = unescaped(data, at, stop, quote, escape, escaped[field] == QUOTED, out, to)
        else:
            for k in range(at, stop):
                out[to] = data[k]
                to += 1
    offsets[chosen.size] = to
    return to


@kernel(I64, r(U8))
def count_lines(data):  # type: ignore[no-untyped-def]
    """How many lines end in `data`, by LF, CR or CRLF."""
    lines, at = 0, 0
    while at < data.size:
        size = line_end(data, at)
        lines += size > 0
        at += size if size else 1
    return lines
