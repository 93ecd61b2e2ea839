"""Helpers of the kernels, and their tables: numbers as doubles and floats, exactly rounded.

Lemire, Number Parsing at a Gigabyte per Second (2021); what it leaves open is not decided here.
"""

from __future__ import annotations

import numpy as np

from sqlstream.formats.scan.layout import EXPONENT, MANTISSA, MINUS
from sqlstream.state.kernel import Instruction, apart, helper

word, leading_zeros, shift_right = Instruction("word"), Instruction("leading_zeros"), Instruction("shift_right")
high_product, below, as_bits = Instruction("high_product"), Instruction("below"), Instruction("as_bits")

LEAST, GREATEST = -342, 308  # exponents of `POWERS`
SURE_FROM, SURE_TO = -300, 288  # those between which all results are normal
UNDECIDED = -1  # (the bits of no number)
EXACT = 1 << 53
FRACTION = (1 << 52) - 1


def powers_of_ten() -> np.ndarray:
    """The 128 highest bits of 10^q for q from LEAST to GREATEST, upper and lower half, as int64: rounded down, and up where q is
    negative."""
    words = []
    for q in range(LEAST, GREATEST + 1):
        five = 5 ** abs(q)
        if q >= 0:
            bits = five << 128 >> five.bit_length()
        else:
            size = five.bit_length()
            bits = 2 ** (size + 127 if q >= -27 else 2 * size + 128) // five + 1
            bits >>= max(bits.bit_length() - 128, 0)
        words += [bits >> 64, bits & (2**64 - 1)]
    return np.array(words, np.uint64).view(np.int64)


POWERS = powers_of_ten()
TENS = np.array([10**k for k in range(19)], np.int64)


@apart
def nearest(v, exponent, powers):  # type: ignore[no-untyped-def]
    """The bits of the double nearest to v * 10^exponent, v > 0; UNDECIDED."""
    if exponent < SURE_FROM or exponent > SURE_TO:
        return UNDECIDED
    zeros = leading_zeros(v)
    v <<= zeros
    at = (exponent - LEAST) * 2
    high, low = high_product(v, word(powers, at)), v * word(powers, at)
    if (high & 0x1FF) == 0x1FF:
        second = high_product(v, word(powers, at + 1))
        low += second
        if below(low, second):
            high += 1
    if low == -1 and (exponent < -27 or exponent > 55):
        return UNDECIDED
    upper = shift_right(high, 63)
    m = shift_right(high, upper + 9)
    power = ((217706 * exponent) >> 16) + 63 + upper - zeros + 1023
    if power <= 0:
        return UNDECIDED
    if below(low, 2) and exponent >= -4 and exponent <= 23 and (m & 3) == 1 and (m << (upper + 9)) == high:
        m &= ~1
    m += m & 1
    m >>= 1
    if m >= EXACT:
        m = EXACT >> 1
        power += 1
    if power >= 2047:
        return UNDECIDED
    return (m & FRACTION) | (power << 52)


@helper
def double_bits(state, powers, tens):  # type: ignore[no-untyped-def]
    """The bits of the double nearest to the number of `parts_of_number`; UNDECIDED, also of -0."""
    v, exponent, minus = word(state, MANTISSA), word(state, EXPONENT), word(state, MINUS)
    if v == 0:
        return UNDECIDED if minus != 0 else np.int64(0)
    if v < EXACT and exponent >= -22 and exponent <= 22:  # both, and 10^22, are doubles: one division rounds once
        power = np.float64(word(tens, min(abs(exponent), 18))) * np.float64(word(tens, max(abs(exponent) - 18, 0)))
        f = np.float64(v)
        return as_bits(f / power if exponent < 0 else f * power) | (minus << 63)
    bits = nearest(v, exponent, powers)
    return bits if bits == UNDECIDED else bits | (minus << 63)


@helper
def rounds_once(bits):  # type: ignore[no-untyped-def]
    """Whether rounding the double to a float gives the float nearest to the number that the double is nearest to: it is not
    half-way between two, and 0 or a normal float."""
    exponent = (bits >> 52) & 2047
    if exponent == 0:
        return (bits & FRACTION) == 0
    return (bits & 0x1FFFFFFF) != 0x10000000 and exponent > 1023 - 126 and exponent < 1023 + 127
