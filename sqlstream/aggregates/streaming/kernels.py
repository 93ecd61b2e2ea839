"""The compiled loops of aggregation: accumulators by slot, 128-bit integers, double-doubles.

Signs are +1 or -1 a row, or empty when every row is an insert. 128-bit integers are pairs (low, high) of
int64 words, two's complement, as in Arrow's decimal128. A kernel that returns a bool says True when 128 (or
64) bits were not enough.
"""

from __future__ import annotations

import numpy as np

from sqlstream.state.kernel import F64, I64, VOID, B, helper, kernel, r, w
from sqlstream.state.words import least, most


@kernel(VOID, w(I64), r(I64), r(I64))
def count_add(data, slots, signs):  # type: ignore[no-untyped-def]
    """data[slot] += sign for each row; += 1 without signs."""
    if len(signs):
        for i in range(len(slots)):
            data[slots[i]] += signs[i]
    else:
        for i in range(len(slots)):
            data[slots[i]] += 1


@kernel(VOID, w(I64), r(I64), r(I64), r(I64))
def sum_add(data, slots, values, signs):  # type: ignore[no-untyped-def]
    """data[slot] += value * sign for each row, in 64 bits."""
    if len(signs):
        for i in range(len(slots)):
            data[slots[i]] += values[i] * signs[i]
    else:
        for i in range(len(slots)):
            data[slots[i]] += values[i]


@helper
def add_to(data, s, low, high):  # type: ignore[no-untyped-def]
    """data[s] += (low, high); True on overflow."""
    before = data[s, 0]
    total = np.int64(np.uint64(before) + np.uint64(low))
    carry = np.int64(1) if np.uint64(total) < np.uint64(before) else np.int64(0)
    old = data[s, 1]
    new = old + high + carry
    data[s, 0] = total
    data[s, 1] = new
    return ((old ^ new) & (high ^ new)) < 0


@helper
def negated(low, high):  # type: ignore[no-untyped-def]
    """-(low, high)."""
    low = np.int64(~low + 1)
    return low, np.int64(~high + (1 if low == 0 else 0))


@kernel(B, w(I64, 2), r(I64), r(I64), r(I64))
def wide_add(data, slots, values, signs):  # type: ignore[no-untyped-def]
    """128-bit sums of 64-bit values."""
    over = False
    for i in range(len(slots)):
        low, high = values[i], values[i] >> 63
        if len(signs) and signs[i] < 0:
            low, high = negated(low, high)
        over |= add_to(data, slots[i], low, high)
    return over


@kernel(B, w(I64, 2), r(I64), r(I64, 2), r(I64))
def pair_add(data, slots, values, signs):  # type: ignore[no-untyped-def]
    """128-bit sums of 128-bit values."""
    over = False
    for i in range(len(slots)):
        low, high = values[i, 0], values[i, 1]
        if len(signs) and signs[i] < 0:
            low, high = negated(low, high)
        over |= add_to(data, slots[i], low, high)
    return over


@kernel(VOID, w(F64), w(F64), r(I64), r(F64), r(I64))
def double_add(high, low, slots, values, signs):  # type: ignore[no-untyped-def]
    """Sums of doubles as double-doubles (Knuth's two-sum; the errors are summed in `low`)."""
    for i in range(len(slots)):
        s = slots[i]
        x = values[i]
        if len(signs) and signs[i] < 0:
            x = -x
        a = high[s]
        total = a + x
        b = total - a
        low[s] += (a - (total - b)) + (x - b)
        high[s] = total


@kernel(VOID, w(I64), w(B), r(I64), r(I64), B)
def extreme_add(data, valid, slots, values, greatest):  # type: ignore[no-untyped-def]
    """Least or greatest value of each slot."""
    for i in range(len(slots)):
        s = slots[i]
        if not valid[s]:
            valid[s] = True
            data[s] = values[i]
        elif greatest:
            data[s] = most(data[s], values[i])
        else:
            data[s] = least(data[s], values[i])


@kernel(VOID, r(I64), r(I64), B, w(I64))
def best_rows(local, ranks, greatest, best):  # type: ignore[no-untyped-def]
    """The row of each group with the least or greatest rank; `best` comes as -1. Of ties the first row."""
    for i in range(len(local)):
        g = local[i]
        b = best[g]
        if b < 0 or (ranks[i] > ranks[b] if greatest else ranks[i] < ranks[b]):
            best[g] = i


@kernel(B, r(I64, 2), r(B), I64, I64, w(I64))
def narrow_pairs(pairs, given, least_, most_, out):  # type: ignore[no-untyped-def]
    """128-bit values as 64 bits, 0 where not `given`; True when one is not within least_..most_."""
    over = False
    for i in range(len(out)):
        low, high = pairs[i, 0], pairs[i, 1]
        out[i] = low if given[i] else 0
        over |= given[i] and (high != low >> 63 or low < least_ or low > most_)
    return over


@helper
def divided(low, high, n):  # type: ignore[no-untyped-def]
    """(low, high) >= 0 divided by n > 0: quotient (low, high) and remainder."""
    d = np.uint64(n)
    if high == 0 and low >= 0:
        q = np.uint64(low) // d
        return np.int64(q), np.int64(0), np.int64(np.uint64(low) - q * d)
    top = np.uint64(high) // d
    rest = np.uint64(high) - top * d
    bits, q = np.uint64(low), np.uint64(0)
    one = np.uint64(1)
    for k in range(63, -1, -1):
        rest = (rest << one) | ((bits >> np.uint64(k)) & one)
        q = q << one
        if rest >= d:
            rest -= d
            q |= one
    return np.int64(q), np.int64(top), np.int64(rest)


@kernel(B, r(I64, 2), r(I64), I64, w(I64, 2))
def pair_divide(sums, counts, digits, out):  # type: ignore[no-untyped-def]
    """sums / counts. digits < 0: truncated. Else times 10**digits, rounded half up. Count 0 gives 0."""
    over = False
    for i in range(len(counts)):
        n = counts[i]
        low, high = sums[i, 0], sums[i, 1]
        out[i, 0] = out[i, 1] = 0
        if n <= 0:
            continue
        minus = high < 0
        if minus:
            low, high = negated(low, high)
        low, high, rest = divided(low, high, n)
        if digits >= 0:
            for _ in range(digits):
                # (low, high) = (low, high) * 10 + next digit of rest / n
                l0, h0 = low, high
                if h0 > 922337203685477579:
                    over = True
                    break
                carry = (np.uint64(l0) >> np.uint64(63)) + (np.uint64(l0) >> np.uint64(61))
                eight, two = l0 << 3, l0 << 1
                low = np.int64(np.uint64(eight) + np.uint64(two))
                if np.uint64(low) < np.uint64(eight):
                    carry += np.uint64(1)
                high = (h0 << 3) + (h0 << 1) + np.int64(carry)
                rest = rest * 10
                digit = rest // n
                rest -= digit * n
                before = np.uint64(low)
                low = np.int64(before + np.uint64(digit))
                if np.uint64(low) < before:
                    high += 1
            if rest >= n - rest:
                low += 1
                if low == 0:
                    high += 1
        if minus:
            low, high = negated(low, high)
        out[i, 0], out[i, 1] = low, high
    return over
