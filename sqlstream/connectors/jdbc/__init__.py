"""Connector 'jdbc': tables of databases, by Flink's options, through native drivers and not through Java.

connector.py     the options, and which database a URL names
url.py           URLs, as Java's drivers and as the databases' own tools write them
postgres.py      PostgreSQL: a connection, its errors; names and columns of a table in `postgres_table.py`, what becomes
                 of their values in `postgres_types.py`
conditions.py    the parts of a filter that the database may evaluate
scan.py          a table as a bounded source
keyed.py         its rows by keys, for lookup joins
sink.py          rows written as they come; `staging.py`: exactly once
"""
