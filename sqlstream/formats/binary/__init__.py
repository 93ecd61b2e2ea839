"""What binary formats of messages have in common (avro, protobuf): vectors, which compiled loops fill or write, and Arrow's columns.

read_layout.py, read_kernels.py     vectors that are filled: numbers of variable length, texts
columns.py, vectors.py              which columns they are, and making these
write_layout.py, write_kernels.py   vectors that are written
parts.py, writer.py                 making these of columns, and rows of them
messages.py                         messages that make rows without a statement
"""
