"""Names in a query: which relation and column a (possibly dotted) name means."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlstream.catalog.databases import CATALOG
from sqlstream.errors import BindError, Position, did_you_mean
from sqlstream.expressions import Column, Expr, FieldOf
from sqlstream.functions.elsewhere import elsewhere
from sqlstream.types import Schema

_NAMED_ALIKE = "give one of the two another name where they come from: a subquery or view with SELECT … AS other"


@dataclass(frozen=True)
class Relation:
    """One FROM item: its alias (None: has none) and where its columns lie in the scope's row. `database`: of a table or view
    that is called as the catalog has it."""

    alias: str | None
    schema: Schema
    offset: int = 0
    database: str | None = None

    def names(self) -> tuple[tuple[str, ...], ...]:
        """What it can be called, by parts; the shortest first."""
        if self.alias is None:
            return ()
        if self.database is None:
            return ((self.alias,),)
        return ((self.alias,), (self.database, self.alias), (CATALOG, self.database, self.alias))

    def is_called(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """Its name with database or catalog, where a column's `parts` begin with it; else ()."""
        return next((n for n in self.names()[1:] if len(parts) > len(n) and parts[: len(n)] == n), ())


@dataclass(frozen=True)
class Scope:
    """The relations that a clause sees, side by side as one row.

    `visible`: the columns that `*` stands for, in its order, and that plain names mean. A join by common names shows
    one column for two, and shows it first; a relation's own are still there under its alias.
    """

    relations: tuple[Relation, ...] = ()
    visible: tuple[int, ...] = ()

    @staticmethod
    def of(alias: str | None, schema: Schema, database: str | None = None) -> Scope:
        """One relation."""
        return Scope((Relation(alias, schema, database=database),), tuple(range(len(schema))))

    def joined(self, other: Scope) -> Scope:
        """Both side by side: the names of two queries, one in the other."""
        width = self.width
        moved = tuple(replace(r, offset=r.offset + width) for r in other.relations)
        return Scope(self.relations + moved, (*self.visible, *(i + width for i in other.visible)))

    def beside(self, other: Scope, position: Position | None) -> Scope:
        """Both side by side in one FROM. BindError when they have an alias in common."""
        taken = {r.alias for r in self.relations if r.alias is not None}
        for r in other.relations:
            if r.alias in taken:
                raise BindError(
                    f"two tables in FROM are called '{r.alias}'",
                    hint="give one of them another name: … AS other",
                    position=position,
                )
        return self.joined(other)

    @property
    def width(self) -> int:
        """Columns of the row: all relations', hidden ones too."""
        return sum(len(r.schema) for r in self.relations)

    @property
    def schema(self) -> Schema:
        """The columns of the row, in the order of the relations."""
        return Schema(tuple(c for r in self.relations for c in r.schema))

    def renamed(self, schema: Schema) -> Scope:
        """The same names over a row of another schema (types changed by an outer join)."""
        moved = tuple(
            replace(r, schema=Schema(schema.columns[r.offset : r.offset + len(r.schema)])) for r in self.relations
        )
        return Scope(moved, self.visible)

    def names(self) -> list[str]:
        """What plain names there are, in the order of `*`."""
        columns = self.schema
        return [columns[i].name for i in self.visible]

    def star(self, name: tuple[str, ...]) -> list[Column] | None:
        """The columns that `*` (a name of no parts), or `name.*`, stands for; None when there is no such relation."""
        columns = self.schema
        if not name:
            at = list(self.visible)
        else:
            found = [r for r in self.relations if name in r.names()]
            if not found:
                return None
            at = [i for r in found for i in range(r.offset, r.offset + len(r.schema))]
        return [Column(columns[i].type, i, columns[i].name) for i in at]

    def resolve(self, parts: tuple[str, ...], position: Position | None) -> Expr:
        """`a`, `t.a`, `a.field`, `t.a.field`: the column, then fields of it; also behind the names of the database."""
        if len(parts) > 1:
            for r in self.relations:
                if r.alias == parts[0]:
                    at = [i for i, n in enumerate(r.schema.names) if n == parts[1]]
                    if len(at) == 1:
                        return fields(self._column(r, at[0]), parts[2:], position)
                    if not any(parts[0] in x.schema.names or x.is_called(parts) for x in self.relations):
                        if at:
                            raise BindError(
                                f"column '{parts[1]}' of '{parts[0]}' is ambiguous",
                                hint=_NAMED_ALIKE,
                                position=position,
                            )
                        raise BindError(
                            f"there is no column '{parts[1]}' in '{parts[0]}'",
                            hint=did_you_mean(parts[1], r.schema.names, "columns"),
                            position=position,
                        )
        columns = self.schema
        found = [i for i in self.visible if columns[i].name == parts[0]]
        if len(found) == 1:
            return fields(Column(columns[found[0]].type, found[0], parts[0]), parts[1:], position)
        if found:
            owners = sorted(
                {r.alias for r in self.relations for i in found if r.alias and 0 <= i - r.offset < len(r.schema)}
            )
            raise BindError(
                f"column '{parts[0]}' is ambiguous",
                hint="write " + " or ".join(f"{o}.{parts[0]}" for o in owners) if len(owners) > 1 else _NAMED_ALIKE,
                position=position,
            )
        for r in self.relations:
            name = r.is_called(parts)
            if name:
                return self.resolve(parts[len(name) - 1 :], position)
        if len(parts) > 1 and not any(r.alias == parts[0] for r in self.relations):
            aliases = [r.alias for r in self.relations if r.alias]
            size = next((len(n) for r in self.relations for n in r.names()[1:] if n[:-1] == parts[: len(n) - 1]), 1)
            what = "table or column" if size == 1 else "table"
            raise BindError(
                f"there is no {what} '{'.'.join(parts[:size])}' here",
                hint=f"tables here: {', '.join(aliases)}" if aliases else "there are no tables here",
                position=position,
            )
        raise BindError(
            f"there is no column '{parts[0]}'",
            hint=elsewhere(parts[0].upper()) or did_you_mean(parts[0], self.names(), "columns"),
            position=position,
        )

    def knows(self, parts: tuple[str, ...]) -> bool:
        """Whether the name means something here, be it wrong."""
        try:
            self.resolve(parts, None)
        except BindError:
            if any(r.alias == parts[0] for r in self.relations):
                return True
            # `x.a`: of a column x without fields it is not, but of a table that an outer query calls x it may be
            columns = self.schema
            return any(
                columns[i].name == parts[0] and (len(parts) == 1 or columns[i].type.kind == "ROW") for i in self.visible
            )
        return True

    def _column(self, r: Relation, i: int) -> Column:
        return Column(r.schema[i].type, r.offset + i, r.schema[i].name)


def fields(e: Expr, names: tuple[str, ...], position: Position | None) -> Expr:
    """`e.name1.name2…` into ROW types. A field of a nullable row is nullable."""
    for name in names:
        if e.type.kind != "ROW":
            how = {"ARRAY": f"{e}[1], or UNNEST({e})", "MAP": f"{e}['{name}']"}.get(e.type.kind, f"{e} alone")
            raise BindError(
                f"'{e}' is {e.type.text()}, not a ROW: it has no field '{name}'", hint=f"write {how}", position=position
            )
        at = next((i for i, f in enumerate(e.type.fields) if f.name == name), None)
        if at is None:
            raise BindError(
                f"there is no field '{name}' in '{e}'",
                hint=did_you_mean(name, [f.name for f in e.type.fields], "fields"),
                position=position,
            )
        t = e.type.fields[at].type
        e = FieldOf(t.null() if e.type.nullable else t, e, at, name)
    return e
