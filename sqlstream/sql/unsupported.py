"""Flink's statements that sqlstream does not run, each with what to do in its place."""

from __future__ import annotations

_CATALOGS = "there is one catalog with one database: name tables without qualifiers"
_MATERIALIZED = "write INSERT INTO table SELECT …, which runs until it is stopped"
_MODELS = "call a Python function in its place"
_JOBS = "jobs are listed and stopped from the command line"
_MODULES = "all functions are always there"
_ROWS = "streams only grow: deduplicate or filter in a query"
_JARS = "install Python packages with pip"
_SHELL = "this is a command of the shell, not a statement of a script"

# what a statement's name may go on with
OBJECTS = frozenset(
    (
        "TABLE",
        "VIEW",
        "CATALOG",
        "DATABASE",
        "FUNCTION",
        "MATERIALIZED",
        "MODEL",
        "MODULE",
        "MODULES",
        "JOB",
        "JAR",
    )
)

UNSUPPORTED: dict[tuple[str, ...], str] = {
    ("USE",): _CATALOGS,
    ("CREATE", "CATALOG"): _CATALOGS,
    ("CREATE", "DATABASE"): _CATALOGS,
    ("DROP", "CATALOG"): _CATALOGS,
    ("DROP", "DATABASE"): _CATALOGS,
    ("DESCRIBE", "CATALOG"): _CATALOGS,
    ("DESC", "CATALOG"): _CATALOGS,
    ("SHOW", "CATALOGS"): _CATALOGS,
    ("SHOW", "DATABASES"): _CATALOGS,
    ("SHOW", "CURRENT"): _CATALOGS,
    ("SHOW", "CREATE", "CATALOG"): _CATALOGS,
    ("CREATE", "OR", "REPLACE"): "DROP it first, with IF EXISTS",
    ("REPLACE",): "DROP it first, with IF EXISTS",
    ("CREATE", "OR", "ALTER"): _MATERIALIZED,
    ("CREATE", "MATERIALIZED"): _MATERIALIZED,
    ("DROP", "MATERIALIZED"): _MATERIALIZED,
    ("SHOW", "MATERIALIZED"): _MATERIALIZED,
    ("SHOW", "CREATE", "MATERIALIZED"): _MATERIALIZED,
    ("CREATE", "MODEL"): _MODELS,
    ("CREATE", "TEMPORARY", "MODEL"): _MODELS,
    ("DROP", "MODEL"): _MODELS,
    ("DROP", "TEMPORARY", "MODEL"): _MODELS,
    ("SHOW", "MODELS"): _MODELS,
    ("SHOW", "CREATE", "MODEL"): _MODELS,
    ("DESCRIBE", "MODEL"): _MODELS,
    ("DESC", "MODEL"): _MODELS,
    ("DESCRIBE", "FUNCTION"): "SHOW FUNCTIONS lists them",
    ("DESC", "FUNCTION"): "SHOW FUNCTIONS lists them",
    ("CREATE", "CONNECTION"): "put the options into each table's WITH (…)",
    ("SHOW", "PARTITIONS"): "SELECT DISTINCT the partition columns",
    ("SHOW", "PROCEDURES"): "there are no procedures",
    ("SHOW", "JARS"): _JARS,
    ("SHOW", "MODULES"): _MODULES,
    ("SHOW", "FULL"): _MODULES,
    ("SHOW", "JOBS"): _JOBS,
    ("DESCRIBE", "JOB"): _JOBS,
    ("DESC", "JOB"): _JOBS,
    ("STOP",): _JOBS,
    ("ALTER",): "DROP and CREATE it anew: definitions hold no data",
    ("LOAD",): _MODULES,
    ("UNLOAD",): _MODULES,
    ("ADD",): _JARS,
    ("REMOVE",): _JARS,
    ("CALL",): "there are no procedures",
    ("ANALYZE",): "plans do not need statistics",
    ("TRUNCATE",): _ROWS,
    ("UPDATE",): _ROWS,
    ("DELETE",): _ROWS,
    ("MERGE",): _ROWS,
    ("COMPILE",): "plans are kept with each job's checkpoints",
    ("EXECUTE", "PLAN"): "run the SQL itself: plans are kept with each job's checkpoints",
    ("COMMIT",): "there are no transactions",
    ("ROLLBACK",): "there are no transactions",
    ("HELP",): _SHELL,
    ("QUIT",): _SHELL,
    ("EXIT",): _SHELL,
    ("CLEAR",): _SHELL,
    ("SOURCE",): _SHELL,
}
