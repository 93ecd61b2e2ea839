"""How records lie in bytes: one `Format` a file, listed in `registry.py`.

Decoding is DuckDB SQL: a format writes the statement that turns files, or a block of bytes, into the requested
leaves as c0, c1, …, strictly (`conversion.py`); text in its usual form becomes numbers and times beside it, by compiled
loops (`text_columns.py`). Plain records of JSON and CSV need no statement (`json_scan/`, `csv_scan/`). Encoding turns Arrow
batches into bytes, also by DuckDB. No format loops over rows in Python, except to find the malformed record once a
statement has failed.
"""
