"""The words that Python and the kernel that encodes share. Vectors and a run's state are those of `formats/binary`."""

from __future__ import annotations

# An instruction: what is done, a vector, and three numbers.
WIDTH = 5
(
    DONE, IF_THERE, IF_OTHER, IF_ITEMS, LITERAL, VARINT, UNSIGNED, ZIGZAG, FIXED4, FIXED8, TEXT, BEGIN, CLOSE, LIST, NEXT, ADVANCE, JUMP, REQUIRE,
) = range(18)  # fmt: skip
