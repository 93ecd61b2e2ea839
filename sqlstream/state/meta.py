"""Places in the array `meta` of a table of slots, which Python and compiled loops share.

SIZE      slots in use
NEXT      the first slot that was never used
FREE      how many freed slots there are
USED      bytes of an arena in use
GARBAGE   bytes of an arena that no value has any more
NEED      what a loop that stopped needs room for
"""

from __future__ import annotations

SIZE, NEXT, FREE, USED, GARBAGE, NEED = 0, 1, 2, 3, 4, 5
