# `just` lists these.

_list:
    @just --list

# style and types
check:
    ruff check .
    ruff format --check .
    mypy
    lint-imports

# all tests, or those that are named: just test tests/unit/cli
test *ARGS:
    python -m pytest -n 3 {{ARGS}}

# SQL scripts with their answers, sample queries, documentation
golden:
    python -m pytest tests/test_sql.py tests/test_docs.py tests/test_generated_docs.py

# the wheel as a release makes it, tried in a fresh environment
wheel:
    python tools/smoke_wheel.py

# docs/options.md, docs/functions.md and the tables of docs/monitoring.md written anew, from the registries
docs:
    python tools/generate_docs.py
    git diff --stat docs

# the documentation as a site, in site/ (pip install -e '.[docs]'); `mkdocs serve` shows it while it is written
site:
    NO_MKDOCS_2_WARNING=1 mkdocs build --strict

# plan files written anew, to be read as a difference
plans:
    python -m pytest tests/test_plans.py --rewrite
    git diff --stat tests/plans

# sqlstream, DuckDB and Flink over the same files; see benchmarks/README.md
bench *ARGS:
    python benchmarks/nexmark.py {{ARGS}}

# latency at a steady rate; growth.py and checkpoints.py are called alike
latency *ARGS:
    python benchmarks/latency.py {{ARGS}}
