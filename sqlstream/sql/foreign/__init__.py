"""Queries in other dialects: read by sqlglot's own parser, turned into Flink SQL text, and read again by our grammar.

`flink_of("SELECT a ILIKE 'x%' FROM t", "postgres")` is `SELECT LOWER(a) LIKE LOWER('x%') FROM t`. Only what stands in
the tables of this package is turned: a construct or function without an equal in Flink is refused with its name, since
a printed one that merely looks alike would be a wrong answer.

    query.py        its place in a script              names.py      the spelling of names that were not quoted
    translate.py    the way, and the errors            shapes.py     trees that Flink has another form for
    printer.py      the text of trees                  functions.py  functions by their meaning: numbers, conditions,
    rules.py        how a call becomes text                          aggregates, and the table of all
    texts.py        functions of strings               patterns.py   LIKE and regular expressions
    dates.py        functions of dates and times       formats.py    patterns of dates
    parameters.py   values for `?`
"""
