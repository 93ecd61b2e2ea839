"""The compiled loop of `text_rows.py`: rows of columns to the bytes of JSON lines or CSV records."""

from __future__ import annotations

import numpy as np

from sqlstream.state.kernel import I64, U8, B, helper, kernel, r, w
from sqlstream.state.words import copy, load64, store64

# What a column has (`columns[i, KIND]`), and where the rest of it stands.
TEXT, STRING, INTEGER, DECIMAL, BOOLEAN, DATE, TIMESTAMP = range(7)
KIND, PLACE, VALID, KEY, KEY_END, ARGUMENT, ENCLOSED, ZONE = range(8)
WIDTH = 8
# The style (`style[i]`): places in `literals`, then characters, of which 0 is none.
BEGIN, BEGIN_END, BETWEEN, BETWEEN_END, END, END_END, NULL, NULL_END, LEAVES_NULL, IS_JSON, DELIMITER, QUOTE, ESCAPE = (
    range(13)
)
DELIMITERS, QUOTES, ESCAPES = range(13, 16)  # eight of each
STYLE = 16
DAY = 86_400_000_000  # microseconds
LONGEST = 48  # bytes of a value that is no text
LONGEST_ESCAPE = 6  # bytes that one of a text becomes

_ONES, _HIGH = 0x0101010101010101, 0x8080808080808080
_LEAST, _QUOTES, _BACKSLASHES = 0x2020202020202020, 0x2222222222222222, 0x5C5C5C5C5C5C5C5C
_LFS, _CRS, _HASHES, _MARKS = 0x0A0A0A0A0A0A0A0A, 0x0D0D0D0D0D0D0D0D, 0x2323232323232323, 0xEFEFEFEFEFEFEFEF
QUOTATION, BACKSLASH, MINUS, POINT, COLON, ZERO, SPACE, HASH, LF, CR, ZULU, MARK = (
    34,
    92,
    45,
    46,
    58,
    48,
    32,
    35,
    10,
    13,
    90,
    0xEF,
)


@helper
def put_two(out, at, value):  # type: ignore[no-untyped-def]
    """Two digits."""
    tens = (value * 103) >> 10  # value // 10 below 100
    out[at] = ZERO + tens
    out[at + 1] = ZERO + value - tens * 10
    return at + 2


@helper
def put_digits(out, at, value, least):  # type: ignore[no-untyped-def]
    """The digits of an unsigned value, at least so many."""
    size, bound = 1, np.uint64(10)
    while value >= bound:
        size += 1
        if size == 20:
            break
        bound *= np.uint64(10)
    if size < least:
        size = least
    k = at + size
    while k > at + 1:
        hundreds = value // np.uint64(100)
        two = np.int64(value - hundreds * np.uint64(100))
        value = hundreds
        tens = (two * 103) >> 10
        k -= 2
        out[k] = ZERO + tens
        out[k + 1] = ZERO + two - tens * 10
    if k > at:
        out[at] = ZERO + np.int64(value)
    return at + size


@helper
def put_decimal(out, at, value, scale):  # type: ignore[no-untyped-def]
    """An integer, of which the last `scale` digits stand behind a point."""
    magnitude = np.uint64(value)
    if value < 0:
        out[at] = MINUS
        at += 1
        magnitude = ~magnitude + np.uint64(1)
    end = put_digits(out, at, magnitude, scale + 1)
    if scale == 0:
        return end
    for k in range(end, end - scale, -1):
        out[k] = out[k - 1]
    out[end - scale] = POINT
    return end + 1


