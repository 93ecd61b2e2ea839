"""The words that Python and the kernels share. Vectors are those of Avro (`formats/avro/layout.py`), with four words more."""

from __future__ import annotations

from sqlstream.formats.avro import layout as avro

# A vector, behind the words of Avro's: whether the value at hand is there, and of a text where its bytes begin and how many there are.
VECTOR_WORDS = avro.VECTOR_WORDS + 4
SEEN, START, LENGTH = avro.VECTOR_WORDS, avro.VECTOR_WORDS + 1, avro.VECTOR_WORDS + 2

# A field that is wanted: its number, what is read, its vector, and for messages the node of their fields. LEVEL: of repeated messages,
# what is finished behind each; -1: it is not repeated. REPEATED: 1: each value is an item of a list.
FIELD = 6
NUMBER, ACTION, VECTOR, NODE, LEVEL, REPEATED = range(6)
VARINT, VARINT32, ZIGZAG, BOOLEAN, FIXED4, FIXED8, BYTES, MESSAGE = range(8)
WIRE = (0, 0, 0, 0, 5, 1, 2, 2)  # types on the wire, by what is read

# What is finished at the end of a row, or of an item that is a message: a vector, what it is, and what it has where the field was not
# there: whether that is a value, and which (a number, or a text of `literals`: where, how many bytes). Of lists CHILD is the vector of its items.
FINISH = 6
F_VECTOR, F_KIND, F_VALID, F_VALUE, F_SIZE, F_CHILD = range(6)
NUMBERS, TEXTS, LISTS, MESSAGES = range(4)

FRAME = 3  # words of an open message: where it ends, its node, and its level (-1: it is no item)
DEPTH = 128  # of these
GROUPS = 100  # within one another, that are passed over

CUT, LONG_NUMBER, TAG, DEEP = 1, 2, 3, 4
REASONS = {
    CUT: "it ends before its values do",
    LONG_NUMBER: "a number has more than ten bytes",
    TAG: "it has a field that is none: its number or its type",
    DEEP: "it is nested too deeply",
}
