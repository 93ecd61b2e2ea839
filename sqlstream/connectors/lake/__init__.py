"""What tables of a lake have in common (Delta Lake, Iceberg): Parquet files that a log of versions names.

Nobody changes a file that is there. A version says which files are the table; so what is read is read as ordinary Parquet files,
and what is written is files first, which nobody sees, and then one entry of the log.
"""
