"""The words that Python and the kernel that encodes share. Vectors and a run's state are those of `formats/binary`."""

from __future__ import annotations

# An instruction: what is done, a vector, and two numbers; of NULLABLE three.
WIDTH = 5
OP = 0
DONE, NULLABLE, LONG, TEXT, FIXED, BOOLEAN, FIXED4, FIXED8, DECIMAL, LIST, NEXT, ADVANCE, LITERAL, JUMP, REQUIRE = (
    range(15)
)
