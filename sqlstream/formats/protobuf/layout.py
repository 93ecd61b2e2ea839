"""The words that Python and the kernels share: fields. Vectors and the state of a run are those of `formats/binary`."""

from __future__ import annotations

from sqlstream.formats.binary import read_layout as common

# A field that is wanted: its number, what is read, its vector, and for messages the node of their fields. LEVEL: of repeated messages,
# what is finished behind each; -1: it is not repeated. REPEATED: 1: each value is an item of a list.
FIELD = 6
NUMBER, ACTION, VECTOR, NODE, LEVEL, REPEATED = range(6)
VARINT, VARINT32, ZIGZAG, BOOLEAN, FIXED4, FIXED8, BYTES, TEXT, MESSAGE = range(9)  # TEXT: bytes that have to be UTF-8

# What is finished at the end of a row, or of an item that is a message: a vector, what it is, and what it has where the field was not
# there: whether that is a value, and which (a number, or a text of `literals`: where, how many bytes). Of lists CHILD is the vector of its items.
FINISH = 6
F_VECTOR, F_KIND, F_VALID, F_VALUE, F_SIZE, F_CHILD = range(6)
NUMBERS, TEXTS, LISTS, MESSAGES = range(4)

FRAME = 3  # words of an open message: where it ends, its node, and its level (-1: it is no item)
DEPTH = 128  # of these
GROUPS = 100  # within one another, that are passed over

TAG, DEEP, NO_TEXT = range(common.OWN_REASON, common.OWN_REASON + 3)
REASONS = {
    **common.REASONS,
    TAG: "it has a field that is none: its number or its type",
    DEEP: "it is nested too deeply",
    NO_TEXT: "a string is not UTF-8",
}
