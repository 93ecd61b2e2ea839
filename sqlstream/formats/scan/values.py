"""A helper of the kernels: a number of another type than the whole ones."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.scan.decimals import put_decimal
from sqlstream.formats.scan.doubles import UNDECIDED, double_bits, rounds_once
from sqlstream.formats.scan.layout import DECIMAL, FLOAT, PRECISION, SCALE, WIDE
from sqlstream.formats.scan.numbers import parts_of_number
from sqlstream.state.kernel import Instruction, helper

word, put_word = Instruction("word"), Instruction("put_word")


@helper
def number(data, p, action, nodes, node, words, at, stride, state, powers, tens):  # type: ignore[no-untyped-def]
    """The number at p as what `action` says (DECIMAL, DOUBLE, FLOAT) into words[at], and words[at + stride] if it is wide; behind
    it, or -1."""
    p = parts_of_number(data, p, tens, state)
    if p < 0:
        return -1
    if action == DECIMAL:
        high_at = at + stride if word(nodes, node + WIDE) else np.int64(-1)
        if not put_decimal(state, tens, word(nodes, node + SCALE), word(nodes, node + PRECISION), words, at, high_at):
            return -1
    else:
        bits = double_bits(state, powers, tens)
        if bits == UNDECIDED or (action == FLOAT and not rounds_once(bits)):
            return -1
        put_word(words, at, bits)
    return p
