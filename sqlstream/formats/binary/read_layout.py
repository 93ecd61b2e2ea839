"""The words that Python and the kernels that read share: vectors, and the state of a run."""

from __future__ import annotations

# A vector: the values of a column, or of what is in its lists. BASE: where it begins in `words` and `valid`, ROOM: how many values
# it has room for, COUNT: how many there are, SAVED: were when the message began. Those of text: likewise, of bytes. Where fields come in any
# order SEEN: whether the value at hand is there, START and LENGTH: where the bytes of a text begin, and how many there are.
VECTOR_WORDS = 12
BASE, ROOM, COUNT, SAVED, TEXT_BASE, TEXT_ROOM, TEXT_COUNT, TEXT_SAVED, SEEN, START, LENGTH = range(11)

# Of a run. AT, END: where in the bytes it is, and where the message ends; WRONG: why it is malformed, 0: it is not; FULL: one more
# than the vector that has no room; below zero, that has none for text. A format's own words follow.
STATE = 8
AT, END, WRONG, FULL, OWN_STATE = range(5)

# What is wrong whatever the format. Its own reasons follow.
CUT, LONG_NUMBER, OWN_REASON = 1, 2, 3
REASONS = {CUT: "it ends before its values do", LONG_NUMBER: "a number has more than ten bytes"}
