"""Helpers of the kernels: digits, whole numbers, and the parts of others."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.scan.layout import DIGITS, EXPONENT, MANTISSA, MINUS, MOST_DIGITS, SCIENTIFIC
from sqlstream.state.kernel import Instruction, apart, helper, inlined

byte, word, put_word = Instruction("byte"), Instruction("word"), Instruction("put_word")
trailing_zeros, shift_right = Instruction("trailing_zeros"), Instruction("shift_right")

HYPHEN, PLUS, POINT, E, LARGE_E = 45, 43, 46, 101, 69
ZEROS, SIXES, NO_DIGIT = 0x3030303030303030, 0x0606060606060606, -0x0F0F0F0F0F0F0F10


@helper
def digit_count(x):  # type: ignore[no-untyped-def]
    """How many digits 8 bytes begin with. x: the bytes, exclusive or ZEROS."""
    return trailing_zeros((x | (x + SIXES)) & NO_DIGIT) >> 3


@helper
def number_of(x, n):  # type: ignore[no-untyped-def]
    """The number that n (1 to 8) digits are. x: as above."""
    v = x << ((8 - n) << 3)
    v = shift_right((v & 0x0F0F0F0F0F0F0F0F) * 2561, 8)
    v = shift_right((v & 0x00FF00FF00FF00FF) * 6553601, 16)
    return shift_right((v & 0x0000FFFF0000FFFF) * 42949672960001, 32)


@helper
def two_digits(x, shift):  # type: ignore[no-untyped-def]
    """The number that two digits are, the first one `shift` bits up in x."""
    return ((x >> shift) & 15) * 10 + ((x >> (shift + 8)) & 15)


@helper
def digits_end(data, p):  # type: ignore[no-untyped-def]
    """Behind the digits that begin at p."""
    while True:
        n = digit_count(word(data, p) ^ ZEROS)
        p += n
        if n < 8:
            return p


@helper
def exponent_end(data, p):  # type: ignore[no-untyped-def]
    """Behind an exponent of one to three digits, whose E is at p - 1; -1."""
    if byte(data, p) == PLUS or byte(data, p) == HYPHEN:
        p += 1
    end = digits_end(data, p)
    return -1 if end == p or end > p + 3 else end


@inlined
def integer(data, p, greatest, out, at):  # type: ignore[no-untyped-def]
    """The whole number at p, between -`greatest` - 1 and `greatest`, into out[at]; behind it, or -1."""
    minus = np.int64(0)
    if byte(data, p) == HYPHEN:
        minus = np.int64(1)
        p += 1
    x = word(data, p) ^ ZEROS
    n = digit_count(x)
    if n == 0 or ((x & 255) == 0 and n > 1):
        return -1
    v = number_of(x, n)
    p += n
    if n == 8:
        while True:
            d = byte(data, p) - 48
            if d < 0 or d > 9:
                break
            n += 1
            v = v * 10 + d
            if n > 19 or v < 0:  # 19 digits are less than 2^64
                return -1
            p += 1
    v = (v ^ -minus) + minus
    if v > greatest or v < -greatest - 1:
        return -1
    put_word(out, at, v)
    return p


@apart
def parts_of_number(data, p, tens, state):  # type: ignore[no-untyped-def]
    """The number at p as state[MANTISSA] * 10^state[EXPONENT], of state[DIGITS] digits without zeros before them, MOST_DIGITS at
    most, negative if state[MINUS], and whether it has an exponent: state[SCIENTIFIC]. Behind it, or -1."""
    minus = np.int64(0)
    if byte(data, p) == HYPHEN:
        minus = np.int64(1)
        p += 1
    x = word(data, p) ^ ZEROS
    n = digit_count(x)
    if n == 0 or ((x & 255) == 0 and n > 1):
        return -1
    v = number_of(x, n)
    p += n
    if n == 8:
        while True:
            d = byte(data, p) - 48
            if d < 0 or d > 9:
                break
            n += 1
            if n > MOST_DIGITS:
                return -1
            v = v * 10 + d
            p += 1
    if v == 0:
        n = np.int64(0)
    exponent = np.int64(0)
    if byte(data, p) == POINT:
        p += 1
        before = p
        while True:
            x = word(data, p) ^ ZEROS
            t = digit_count(x)
            if t == 0:
                break
            n += t
            if v == 0:
                n -= min(trailing_zeros(x) >> 3, t)
            if n > MOST_DIGITS:
                return -1
            v = v * word(tens, t) + number_of(x, t)
            p += t
            if t < 8:
                break
        exponent = before - p
        if exponent == 0:
            return -1
    scientific = np.int64(byte(data, p) == E or byte(data, p) == LARGE_E)
    if scientific:
        start = p + 1
        p = exponent_end(data, start)
        if p < 0:
            return -1
        given = np.int64(0)
        sign = byte(data, start)
        if sign == PLUS or sign == HYPHEN:
            start += 1
        for k in range(start, p):
            given = given * 10 + byte(data, k) - 48
        exponent += -given if sign == HYPHEN else given
    put_word(state, MANTISSA, v)
    put_word(state, EXPONENT, exponent)
    put_word(state, DIGITS, n)
    put_word(state, MINUS, minus)
    put_word(state, SCIENTIFIC, scientific)
    return p
