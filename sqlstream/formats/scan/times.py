"""Helpers of the kernels: dates, times of day and timestamps in their usual forms."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.scan.layout import MEMO, MEMO_1, MEMO_2, SEPARATOR, STEP, ZONED
from sqlstream.formats.scan.numbers import ZEROS, digit_count, number_of, two_digits
from sqlstream.state.kernel import Instruction, apart, helper, inlined

byte, word, put_word = Instruction("byte"), Instruction("word"), Instruction("put_word")
below = Instruction("below")

COLON, POINT, Z, PLUS, HYPHEN = 58, 46, 90, 43, 45
SECOND, MINUTE = 1_000_000, 60_000_000  # in µs
SIXES = 0x0606060606060606
# Bytes of "2015-07-" and "15 00:00" that are digits have 0 to 9 left, and others nothing, exclusive or these.
DATE_FORM, TIME_FORM = 0x2D30302D30303030, 0x30303A3030003030
DATE_REST, TIME_REST = -0x000F0F000F0F0F10, -0x0F0F000F0F000F10  # bits that must not be left
DATE_TENS, TIME_TENS = 0x0010100010101010, 0x1010001010001010  # and these when 6 is added


@helper
def days_of(year, month, day):  # type: ignore[no-untyped-def]
    """Days since 1970; -1_000_000: there is no such day. Hinnant, chrono-Compatible Low-Level Date Algorithms."""
    last = 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31
    if month == 2:
        last = 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    if year < 1 or month < 1 or month > 12 or day < 1 or day > last:
        return -1_000_000
    y = year - 1 if month <= 2 else year
    era = y // 400
    of_era = y - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


@apart
def minute_of(date, time, separator):  # type: ignore[no-untyped-def]
    """The µs of the minute that 16 bytes, yyyy-MM-ddTHH:mm, are; -1 (which no minute is)."""
    x, y = date ^ DATE_FORM, time ^ (TIME_FORM | (separator << 16))
    if (x & DATE_REST) | (y & TIME_REST) | ((x + SIXES) & DATE_TENS) | ((y + SIXES) & TIME_TENS):
        return -1
    hour, minute = two_digits(y, 24), two_digits(y, 48)
    days = days_of(two_digits(x, 0) * 100 + two_digits(x, 16), two_digits(x, 40), two_digits(y, 0))
    if days == -1_000_000 or hour > 23 or minute > 59:
        return -1
    return ((days * 24 + hour) * 60 + minute) * MINUTE


@helper
def seconds_of(x):  # type: ignore[no-untyped-def]
    """Of 3 bytes, :ss, the lowest of x; -1."""
    first, second = ((x >> 8) & 255) - 48, ((x >> 16) & 255) - 48
    if (x & 255) != COLON or below(5, first) or below(9, second):
        return -1
    return first * 10 + second


@helper
def fraction_size(data, p):  # type: ignore[no-untyped-def]
    """How many bytes a point and 1 to 9 digits at p have; 0: there is no point; -1."""
    if byte(data, p) != POINT:
        return 0
    n = digit_count(word(data, p + 1) ^ ZEROS)
    if n == 8:
        n += byte(data, p + 9) >= 48 and byte(data, p + 9) <= 57
        if byte(data, p + 10) >= 48 and byte(data, p + 10) <= 57 and n == 9:
            return -1
    return n + 1 if n > 0 else -1


@helper
def fraction_of(data, p, size, step):  # type: ignore[no-untyped-def]
    """The µs that `fraction_size` bytes at p are, floored to `step`."""
    x, n = word(data, p + 1) ^ ZEROS, min(size - 1, 8)
    if n < 8:
        x &= (1 << (n << 3)) - 1
    us = number_of(x, 8) // 100
    return us if step == 1 else us - us % step


@apart
def offset_of(data, p):  # type: ignore[no-untyped-def]
    """The minutes of a zone, +hh:mm or -hh:mm up to 14 hours, at p; -10_000."""
    sign, x = byte(data, p), word(data, p + 1) ^ 0x30303A3030
    if (sign != PLUS and sign != HYPHEN) or (x & 0xF0F0FFF0F0) != 0 or ((x + SIXES) & 0x1010001010) != 0:
        return -10_000
    hours, minutes = two_digits(x, 0), two_digits(x, 24)
    if hours > 14 or minutes > 59:
        return -10_000
    return hours * -60 - minutes if sign == HYPHEN else hours * 60 + minutes


@inlined
def timestamp(data, p, nodes, node, out, at):  # type: ignore[no-untyped-def]
    """yyyy-MM-dd HH:mm:ss, perhaps with a fraction and a zone, at p as µs into out[at]; behind it,
    or -1. The minute is remembered: the times of lines after one another have the same first 16 bytes."""
    date, time = word(data, p), word(data, p + 8)
    if date == word(nodes, node + MEMO) and time == word(nodes, node + MEMO_1):
        us = word(nodes, node + MEMO_2)
    else:
        us = minute_of(date, time, word(nodes, node + SEPARATOR))
        put_word(nodes, node + MEMO, date)
        put_word(nodes, node + MEMO_1, time)
        put_word(nodes, node + MEMO_2, us)
    if us == -1:
        return -1
    seconds = seconds_of(word(data, p + 16))
    size = fraction_size(data, p + 19)
    if seconds < 0 or size < 0:
        return -1
    us += seconds * SECOND
    p += 19
    if size > 0:
        us += fraction_of(data, p, size, word(nodes, node + STEP))
        p += size
    if word(nodes, node + ZONED) != 0:
        if byte(data, p) == Z:
            p += 1
        else:
            minutes = offset_of(data, p)
            if minutes == -10_000:
                return -1
            us -= minutes * MINUTE
            p += 6
    put_word(out, at, us)
    return p


@apart
def date(data, p, out, at):  # type: ignore[no-untyped-def]
    """yyyy-MM-dd at p as days into out[at]; as `timestamp`."""
    x, y = word(data, p) ^ DATE_FORM, word(data, p + 8) ^ 0x3030
    if (x & DATE_REST) | (y & 0xF0F0) | ((x + SIXES) & DATE_TENS) | ((y + SIXES) & 0x1010):
        return -1
    days = days_of(two_digits(x, 0) * 100 + two_digits(x, 16), two_digits(x, 40), two_digits(y, 0))
    if days == -1_000_000:
        return -1
    put_word(out, at, days)
    return p + 10


@apart
def time_of_day(data, p, step, out, at):  # type: ignore[no-untyped-def]
    """HH:mm:ss, perhaps with a fraction, at p as µs into out[at]; as `timestamp`."""
    x = word(data, p) ^ 0x30303A30303A3030
    if (x & -0x0F0F000F0F000F10) | ((x + SIXES) & 0x1010001010001010):
        return -1
    hour, minute, second = two_digits(x, 0), two_digits(x, 24), two_digits(x, 48)
    size = fraction_size(data, p + 8)
    if hour > 23 or minute > 59 or second > 59 or size < 0:
        return -1
    us = np.int64((hour * 60 + minute) * MINUTE + second * SECOND)
    p += 8
    if size > 0:
        us += fraction_of(data, p, size, step)
        p += size
    put_word(out, at, us)
    return p
