"""The words that Python and the kernel that encodes share."""

from __future__ import annotations

# An instruction: what is done, a vector, and two numbers; of NULLABLE three.
WIDTH = 5
OP = 0
DONE, NULLABLE, LONG, TEXT, FIXED, BOOLEAN, FIXED4, FIXED8, DECIMAL, LIST, NEXT, ADVANCE, LITERAL, JUMP, REQUIRE = (
    range(15)
)

# A vector: where its words (and whether they are there) begin, where the ends of its texts do, which value is next, and which was when
# the row began.
VECTOR_WORDS = 4
WORD_PLACE, TEXT_PLACE, CURSOR, SAVED = range(4)

# Of a run: where it writes, where the room ends, whether there was too little, and one more than the vector that has NULL where there
# may be none.
STATE = 4
OUT_AT, OUT_END, OUT_FULL, OUT_NULL = range(4)

FRAME = 2  # words of an open list: where its items begin, and how many are left; no more are open than a program has instructions
