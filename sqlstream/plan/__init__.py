"""Names and types: statements to the logical plan.

nodes/                                                  the plan's nodes
query_binder.py                                         queries, on layers: `from_binder.py`, `condition_binder.py`
expression_binder.py                                    expressions, typed by Flink's rules
aggregate_binder.py, over_binder.py, window_binder.py   GROUP BY, OVER, windows
insert_binder.py                                        a query's columns as a table's
table_binder.py                                         a table as a Scan, and what is computed over it
scope.py                                                what names mean
"""
