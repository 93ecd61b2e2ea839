"""A table of PostgreSQL as its catalog has it: its name as it is there, its columns and their types, its unique keys.

Names are looked for as they are written and, when there is none, without regard to case: PostgreSQL makes small letters of
names that are not quoted, and Flink's dialect does not quote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlstream.connectors.jdbc.postgres import Connection, quoted, text
from sqlstream.errors import OptionError, did_you_mean

_KINDS = "('r', 'p', 'v', 'm', 'f')"
HEAP, PARTITIONED = ("r", "m"), "p"


@dataclass(frozen=True)
class DbColumn:
    """A column there. `base`: the name of its type below domains (`int4`; of arrays `_int4`), `type`: as one writes it,
    `scale`: of numeric, None when it has none. `given`: the server makes its values itself, always."""

    name: str
    base: str
    type: str
    scale: int | None
    not_null: bool
    given: bool


@dataclass(frozen=True)
class DbTable:
    """A table, or what is read like one. `kind`: pg_class.relkind. `alone`: none inherit from it. `blocks`: pages now."""

    schema: str
    name: str
    kind: str
    alone: bool
    blocks: int
    columns: dict[str, DbColumn]
    unique: tuple[frozenset[str], ...]  # sets of columns that tell rows from each other
    key: tuple[str, ...]  # the primary key

    @property
    def sql(self) -> str:
        """Its name in statements."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    def column(self, name: str, where: str) -> DbColumn:
        """The column that a name of the table here means. OptionError when there is none."""
        if name in self.columns:
            return self.columns[name]
        near = [c for c in self.columns.values() if c.name.lower() == name.lower()]
        if len(near) == 1:
            return near[0]
        raise OptionError(
            f"{where}: {self.schema}.{self.name} has no column '{name}'",
            hint=did_you_mean(name, self.columns, "columns"),
            subject=name,
        )


def find_table(connection: Connection, name: str) -> DbTable:
    """The table that option 'table-name' means: `t`, `schema.t`, parts in double quotes or not. OptionError when there is none."""
    found = None
    for schema, table in _readings(name):
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
        "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
        "JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END "
        f"WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    )
    unique = connection.rows(
        "SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND "
        "a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])), i.indisprimary FROM pg_index i "
        f"WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL"
    )
    key = next((tuple(k) for k, primary in unique if primary), ())
    by_name = {c[0]: DbColumn(*c) for c in columns}
    return DbTable(schema, table, kind, alone, blocks, by_name, tuple(frozenset(k) for k, _ in unique), key)


def _readings(name: str) -> list[tuple[str | None, str]]:
    """(schema, table): what a name may mean, the likeliest first."""
    quotes = re.fullmatch(r'(?:"((?:[^"]|"")+)"|([^".]+))(?:\.(?:"((?:[^"]|"")+)"|([^".]+)))?', name)
    whole: list[tuple[str | None, str]] = [(None, name)]
    if quotes is None:
        return whole
    first = quotes[1].replace('""', '"') if quotes[1] is not None else quotes[2]
    second = quotes[3].replace('""', '"') if quotes[3] is not None else quotes[4]
    return [(None, first), *whole] if second is None else [(first, second), *whole]


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
