"""Avro: schemas, and records of them as Arrow columns and back, by compiled loops over what a schema says.

schema.py      a schema's JSON as a tree
flink.py       the schema that Flink makes of a table's columns
program.py     what to do with the bytes of a writer's record, for the columns that are wanted
decode_kernels.py   doing it; vectors, and the columns that come of them, are in `formats/binary`
encode_program.py, encode_kernels.py   the way back
decoder.py, encoder.py          messages of one schema
container.py, columns.py        files of records, and the columns that they have
format.py      `'format' = 'avro'`; what has a registry of schemas is in `formats/confluent`
"""
