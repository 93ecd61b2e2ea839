"""The projection scanner for CSV: one pass over the bytes of a block, by a compiled loop, without Python's lock.

    layout.py     the words of a wanted field, and of a dialect
    fields.py     helpers: fields in quotes, with escapes, values of them
    records.py    the kernel: records to the buffers of columns
    plan.py       which fields of a record are wanted
    scanner.py    runs the kernel over blocks
    raw.py        values for which it has no loop
    recipe.py     all this, for a request

What scanners of other formats do as well is in `formats/scan`. Fields are told apart by bits, 64 bytes at once; a field that
nobody wants costs no more than its end. What a record is says `csv_records.py`, and where one is not plain its loop finds the end.
"""
