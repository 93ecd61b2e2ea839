"""The physical plan and its operators: one file an operator, with its plan half, its lowering and its running half.

base.py                                     the contract: PhysicalNode, Operator
lowering.py, distribution.py                logical plan to physical; where rows lie, and must meet
source_scan.py, exchange.py, sink.py        where rows come in, go from task to task, and go out
aggregation.py, row_store.py, pairs.py      what operators share: calls over groups, rows that are kept, pairs of rows
partition_lives.py                          rows of a partition that live for a time together
aggregate.py, joins.py, over.py, ranks.py   which operator runs a GROUP BY, JOIN, OVER or top-N
"""
