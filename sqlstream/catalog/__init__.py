"""What names stand for: tables, views and functions, in memory or as readable SQL text.

objects.py   what is named, as frozen descriptions that print as the statements that make them
databases.py databases, and what qualifiers of names mean
catalog.py   Catalog: the names, temporary ones before permanent ones
"""
