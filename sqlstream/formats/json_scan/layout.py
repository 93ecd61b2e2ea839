"""The words of keys and of their scan, beside those of values (`scan/layout.py`).

A *node* is a key of one object. Its token is the text between the value before it and its own (`, "price": `), so that
separator, key, colon and white space are compared at once; `LEAD` bytes of it stand before the key, which the first key of an
object does without. Nodes of an object are chained in the order in which they were met. A node is named by its first word.
"""

from __future__ import annotations

from sqlstream.formats.scan.layout import NODE, OWN

# Of a node. TOKEN, SIZE, LEAD: place and sizes of the token in `keys`; SIZE is 0 until it was met.
TOKEN, SIZE, LEAD = range(3)
NEXT, FIRST, PARENT, SEEN = range(4, 8)
WEIGHT, NULL_WEIGHT = 10, 11
CHILDREN, KEY_SIZE, SPELLED = range(18, 21)

# Of a scan's state.
PLACE, NODES, FILLED, REQUIRED, NODE_ROOM, KEY_ROOM, MASK, UNKNOWN = range(OWN, OWN + 8)

# The node after the last of a chain: its token is never there.
END = 0
ROOT = NODE

LONGEST_TOKEN = 63
