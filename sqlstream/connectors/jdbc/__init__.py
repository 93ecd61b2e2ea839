"""Connector 'jdbc': tables of databases, by Flink's options, through native drivers and not through Java.

connector.py     the options
databases.py     which database a URL names; `url.py`: how it is taken apart
database.py      what a database is to the rest; `tables.py`, `readings.py`: its tables, and how their columns are read
postgres_…       PostgreSQL; `mysql…`: MySQL and MariaDB; `sqlite…`: SQLite; `duckdb_database.py`: DuckDB
query.py         what rows are selected by; `conditions.py`: the parts of a filter that the database may evaluate, `places.py`:
                 where reading goes on, `keys.py`: keys as constants, `texts.py`: values of texts
scan.py          a table as a bounded source
keyed.py         its rows by keys, for lookup joins
sink.py          rows written as they come, to a `target.py`; `staging.py`: exactly once
"""
