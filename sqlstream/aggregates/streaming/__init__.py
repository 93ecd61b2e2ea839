"""The streaming halves of aggregate functions: what they keep for a group, how rows come in, are taken back and merge.

half.py          Half: a call made of parts; Groups: what gives it those
part.py          Part: an accumulator, value columns of a state table, addressed by slot; Rows: what it is fed
value_index.py   which values a group holds, for DISTINCT and for what cannot take rows back by itself
count.py, …      the halves and their parts, a file for each of `sqlstream.aggregates`
kernels.py       the compiled loops
"""