@helper
def put_date(out, at, days):  # type: ignore[no-untyped-def]
    """yyyy-MM-dd, of years from 1 to 9999. Howard Hinnant, chrono-Compatible Low-Level Date Algorithms."""
    z = days + 719468
    era = z // 146097
    of_era = z - era * 146097
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    at = put_two(out, put_two(out, at, year // 100), year % 100)
    out[at] = MINUS
    at = put_two(out, at + 1, month)
    out[at] = MINUS
    return put_two(out, at + 1, day)


@helper
def put_time(out, at, value):  # type: ignore[no-untyped-def]
    """Microseconds of a day as HH:mm:ss, with as many digits of the fraction as there are."""
    micros = np.uint64(value)
    seconds = micros // np.uint64(1_000_000)
    fraction = micros - seconds * np.uint64(1_000_000)
    minutes = seconds // np.uint64(60)
    hours = minutes // np.uint64(60)
    at = put_two(out, at, np.int64(hours))
    out[at] = COLON
    at = put_two(out, at + 1, np.int64(minutes - hours * np.uint64(60)))
    out[at] = COLON
    at = put_two(out, at + 1, np.int64(seconds - minutes * np.uint64(60)))
    if fraction:
        out[at] = POINT
        at = put_digits(out, at + 1, fraction, 6)
        while out[at - 1] == ZERO:
            at -= 1
    return at


@helper
def put_escaped(data, begin, end, out, at):  # type: ignore[no-untyped-def]
    """The inside of a JSON string."""
    k = begin
    while k < end:
        if k + 8 <= end:
            x = load64(data, k)
            quote, backslash = x ^ np.uint64(_QUOTES), x ^ np.uint64(_BACKSLASHES)
            special = (
                ((x - np.uint64(_LEAST)) & ~x)
                | ((quote - np.uint64(_ONES)) & ~quote)
                | ((backslash - np.uint64(_ONES)) & ~backslash)
            ) & np.uint64(_HIGH)
            if special == np.uint64(0):
                store64(out, at, x)
                k += 8
                at += 8
                continue
        stop = k + 8 if k + 8 < end else end
        while k < stop:
            c = np.int64(data[k])
            k += 1
            if c >= SPACE and c != QUOTATION and c != BACKSLASH:
                out[at] = c
                at += 1
                continue
            out[at] = BACKSLASH
            short = np.int64(0)
            if c == QUOTATION or c == BACKSLASH:  # noqa: SIM109  `in` takes longer to compile
                short = c
            elif c == 8:
                short = np.int64(98)
            elif c == 9:
                short = np.int64(116)
            elif c == 10:
                short = np.int64(110)
            elif c == 12:
                short = np.int64(102)
            elif c == 13:
                short = np.int64(114)
            if short:
                out[at + 1] = short
                at += 2
            else:
                out[at + 1] = 117
                out[at + 2] = ZERO
                out[at + 3] = ZERO
                out[at + 4] = ZERO + (c >> 4)
                out[at + 5] = ZERO + (c & 15) if (c & 15) < 10 else 55 + (c & 15)
                at += 6
    return at


@helper
def is_special(data, begin, end, style):  # type: ignore[no-untyped-def]
    """Whether something in a field of CSV would be taken for something else."""
    for k in range(begin, end):
        c = np.int64(data[k])
        if c == style[DELIMITER] or c == style[QUOTE] or c == LF or c == CR or c == HASH:  # noqa: SIM109
            return True
        if c == style[ESCAPE] and c != 0:
            return True
        if c == MARK and k + 2 < end and data[k + 1] == 0xBB and data[k + 2] == 0xBF:
            return True
    return False


@helper
def has(x, same):  # type: ignore[no-untyped-def]
    """The highest bit is set of bytes of x that are those of `same` (and perhaps of some above one that is)."""
    y = x ^ np.uint64(same)
    return (y - np.uint64(_ONES)) & ~y


@helper
def put_enclosed(data, begin, end, out, at, style):  # type: ignore[no-untyped-def]
    """A field of CSV: in quotes, where something in it would be taken for something else."""
    quote, escape = style[QUOTE], style[ESCAPE]
    by_word, k, to = np.uint64(0), begin, at
    while k + 8 <= end:
        x = load64(data, k)
        store64(out, to, x)
        by_word |= has(x, style[DELIMITERS]) | has(x, style[QUOTES]) | has(x, style[ESCAPES])
        by_word |= has(x, _LFS) | has(x, _CRS) | has(x, _HASHES) | has(x, _MARKS)
        k += 8
        to += 8
    needs = by_word & np.uint64(_HIGH) != np.uint64(0)
    while k < end:
        c = np.int64(data[k])
        out[to] = c
        needs |= c == style[DELIMITER]
        needs |= c == quote
        needs |= c == LF
        needs |= c == CR
        needs |= c == HASH
        needs |= c == MARK
        needs |= c == escape and escape != 0
        k += 1
        to += 1
    if not needs or not is_special(data, begin, end, style):
        return to
    out[at] = quote
    at += 1
    for k in range(begin, end):
        c = np.int64(data[k])
        if escape and (c == escape or c == quote):  # noqa: SIM109
            out[at] = escape
            at += 1
        elif c == quote:
            out[at] = quote
            at += 1
        out[at] = c
        at += 1
    out[at] = quote
    return at + 1


@kernel(I64, I64, r(I64, 2), r(I64, 2), r(B, 2), r(U8), r(I64, 2), r(U8), r(I64), I64, w(U8), w(I64))
def put_rows(row, columns, words, valid, data, offsets, literals, style, most, out, filled):  # type: ignore[no-untyped-def]
    """Rows from `row` on as long as there is room in `out`; the first that is not written. `filled[0]`: bytes written.

    columns: (KIND, …) of each. words, offsets: values of the columns that are numbers, and that are text (places in `data`), by
    their PLACE; valid: by VALID, -1: nothing of it is NULL. `most`: bytes of a row without its texts.
    """
    rows, at = filled[1], np.int64(0)
    day, day_at = np.int64(-DAY), np.int64(0)  # whose date stands where
    while row < rows:
        size = most
        for k in range(offsets.shape[0]):
            size += (offsets[k, row + 1] - offsets[k, row]) * LONGEST_ESCAPE
        if at + size > out.size:
            break
        copy(literals, style[BEGIN], out, at, style[BEGIN_END] - style[BEGIN])
        at += style[BEGIN_END] - style[BEGIN]
        first = True
        for k in range(columns.shape[0]):
            null = columns[k, VALID] >= 0 and not valid[columns[k, VALID], row]
            if null and style[LEAVES_NULL]:
                continue
            if not first:
                copy(literals, style[BETWEEN], out, at, style[BETWEEN_END] - style[BETWEEN])
                at += style[BETWEEN_END] - style[BETWEEN]
            first = False
            key = columns[k, KEY_END] - columns[k, KEY]
            copy(literals, columns[k, KEY], out, at, key)
            at += key
            if null:
                copy(literals, style[NULL], out, at, style[NULL_END] - style[NULL])
                at += style[NULL_END] - style[NULL]
                continue
            kind, place = columns[k, KIND], columns[k, PLACE]
            enclosed = columns[k, ENCLOSED]
            if enclosed:
                out[at] = enclosed
                at += 1
            if kind == TEXT or kind == STRING:  # noqa: SIM109
                begin, end = offsets[place, row], offsets[place, row + 1]
                if kind == TEXT:
                    copy(data, begin, out, at, end - begin)
                    at += end - begin
                elif style[IS_JSON]:
                    at = put_escaped(data, begin, end, out, at)
                else:
                    at = put_enclosed(data, begin, end, out, at, style)
            elif kind == INTEGER:
                at = put_decimal(out, at, words[place, row], 0)
            elif kind == DECIMAL:
                at = put_decimal(out, at, words[place, row], columns[k, ARGUMENT])
            elif kind == BOOLEAN:
                if words[place, row]:
                    copy(literals, 0, out, at, 4)
                    at += 4
                else:
                    copy(literals, 4, out, at, 5)
                    at += 5
            elif kind == DATE:
                at = put_date(out, at, words[place, row])
            else:
                days = words[place, row] // DAY
                if days == day:  # as in the row before, mostly
                    copy(out, day_at, out, at, 10)
                else:
                    put_date(out, at, days)
                day, day_at = days, at
                out[at + 10] = columns[k, ARGUMENT]
                at = put_time(out, at + 11, words[place, row] - days * DAY)
                if columns[k, ZONE]:
                    out[at] = ZULU
                    at += 1
            if enclosed:
                out[at] = enclosed
                at += 1
        copy(literals, style[END], out, at, style[END_END] - style[END])
        at += style[END_END] - style[END]
        row += 1
    filled[0] = at
    return row
