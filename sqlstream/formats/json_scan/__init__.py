"""The projection scanner for lines of JSON: one pass over the bytes of a block, by a compiled loop, without Python's lock.

    layout.py     the words of a node, of a scan's state, and what may become of a value
    characters.py, numbers.py, decimals.py, doubles.py, times.py, values.py, keys.py    helpers: each a part of a line
    lines.py      the kernel: lines to the buffers of columns
    plan.py       which leaves of a record are wanted, as nodes and columns
    scanner.py    runs the kernel over blocks, and lets it learn
    columns.py    buffers to Arrow arrays
    loading.py    when the kernel is there, and who may have it

The kernel accepts what it knows to be right and to have one meaning: plain JSON, with plain values of the wanted types.
Every other line is *unusual*. Nothing is said of it here: DuckDB decodes it (`json_records.py`), or tells what is wrong
with it. So a line is never refused by the scanner, and no value differs.
"""
