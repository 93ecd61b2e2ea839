"""The words that Python and the kernels that write share: vectors, and the state of a run."""

from __future__ import annotations

# A vector: where its words (and whether they are there) begin, where the ends of its texts do, which value is next, and which was when
# the row began.
VECTOR_WORDS = 4
WORD_PLACE, TEXT_PLACE, CURSOR, SAVED = range(4)

# Of a run: where it writes, where the room ends, whether there was too little, and one more than the vector that has NULL where there
# may be none.
STATE = 4
OUT_AT, OUT_END, OUT_FULL, OUT_NULL = range(4)

# Words of what is open: a list (where its items begin, how many are left), or a message (where its length stands).
FRAME = 2
