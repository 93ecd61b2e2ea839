"""The projection scanner for lines of JSON: one pass over the bytes of a block, by a compiled loop, without Python's lock.

    layout.py     the words of a key, and of what is known of all keys
    characters.py, values.py, keys.py    helpers: each a part of a line
    lines.py      the kernel: lines to the buffers of columns
    plan.py       which leaves of a line are wanted, as nodes and columns
    scanner.py    runs the kernel over blocks, and lets it learn
    raw.py        values for which it has no loop
    recipe.py     all this, for a request

What scanners of other formats do as well is in `formats/scan`. The kernel accepts plain JSON, with plain values of the wanted
types, and validates what it skips.
"""
