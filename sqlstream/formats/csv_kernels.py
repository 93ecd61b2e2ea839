"""The compiled loops of `csv_records.py`: bytes to the places of records and fields, and fields to text."""

from __future__ import annotations

import numpy as np

from sqlstream.state.kernel import I32, I64, U8, helper, kernel, r, w

LF, CR, SPACE, HASH = 10, 13, 32, 35
UNCLOSED, AFTER_QUOTE = 1, 2  # what is wrong with a record
QUOTED, BARE = 1, 2  # how a field with escapes stands there
# Of `total`: bytes, fields and lines of all, then what is found of a field.
START, STOP, ESCAPED, WITHIN, WRONG, TOTAL = range(3, 9)


@helper
def stands(data, n, at, text):  # type: ignore[no-untyped-def]
    """Whether `text` (never, when it is empty) stands at `at`, within the first n bytes."""
    size = text.size
    if size == 0 or at + size > n or data[at] != text[0]:
        return False
    for k in range(1, size):  # noqa: SIM110  no generators in a kernel
        if data[at + k] != text[k]:
            return False
    return True


@helper
def line_end(data, n, at):  # type: ignore[no-untyped-def]
    """How many bytes the line end at `at` has; 0: there is none. A CR that is the last one of n bytes counts as one."""
    if data[at] == LF:
        return 1
    if data[at] == CR:
        return 2 if at + 1 < n and data[at + 1] == LF else 1
    return 0


@helper
def field_end(data, n, at, delimiter, quote, escape, total):  # type: ignore[no-untyped-def]
    """Where the field that begins at `at` ends: the place of the delimiter or line end behind it, or n.

    total[START], total[STOP]: its first byte and that behind it, without quotes; total[ESCAPED]: QUOTED or BARE, if it has escapes
    or doubled quotes; total[WITHIN]: line ends in it; total[WRONG]: what is wrong.
    """
    special, wrong, lines = 0, 0, 0
    start = at
    if stands(data, n, at, quote):
        at += quote.size
        start = at
        while at < n:
            if stands(data, n, at, escape):
                special = QUOTED
                at += escape.size
            elif stands(data, n, at, quote):
                if not stands(data, n, at + quote.size, quote):
                    break
                special = QUOTED
                at += 2 * quote.size
                continue
            if at < n:
                size = line_end(data, n, at)
                lines += size > 0
                at += size if size else 1
        stop = at if at < n else n
        if at >= n:
            at, wrong = n, UNCLOSED
        else:
            at += quote.size
            while at < n and data[at] == SPACE and not stands(data, n, at, delimiter):
                at += 1
            if at < n and line_end(data, n, at) == 0 and not stands(data, n, at, delimiter):
                wrong = AFTER_QUOTE
                while at < n and line_end(data, n, at) == 0 and not stands(data, n, at, delimiter):
                    at += 1
    else:
        while at < n and line_end(data, n, at) == 0 and not stands(data, n, at, delimiter):
            if stands(data, n, at, escape):
                special = BARE
                at += escape.size
                if at < n and line_end(data, n, at) == 1:  # half of a CR LF is escaped: the other one counts
                    lines += 1
            at += 1
        at = at if at < n else n
        stop = at
    total[START], total[STOP], total[ESCAPED], total[WITHIN], total[WRONG] = start, stop, special, lines, wrong
    return at


@kernel(I64, r(U8), r(U8), r(U8), r(U8), I64, I64, I64, w(I64), w(I64), w(U8), w(I64, 2), w(I64))
def split(data, delimiter, quote, escape, comments, single, final, starts, sizes, escaped, records, total):  # type: ignore[no-untyped-def]
    """The number of whole records at the beginning of `data`, with their places. See `csv_records.py` for what one is.

    `single`: tables of one column, whose empty lines are records. `final`: the last record needs no line end. Of each
    field: `starts`, `sizes` (bytes, without quotes), `escaped` (QUOTED or BARE, if it has escapes or doubled quotes
    inside); none are written when `starts` is empty. Of each record: (first field, first byte, first line from 0, what
    is wrong, the byte behind it). `total`: bytes, fields, lines of all of them, and what `field_end` needs.
    """
    n = data.size
    keep = starts.size > 0
    at, count, fields, line = 0, 0, 0, 0
    while at < n:
        begin, first, first_line, wrong = at, fields, line, 0
        if comments and data[at] == HASH:
            while at < n and line_end(data, n, at) == 0:
                at += 1
            size = line_end(data, n, at) if at < n else 0
            if not final and (size == 0 or (at + 1 == n and data[at] == CR)):
                at = begin
                break
            at += size
            line += 1
            continue
        size = line_end(data, n, at)
        if size and not single:
            if not final and at + 1 == n and data[at] == CR:
                break
            at += size
            line += 1
            continue
        whole = False
        while True:
            at = field_end(data, n, at, delimiter, quote, escape, total)
            line += total[WITHIN]
            wrong = total[WRONG] if total[WRONG] else wrong
            if keep:
                starts[fields], sizes[fields] = total[START], total[STOP] - total[START]
                escaped[fields] = total[ESCAPED]
            fields += 1
            if at >= n:
                whole = final != 0
                break
            if stands(data, n, at, delimiter):
                at += delimiter.size
                continue
            if not final and at + 1 == n and data[at] == CR:
                break
            at += line_end(data, n, at)
            line += 1
            whole = True
            break
        if not whole:
            at, fields, line = begin, first, first_line
            break
        if keep:
            records[count, 0], records[count, 1], records[count, 2], records[count, 3] = first, begin, first_line, wrong
            records[count, 4] = at
        count += 1
    total[0], total[1], total[2] = at, fields, line
    return count


@helper
def unescaped(data, at, stop, quote, escape, quoted, out, to):  # type: ignore[no-untyped-def]
    """Writes a field without its escapes and, if it was `quoted`, doubled quotes at `to`; gives its end."""
    n = data.size
    while at < stop:
        if stands(data, n, at, escape) and at + escape.size < stop:
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
            if quoted and stands(data, n, at, quote) and stands(data, n, at + quote.size, quote):
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
        size = line_end(data, data.size, at)
        lines += size > 0
        at += size if size else 1
    return lines
