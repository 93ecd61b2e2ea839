"""Bounded input on DuckDB: one query for a plan.

query.py     BatchQuery: the rows of a plan, which can be interrupted
failure.py   which of its expressions failed, since DuckDB does not say
"""
