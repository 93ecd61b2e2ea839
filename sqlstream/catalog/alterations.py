"""What ALTER TABLE makes of a table's description. Whether the connector takes it is seen afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlstream.catalog.objects import Table
from sqlstream.errors import BindError, NotSupported, did_you_mean
from sqlstream.sql.ast import column_parts, exp
from sqlstream.sql.statements import Added, Alteration, ChangedOptions, ColumnDef, Dropped, RenamedColumn


def altered(table: Table, alteration: Alteration) -> Table:
    """BindError where the table is not as the alteration takes it to be."""
    match alteration:
        case Added():
            return _keyed(_timed(_columns(table, alteration), alteration), alteration)
        case Dropped():
            return _dropped(table, alteration)
        case RenamedColumn():
            return _renamed(table, alteration)
        case ChangedOptions():
            return _options(table, alteration)


def _columns(table: Table, a: Added) -> Table:
    columns = list(table.columns)
    for column, place in a.columns:
        at = next((i for i, c in enumerate(columns) if c.name == column.name), None)
        if a.modify and at is None:
            raise _missing(table, column.name)
        if not a.modify and at is not None:
            raise BindError(
                f"table {table.name} has a column '{column.name}' already",
                hint=f"MODIFY {column.name} …",
                position=column.position,
                subject=column.name,
            )
        if at is not None:
            columns.pop(at)
        columns.insert(_place(table, columns, place, at), column)
    return replace(table, columns=tuple(columns))


def _place(table: Table, columns: list[ColumnDef], place: str | None, before: int | None) -> int:
    if place is None:
        return len(columns) if before is None else before
    if place == "":
        return 0
    if before is not None and place == table.columns[before].name:
        raise BindError(
            f"column '{place}' cannot stand behind itself", hint="FIRST, or AFTER another one", subject=place
        )
    found = next((i for i, c in enumerate(columns) if c.name == place), None)
    if found is None:
        raise _missing(table, place)
    return found + 1


def _timed(table: Table, a: Added) -> Table:
    if a.watermark is None:
        return table
    _as_expected(table, "WATERMARK", table.watermark is not None, a.modify)
    return replace(table, watermark=a.watermark)


def _keyed(table: Table, a: Added) -> Table:
    if not a.primary_key:
        return table
    _as_expected(table, "PRIMARY KEY", bool(table.primary_key), a.modify)
    return replace(table, primary_key=a.primary_key, constraint=a.constraint)


def _as_expected(table: Table, what: str, there: bool, modify: bool) -> None:
    if there and not modify:
        raise BindError(f"table {table.name} has a {what} already", hint=f"MODIFY {what} …, or DROP {what}")
    if modify and not there:
        raise BindError(f"table {table.name} has no {what}", hint=f"ADD {what} …")


def _dropped(table: Table, a: Dropped) -> Table:
    if a.watermark:
        if table.watermark is None:
            raise BindError(f"table {table.name} has no WATERMARK")
        return replace(table, watermark=None)
    if a.primary_key or a.constraint is not None:
        if not table.primary_key or a.constraint is not None and a.constraint != table.constraint:
            what = "PRIMARY KEY" if a.primary_key else f"constraint '{a.constraint}'"
            raise BindError(f"table {table.name} has no {what}", subject=a.constraint)
        return replace(table, primary_key=(), constraint=None)
    for name in a.columns:
        if table.column(name) is None:
            raise _missing(table, name)
    kept = tuple(c for c in table.columns if c.name not in a.columns)
    if not kept:
        raise BindError(f"table {table.name} would have no column left", hint=f"DROP TABLE {table.name}")
    for name in a.columns:
        _free(replace(table, columns=kept), name, "dropped")
    return replace(table, columns=kept)


def _renamed(table: Table, a: RenamedColumn) -> Table:
    if table.column(a.before) is None:
        raise _missing(table, a.before)
    if table.column(a.after) is not None:
        raise BindError(f"table {table.name} has a column '{a.after}' already", subject=a.after)
    _free(replace(table, primary_key=()), a.before, "renamed")
    key = tuple(a.after if k == a.before else k for k in table.primary_key)
    columns = tuple(replace(c, name=a.after) if c.name == a.before else c for c in table.columns)
    return replace(table, columns=columns, primary_key=key)


def _free(table: Table, name: str, what: str) -> None:
    """BindError where something else of the table names the column."""
    users = [f"column '{c.name}' is computed from it" for c in table.columns if name in _names(c.computed)]
    if table.watermark is not None and (name == table.watermark.column or name in _names(table.watermark.expression)):
        users.append("the WATERMARK is of it")
    if name in table.primary_key:
        users.append("it is in the PRIMARY KEY")
    if name in table.partitioned_by:
        users.append("the table is partitioned by it")
    if users:
        raise BindError(
            f"table {table.name}: column '{name}' cannot be {what}: {', and '.join(users)}",
            hint="drop or modify that first",
            subject=name,
        )


def _names(expression: exp.Expression | None) -> Iterable[str]:
    return () if expression is None else {column_parts(c)[0] for c in expression.find_all(exp.Column)}


def _options(table: Table, a: ChangedOptions) -> Table:
    options = {**table.option_map, **dict(a.given)}
    for key in a.reset:
        if key == "connector":
            raise NotSupported(f"table {table.name}: 'connector' cannot be reset", hint="a table has one: SET another")
        if key not in table.option_map:
            raise BindError(
                f"table {table.name} has no option '{key}'",
                hint=did_you_mean(key, table.option_map, "options"),
                subject=key,
            )
        del options[key]
    return replace(table, options=tuple(options.items()))


def _missing(table: Table, name: str) -> BindError:
    return BindError(
        f"table {table.name} has no column '{name}'",
        hint=did_you_mean(name, [c.name for c in table.columns], "columns"),
        subject=name,
    )
