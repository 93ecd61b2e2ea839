"""Scalar functions and operators, each one object with all that is known of it.

scalar.py                                              the registry: the tables of operators, mathematics, strings, …
scalar_function.py                                     ScalarFunction: type rule, NULL rule, DuckDB text, volatility
typing.py                                              Flink's type rules, where operands meet
casts.py, numbers.py, decimals.py, comparisons.py, …   DuckDB text that means what Flink and Java mean
java_patterns.py, sql_patterns.py, pattern_tree.py     patterns: parsed, and as a tree
re2_patterns.py, python_patterns.py, java_matching.py  and written for RE2 or for Python
user.py                                                Python functions of users
inline.py                                              and those whose body stands in SQL
"""
