"""The four-way harness: one query, four ways to run it, one answer.

slt.py    `.slt` files as records: inputs, statements, queries with expected rows
rows.py   values in a form in which equal ones are equal; changelogs folded and checked; results compared
ways.py   batch on DuckDB, streaming, streaming in parallel tasks, streaming stopped and restored elsewhere
seed.py   one printed seed from which all that is random is drawn (SQLSTREAM_SEED repeats a run)
"""
