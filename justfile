# `just` lists these.

_list:
    @just --list

# style and types
check:
    ruff check sqlstream tests
    ruff format --check sqlstream/cli sqlstream/dbapi.py sqlstream/session.py
    mypy

# all tests, or those that are named: just test tests/unit/cli
test *ARGS:
    python -m pytest {{ARGS}}

# SQL scripts with their answers, sample queries, documentation
golden:
    python -m pytest tests/test_sql.py tests/test_docs.py tests/test_generated_docs.py

# sqlstream, DuckDB and Flink over the same files; see benchmarks/README.md
bench *ARGS:
    python benchmarks/nexmark.py {{ARGS}}

# latency at a steady rate; growth.py and checkpoints.py are called alike
latency *ARGS:
    python benchmarks/latency.py {{ARGS}}
