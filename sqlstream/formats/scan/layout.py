"""The words that Python and the kernels share: those of a value that is wanted, and of a scan's state. A format adds its own."""

from __future__ import annotations

# Of a value, among those of what it stands in. Words 0 to 2, 4 to 7, 10, 11 and from 18 on are the format's own.
NODE = 24
ACTION, SLOT, STRING, ARGUMENT, ARGUMENT_1, ARGUMENT_2, MEMO, MEMO_1, MEMO_2 = 3, 8, 9, 12, 13, 14, 15, 16, 17
# What the arguments are, by action.
GREATEST = SCALE = STEP = ARGUMENT
PRECISION = SEPARATOR = ARGUMENT_1
ZONED = WIDE = ARGUMENT_2

# What becomes of a value.
SKIP, OBJECT, INTEGER, TIMESTAMP, TEXT, DOUBLE, FLOAT, DECIMAL, BOOLEAN, DATE, TIME, RAW = range(12)

# Of a scan's state. ROW: rows so far; OUT, MANTISSA, …: what a helper gives beside its result. Those from OWN on are the format's.
STATE = 32
ROW, UNUSUAL, LINES, ROOM, OUT, SLOTS, STRINGS, MANTISSA, EXPONENT, DIGITS, MINUS, SCIENTIFIC, OWN = range(13)

# Of a record that is unusual: its row, its first byte, the byte behind it, its line among those of the scan.
PLACES = 4
FEW, SHARE = 32, 4  # of which a block may have few, and one in so many more

PADDING = 128  # bytes that may be read, and one that is written, behind a block
MOST_DIGITS = 18  # always fits 64 bits
