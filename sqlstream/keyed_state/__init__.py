"""Keyed state under Flink's names: value, list, map, reducing and aggregating state, and timers, over StateTables.

descriptors.py                          what a state is: a frozen description, and its StateSpec
values.py, lists.py, maps.py, folds.py  each kind twice: in Arrow for many keys at once, and for the key at hand
timers.py                               times by key and name, in both ways
prefixes.py                             rows by the key that they begin with
current.py, states.py                   the key at hand; all states of an operator together

Since each is rows of a StateTable, checkpoints, restoring, another parallelism, time to live and the backends are that
table's. The
views of the key at hand keep an epoch's Python values, read in bulk, and write what changed in bulk at its end.
"""
