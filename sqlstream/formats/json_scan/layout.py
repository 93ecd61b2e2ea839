"""The words that Python and the kernel share.

A *node* is a key of one object. Its token is the text between the value before it and its own (`, "price": `), so that
separator, key, colon and white space are compared at once; `LEAD` bytes of it stand before the key, which the first key of an
object does without. Nodes of an object are chained in the order in which they were met. A node is named by its first word.
"""

from __future__ import annotations

# Of a node. TOKEN, SIZE, LEAD: place and sizes of the token in `keys`; SIZE is 0 until it was met.
NODE = 24
TOKEN, SIZE, LEAD, ACTION, NEXT, FIRST, PARENT, SEEN = range(8)
SLOT, STRING, WEIGHT, NULL_WEIGHT, ARGUMENT, ARGUMENT_1, ARGUMENT_2, MEMO = range(8, 16)
MEMO_1, MEMO_2, CHILDREN, KEY_SIZE, SPELLED = range(16, 21)
# What the arguments are, by action.
GREATEST = SCALE = STEP = ARGUMENT
PRECISION = SEPARATOR = ARGUMENT_1
ZONED = WIDE = ARGUMENT_2

# What becomes of a value. Those up to OBJECT are walked through.
SKIP, OBJECT, INTEGER, TIMESTAMP, TEXT, DOUBLE, FLOAT, DECIMAL, BOOLEAN, DATE, TIME, RAW = range(12)

# Of a scan's state. ROW: rows so far; PLACE, OUT, MANTISSA, …: what a helper gives beside its result.
STATE = 32
ROW, PLACE, NODES, FILLED, UNUSUAL, LINES, ROOM, OUT, SLOTS, STRINGS, REQUIRED = range(11)
NODE_ROOM, KEY_ROOM, MASK, MANTISSA, EXPONENT, DIGITS, MINUS, SCIENTIFIC, UNKNOWN = range(11, 20)

# The node after the last of a chain: its token is never there.
END = 0
ROOT = NODE
# Of a line that is unusual: its row, its first byte, the byte behind it, its number among the lines of the scan.
PLACES = 4

PADDING = 128  # bytes that may be read, and one that is written, behind a block
LONGEST_TOKEN = 63
MOST_DIGITS = 18  # always fits 64 bits
