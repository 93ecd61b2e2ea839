"""Aggregate functions, each one object with all that is known of it.

registry.py   AGGREGATES, by name
function.py   AggregateFunction: type rule, DuckDB text, streaming half, and what else planners ask
sql.py        one call as DuckDB text, over rows or going on from what earlier rows came to
count.py, …   the functions, one file a family
streaming/    the streaming halves, by the same names; nothing here imports them, so that batch starts without
"""
