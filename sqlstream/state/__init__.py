"""Keyed state of operators: arrays by slot, and the compiled loops over them.

table.py, spec.py                         StateTable: rows by slot that knows what changed; what one is, for plans
ttl.py                                    rows that live for a time
index.py, log.py                          keys to slots, by hash; rows that are only appended
columns.py, memory.py                     values by slot; in memory, or in mapped files beyond the budget
keys.py, encoding.py                      what makes two keys the same, and their stable hash
multimap.py, time_index.py                rows by key, for joins; rows by time
files.py                                  rows as Arrow files, for checkpoints
rocks.py, byte_order.py                   the one door to RocksDB: byte strings by key; their order
kernel.py, compiler.py, kernel_cache.py   loops: declared without Numba, compiled, kept as machine code
intrinsics.py                             instructions of theirs that Numba has not
index_kernels.py, arena_kernels.py, …     the loops
"""
