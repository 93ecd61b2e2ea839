"""The kernel that finds the last record which is whole, where delimiter and quote are one byte and there is nothing else."""

from __future__ import annotations

from sqlstream.formats.scan.characters import NEWLINE, RETURN
from sqlstream.state.kernel import I64, U8, Instruction, helper, kernel, r

byte, equal64 = Instruction("byte"), Instruction("equal64")
trailing_zeros, leading_zeros = Instruction("trailing_zeros"), Instruction("leading_zeros")


@helper
def is_line_end(c):  # type: ignore[no-untyped-def]
    """Whether it ends a line outside of quotes."""
    return c == NEWLINE or c == RETURN


@kernel(I64, r(U8), I64, I64)
def last_end(data, delimiter, quote):  # type: ignore[no-untyped-def]
    """How many leading bytes are whole records when more may follow: those up to the last line end that is not in quotes, where a
    CR at the very end may be half of one. `quote`: -1 for none. As `csv_kernels.split`, many times as fast."""
    n = data.size
    if n > 0 and byte(data, n - 1) == RETURN:
        n -= 1
    if quote < 0:
        while n > 0 and not is_line_end(byte(data, n - 1)):
            n -= 1
        return n
    p, last = 0, 0
    within = False
    while p < n:
        if p + 64 <= n:
            quotes = equal64(data, p, quote)
            if not within:
                ends = equal64(data, p, NEWLINE) | equal64(data, p, RETURN)
                if quotes != 0:
                    ends &= (1 << trailing_zeros(quotes)) - 1
                if ends != 0:
                    last = p + 64 - leading_zeros(ends)
            if quotes == 0:
                p += 64
                continue
            p += trailing_zeros(quotes)
        else:
            c = byte(data, p)
            if c != quote:
                if not within and is_line_end(c):
                    last = p + 1
                p += 1
                continue
        if within:
            if p + 1 < n and byte(data, p + 1) == quote:
                p += 1
            else:
                within = False
        else:  # one within a field is data
            before = byte(data, p - 1) if p > 0 else delimiter
            within = before == delimiter or is_line_end(before)
        p += 1
    return last
