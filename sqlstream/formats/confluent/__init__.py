"""Formats whose messages say by a number which schema they were written by, which a registry of schemas has (Confluent's protocol).

client.py     the registry: schemas by their numbers, and numbers of schemas
settings.py   the options that each of the formats has
framing.py    the bytes before a record
avro.py, debezium_avro.py   'avro-confluent' and 'debezium-avro-confluent'
"""
