"""The table of ClickHouse that rows go to: its columns, its engine, and what that makes of rows of one key."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlstream.connectors.clickhouse.client import Client, literal, quoted
from sqlstream.contracts import TableContext
from sqlstream.errors import OptionError, did_you_mean

_WINDOW = re.compile(r"\bnon_replicated_deduplication_window\s*=\s*(\d+)")
_REPLACING = re.compile(r"\w*ReplacingMergeTree\((.*?)\)(?:\s|$)")


@dataclass(frozen=True)
class There:
    """`version`, `deleted`: the columns that a ReplacingMergeTree has them in, if it has; `deduplicates`: an insert that it has seen is none again."""

    name: str
    engine: str
    columns: dict[str, str]
    deduplicates: bool
    replaces: bool
    sorted_by: tuple[str, ...]
    version: str | None = None
    deleted: str | None = None


def table_there(client: Client, database: str, name: str) -> There:
    """OptionError where it is not there."""
    at = f"database = {literal(database)} AND {{}} = {literal(name)}"
    found = client.found(f"SELECT engine, engine_full, sorting_key FROM system.tables WHERE {at.format('name')}")
    if not found:
        names = [
            r["name"] for r in client.found(f"SELECT name FROM system.tables WHERE database = {literal(database)}")
        ]
        raise OptionError(
            f"{client.where}: there is no table {database}.{name}",
            hint=did_you_mean(name, names, "tables"),
            subject="table-name",
        )
    (said,) = found
    columns = client.found(
        f"SELECT name, type FROM system.columns WHERE {at.format('table')} AND default_kind NOT IN ('MATERIALIZED', 'ALIAS')"
    )
    engine, full = said["engine"], said["engine_full"]
    window = _WINDOW.search(full)
    replacing = _REPLACING.match(full) if "Replacing" in engine else None
    own = (
        [a.strip() for a in replacing[1].split(",") if a.strip() and not a.strip().startswith("'")] if replacing else []
    )
    return There(
        f"{quoted(database)}.{quoted(name)}", engine, {c["name"]: c["type"] for c in columns},
        engine.startswith(("Replicated", "Shared")) or bool(window and int(window[1])), "Replacing" in engine,
        tuple(k.strip().strip("`") for k in said["sorting_key"].split(",") if k.strip()), *(n.strip("`") for n in own[:2]),
    )  # fmt: skip


def check(there: There, table: TableContext, where: str, exactly_once: bool) -> None:
    """OptionError where the table is not one for these rows, with what would be."""
    for name in table.schema.names:
        if name not in there.columns:
            raise OptionError(
                f"{where}: {there.name} has no column '{name}'", hint=did_you_mean(name, list(there.columns), "columns"), subject=name
            )  # fmt: skip
    key = table.primary_key
    if key and not there.replaces:
        raise OptionError(
            f"{where}: rows of the table are known by ({', '.join(key)}), and {there.name} is a {there.engine}, which knows no keys",
            hint=f"ENGINE = ReplacingMergeTree ORDER BY ({', '.join(key)}) keeps the last row of each; without PRIMARY KEY rows are added",
        )
    if key and set(key) != set(there.sorted_by):
        raise OptionError(
            f"{where}: its PRIMARY KEY is ({', '.join(key)}), and {there.name} keeps one row of each ({', '.join(there.sorted_by)})",
            hint="ORDER BY of that table and the PRIMARY KEY must be of the same columns",
        )
    if exactly_once and not there.deduplicates:
        raise OptionError(
            f"{where}: 'sink.delivery-guarantee' = 'exactly-once': {there.name} ({there.engine}) does not know an insert that it has seen",
            hint=f"ALTER TABLE {there.name} MODIFY SETTING non_replicated_deduplication_window = 1000; Replicated… engines know them",
        )
