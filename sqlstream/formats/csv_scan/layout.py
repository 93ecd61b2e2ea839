"""The words of fields and of their scan, beside those of values (`scan/layout.py`).

A *field* here is one that is wanted; they stand in the order of the record, and behind the last one is one that no record has.
"""

from __future__ import annotations

from sqlstream.formats.scan.layout import OWN

# Of a field. NUMBER: its number in the record.
NUMBER, NOT_NULL = range(2)

# Of a scan's state. QUOTE, ESCAPE: -1 for none; STOP: the escape, or again the delimiter; NULL_SIZE: -1 if no text means NULL.
DELIMITER, QUOTE, ESCAPE, STOP, COMMENTS, WIDTH, NULL_SIZE = range(OWN, OWN + 7)
# What a helper finds of a field in quotes: whether it has escapes or doubled quotes, line ends, and bytes that are not ASCII.
SPECIAL, WITHIN, FOREIGN = range(OWN + 7, OWN + 10)
