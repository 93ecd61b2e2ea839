"""Formats whose messages say by a number which schema they were written by, which a registry of schemas has (Confluent's protocol).

client.py     the registry: schemas by their numbers, and numbers of schemas
settings.py   the options that each of the formats has
framing.py    the bytes before a record
readers.py    messages of several schemas
writing.py    the schema that is written, and where it is registered
avro.py, debezium_avro.py   'avro-confluent' and 'debezium-avro-confluent'
json.py       'json-confluent', by json_schema.py: the schema of a table's columns
protobuf.py   'protobuf-confluent', by proto_files.py: schemas that a registry has; proto_columns.py, proto_values.py and proto_known.py: what their
              messages are as columns; proto_derived.py: the message of a table's columns
"""
