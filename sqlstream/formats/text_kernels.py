"""Compiled loops from text to numbers and times, for values in their usual form; `text_columns.py` calls them.

Each returns the first row whose text is in another form, or the number of rows. What is another form is no error yet:
the checked SQL expressions of `conversion.py` decide on it.
"""

from __future__ import annotations

import numpy as np

from sqlstream.state.kernel import I32, I64, U8, B, helper, kernel, r, w

MOST_DIGITS = 18  # always fits 64 bits


@helper
def digits(data, at, n):  # type: ignore[no-untyped-def]
    """The number that n digits are, -1 when one is none."""
    value = np.int64(0)
    for k in range(at, at + n):
        d = np.int64(data[k]) - 48
        if d < 0 or d > 9:
            return np.int64(-1)
        value = value * 10 + d
    return value


@kernel(I64, r(U8), r(I32), r(B), I64, I64, w(I64))
def parse_integers(data, offsets, valid, least, greatest, out):  # type: ignore[no-untyped-def]
    """Digits, perhaps behind a minus, between `least` and `greatest`. NULL gives 0."""
    n = out.size
    for i in range(n):
        out[i] = 0
        if valid.size and not valid[i]:
            continue
        at, size = np.int64(offsets[i]), np.int64(offsets[i + 1] - offsets[i])
        minus = size > 0 and data[at] == 45
        if minus:
            at += 1
            size -= 1
        if size < 1 or size > MOST_DIGITS:
            return i
        value = digits(data, at, size)
        if value < 0:
            return i
        value = -value if minus else value
        if value < least or value > greatest:
            return i
        out[i] = value
    return n


@kernel(I64, r(U8), r(I32), r(B), I64, I64, I64, w(I64))
def parse_timestamps(data, offsets, valid, separator, zone, step, out):  # type: ignore[no-untyped-def]
    """yyyy-MM-dd, `separator`, HH:mm:ss and up to 6 digits of a fraction (then Z if `zone`), as µs floored to `step`.

    Days from the civil calendar: Howard Hinnant, chrono-Compatible Low-Level Date Algorithms.
    """
    n = out.size
    for i in range(n):
        out[i] = 0
        if valid.size and not valid[i]:
            continue
        at, size = np.int64(offsets[i]), np.int64(offsets[i + 1] - offsets[i]) - zone
        if size < 19 or size == 20 or size > 26 or (zone and data[at + size] != 90):
            return i
        if data[at + 4] != 45 or data[at + 7] != 45 or data[at + 10] != separator:
            return i
        if data[at + 13] != 58 or data[at + 16] != 58:
            return i
        year, month, day = digits(data, at, 4), digits(data, at + 5, 2), digits(data, at + 8, 2)
        hour, minute, second = digits(data, at + 11, 2), digits(data, at + 14, 2), digits(data, at + 17, 2)
        if year < 1 or month < 1 or month > 12 or day < 1 or hour < 0 or hour > 23:
            return i
        if minute < 0 or minute > 59 or second < 0 or second > 59:
            return i
        last = 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31
        if month == 2:
            last = 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
        if day > last:
            return i
        fraction = np.int64(0)
        if size > 19:
            if data[at + 19] != 46:
                return i
            fraction = digits(data, at + 20, size - 20)
            if fraction < 0:
                return i
            for _ in range(26 - size):
                fraction *= 10
            fraction -= fraction % step
        y = year - 1 if month <= 2 else year
        era = y // 400
        of_era = y - era * 400
        of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
        days = era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
        out[i] = ((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + fraction
    return n
