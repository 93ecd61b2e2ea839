"""The words that Python and the kernels share: instructions. Vectors and the state of a run are those of `formats/binary`."""

from __future__ import annotations

from sqlstream.formats.binary import read_layout as common

# An instruction: what is done, and its arguments.
WIDTH = 8
OP, VECTOR, FIRST, SECOND, LEAST, GREATEST, REASON = range(7)
(
    DONE, NULL, THERE, BOOLEAN, LONG, FIXED4, FIXED8, TEXT, FIXED, DECIMAL, UNION, JUMP, LIST, NEXT, SKIP, SKIP_LONG, SKIP_TEXT, FAIL,
    CALL, RETURN, NULL_LIST,
) = range(21)  # fmt: skip

# Of a run, behind what is in common (`formats/binary/read_layout.py`). OUT: what a helper gives beside its result; ITEMS: how many the
# message's lists may have yet; DENSE: whether messages that lie together leave nothing over.
OUT, ITEMS, DENSE = range(common.OWN_STATE, common.OWN_STATE + 3)

# What is wrong whatever the schema says. Those of a schema begin at OWN.
BRANCH, LONG_LIST, DEEP, WIDE_DECIMAL, LEFT, OWN = range(common.OWN_REASON, common.OWN_REASON + 6)
REASONS = {
    **common.REASONS,
    BRANCH: "a union has no such branch",
    LONG_LIST: "a list is said to be longer than the message",
    DEEP: "it is nested too deeply",
    WIDE_DECIMAL: "a decimal has more than 16 bytes",
    LEFT: "the block has more bytes than its records",
}

FRAME = 4  # words of what is open: a list (where its items begin, how many are left, what comes behind, its vector), or a call
DEPTH = 1024  # of these
FREE_ITEMS = 65_536  # of all lists of a message, that may have no bytes
