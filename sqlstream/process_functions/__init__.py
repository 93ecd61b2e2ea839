"""Process table functions: users' Python classes with state and timers, called in FROM (Flink's PTFs).

function.py   what users subclass, and what `eval` gets: a row, and a context
signature.py  what a class declares: its arguments, result and states

`operators/process_table_function.py` runs them.
"""
