"""A table of PostgreSQL as its catalog has it, and what its rows lie in."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.connectors.jdbc.postgres import Connection, quoted, text
from sqlstream.connectors.jdbc.tables import DbColumn, DbTable, meanings
from sqlstream.errors import OptionError, did_you_mean

_KINDS = "('r', 'p', 'v', 'm', 'f')"
HEAP, PARTITIONED = ("r", "m"), "p"


@dataclass(frozen=True)
class PostgresTable(DbTable):
    """`kind`: pg_class.relkind. `alone`: none inherit from it. `blocks`: pages now."""

    kind: str
    alone: bool
    blocks: int


def find_table(connection: Connection, name: str) -> PostgresTable:
    """The table that option 'table-name' means: `t`, `schema.t`, parts in double quotes or not. OptionError when there is none."""
    found = None
    for schema, table in meanings(name):
        for exact in (True, False):
            found = found or _found(connection, schema, table, exact)
    if found is None:
        there = connection.rows(
            "SELECT CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE n.nspname || '.' END || c.relname FROM pg_class c "
            f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN {_KINDS} AND n.nspname NOT IN "
            "('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%' ORDER BY 1 LIMIT 1000"
        )
        raise OptionError(
            f"{connection.where}: the database has no table '{name}'",
            hint=did_you_mean(name, [n for (n,) in there], "tables"),
            subject=name,
        )
    oid, schema, table, kind, alone, blocks = found
    columns = connection.rows(
        "SELECT a.attname::text, b.typname::text, format_type(a.atttypid, a.atttypmod), "
        "CASE WHEN b.typname IN ('numeric', '_numeric') AND a.atttypmod >= 4 THEN (a.atttypmod - 4) & 2047 END, a.attnotnull, "
        "a.attgenerated <> '' OR a.attidentity = 'a' "
        "FROM pg_attribute a JOIN LATERAL (WITH RECURSIVE below AS (SELECT t.* FROM pg_type t WHERE t.oid = a.atttypid UNION ALL "
        "SELECT t.* FROM below d JOIN pg_type t ON d.typtype = 'd' AND t.oid = d.typbasetype) "
        "SELECT * FROM below WHERE typtype <> 'd') b ON true "
        f"WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
    unique = connection.rows(
        "SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND "
        "a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])), i.indisprimary FROM pg_index i "
        f"WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL"
    )
    key = next((tuple(k) for k, primary in unique if primary), ())
    by_name = {c[0]: DbColumn(*c) for c in columns}
    sql, sets = f"{quoted(schema)}.{quoted(table)}", tuple(frozenset(k) for k, _ in unique)
    return PostgresTable(schema, table, sql, by_name, sets, key, kind, alone, blocks)


def _found(
    connection: Connection, schema: str | None, table: str, exact: bool
) -> tuple[int, str, str, str, bool, int] | None:
    def like(column: str, value: str) -> str:
        return f"{column} = {text(value)}" if exact else f"lower({column}) = lower({text(value)})"

    where = "pg_table_is_visible(c.oid)" if schema is None else like("n.nspname", schema)
    rows = connection.rows(
        "SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, NOT c.relhassubclass, "
        "CASE WHEN c.relkind IN ('r', 'm') THEN pg_relation_size(c.oid) / current_setting('block_size')::int8 ELSE 0 END "
        f"FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN {_KINDS} "
        f"AND {where} AND {like('c.relname', table)}"
    )
    if len(rows) > 1 and not exact:
        names = ", ".join(sorted(f'{s}."{t}"' for _, s, t, *_ in rows))
        raise OptionError(f"{connection.where}: '{table}' may mean {names}", hint="write the name as it is there")
    return rows[0] if rows else None
