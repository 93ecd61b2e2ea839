"""Helpers of the kernels: numbers as decimals, every digit."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.scan.layout import DIGITS, EXPONENT, MANTISSA, MINUS, MOST_DIGITS, SCIENTIFIC
from sqlstream.state.kernel import Instruction, helper

LEAST_EXPONENT = -3  # of a number that stands for itself: 0.0001

word, put_word, high_product = Instruction("word"), Instruction("put_word"), Instruction("high_product")
below = Instruction("below")


@helper
def put_decimal(state, tens, scale, precision, out, at, high_at):  # type: ignore[no-untyped-def]
    """The number of `parts_of_number` as a decimal into out[at] and, if that is not negative, its upper half into out[high_at].
    Digits behind the last one are rounded half up, away from 0. False: it is too large, or so small that others write it with an
    exponent, or has one."""
    v, n = word(state, MANTISSA), word(state, DIGITS)
    more = scale + word(state, EXPONENT)
    if word(state, SCIENTIFIC) != 0 or more < -MOST_DIGITS or (v != 0 and n + word(state, EXPONENT) < LEAST_EXPONENT):
        return False
    high = np.int64(0)
    if more < 0:
        power = word(tens, -more)
        v = (v + (power >> 1)) // power
        if precision <= MOST_DIGITS and v >= word(tens, precision):
            return False
    else:
        if n + more > precision:
            return False
        first = min(more, MOST_DIGITS)
        if more - first > MOST_DIGITS:
            return False
        high = high_product(v, word(tens, first))
        v *= word(tens, first)
        if more > first:
            power = word(tens, more - first)
            high = high * power + high_product(v, power)
            v *= power
    if word(state, MINUS) != 0:
        v = -v
        high = ~high + (v == 0)
    put_word(out, at, v)
    if high_at >= 0:
        put_word(out, high_at, high)
    return True
