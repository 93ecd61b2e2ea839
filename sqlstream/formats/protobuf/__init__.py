"""Messages of Protocol Buffers as Arrow columns and back, by compiled loops over what their descriptor says.

descriptors.py    the types of a descriptor file, by their names
shape.py          which fields of a message are which columns of a table
layout.py, decode_kernels.py, decoder.py   messages to columns
encode_kernels.py, encoder.py              the way back
format.py         `'format' = 'protobuf'`
"""
