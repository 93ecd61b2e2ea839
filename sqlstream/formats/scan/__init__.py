"""What the scanners of text formats share (`json_scan`, `csv_scan`): values in place, the columns that they fill, and who runs them.

    layout.py     the words of a wanted value, of a scan's state, and what may become of a value
    characters.py, numbers.py, decimals.py, doubles.py, times.py    helpers of the kernels: each a part of a value
    columns.py    which columns are made, their buffers, and Arrow arrays of these
    block.py      runs a kernel over blocks
    recipe.py     what a format says of how its blocks are scanned
    loading.py    when a kernel is there, and who may have it

A kernel accepts what it knows to be right and to have one meaning. Every other record is *unusual*: nothing is said of it here,
but DuckDB decodes it as it always did, or tells what is wrong with it. So no record is refused by a scanner, and no value differs.
"""
