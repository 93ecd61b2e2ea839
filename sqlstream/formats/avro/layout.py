"""The words that Python and the kernels share: instructions, vectors, and the state of a run."""

from __future__ import annotations

# An instruction: what is done, and its arguments.
WIDTH = 8
OP, VECTOR, FIRST, SECOND, LEAST, GREATEST, REASON = range(7)
(
    DONE, NULL, THERE, BOOLEAN, LONG, FIXED4, FIXED8, TEXT, FIXED, DECIMAL, UNION, JUMP, LIST, NEXT, SKIP, SKIP_LONG, SKIP_TEXT, FAIL,
    CALL, RETURN, NULL_LIST,
) = range(21)  # fmt: skip

# A vector: the values of a column, or of what is in its lists. BASE: where it begins in `words` and `valid`, ROOM: how many values
# it has room for, COUNT: how many there are, SAVED: were when the message began. Those of text: likewise, of bytes.
VECTOR_WORDS = 8
BASE, ROOM, COUNT, SAVED, TEXT_BASE, TEXT_ROOM, TEXT_COUNT, TEXT_SAVED = range(8)

# Of a run. AT, END: where in the bytes it is, and where the message ends; WRONG: why it is malformed, 0: it is not; FULL: one more
# than the vector that has no room; below zero, that has none for text; DENSE: whether messages that lie together leave nothing over;
# ITEMS: how many the message's lists may have yet.
STATE = 8
AT, END, WRONG, FULL, OUT, ITEMS, DENSE = range(7)

# What is wrong whatever the schema says. Those of a schema begin at OWN.
CUT, LONG_NUMBER, BRANCH, LONG_LIST, DEEP, WIDE_DECIMAL, LEFT, OWN = 1, 2, 3, 4, 5, 6, 7, 8
REASONS = {
    CUT: "it ends before its values do",
    LONG_NUMBER: "a number has more than ten bytes",
    BRANCH: "a union has no such branch",
    LONG_LIST: "a list is said to be longer than the message",
    DEEP: "it is nested too deeply",
    WIDE_DECIMAL: "a decimal has more than 16 bytes",
    LEFT: "the block has more bytes than its records",
}

FRAME = 4  # words of what is open: a list (where its items begin, how many are left, what comes behind, its vector), or a call
DEPTH = 1024  # of these
FREE_ITEMS = 65_536  # of all lists of a message, that may have no bytes
