"""Names in a query: which relation and column a (possibly dotted) name means."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.errors import BindError, Position, did_you_mean
from sqlstream.expressions import Column, Expr, FieldOf
from sqlstream.types import Schema


@dataclass(frozen=True)
class Relation:
    """One FROM item: its alias (None: has none) and where its columns lie in the scope's row.

    `hidden`: columns that `*` leaves out (the second copy of a USING column).
    """

    alias: str | None
    schema: Schema
    offset: int = 0
    hidden: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Scope:
    """The relations that a clause sees, side by side as one row."""

    relations: tuple[Relation, ...] = ()

    def joined(self, other: Scope) -> Scope:
        width = self.width
        moved = tuple(Relation(r.alias, r.schema, r.offset + width, r.hidden) for r in other.relations)
        return Scope(self.relations + moved)

    @property
    def width(self) -> int:
        return sum(len(r.schema) for r in self.relations)

    @property
    def schema(self) -> Schema:
        return Schema(tuple(c for r in self.relations for c in r.schema))

    def renamed(self, schema: Schema) -> Scope:
        """The same names over a row of another schema (types changed by an outer join)."""
        return Scope(
            tuple(
                Relation(r.alias, Schema(schema.columns[r.offset : r.offset + len(r.schema)]), r.offset, r.hidden)
                for r in self.relations
            )
        )

    def names(self) -> list[str]:
        return [c.name for r in self.relations for c in r.schema]

    def resolve(self, parts: tuple[str, ...], position: Position | None) -> Expr:
        """`a`, `t.a`, `a.field`, `t.a.field`: the column, then fields of it."""
        if len(parts) > 1:
            for r in self.relations:
                if r.alias == parts[0]:
                    at = [i for i, n in enumerate(r.schema.names) if n == parts[1]]
                    if len(at) == 1:
                        return fields(self._column(r, at[0]), parts[2:], position)
                    if not any(parts[0] in x.schema.names for x in self.relations):
                        if at:
                            raise BindError(f"column '{parts[1]}' of '{parts[0]}' is ambiguous", position=position)
                        raise BindError(
                            f"there is no column '{parts[1]}' in '{parts[0]}'",
                            hint=did_you_mean(parts[1], r.schema.names, "columns"),
                            position=position,
                        )
        found = [(r, i) for r in self.relations for i, n in enumerate(r.schema.names) if n == parts[0]]
        visible = [(r, i) for r, i in found if i not in r.hidden]
        if len(visible) == 1:
            return fields(self._column(*visible[0]), parts[1:], position)
        if len(visible) > 1:
            owners = sorted({r.alias for r, _ in visible if r.alias})
            raise BindError(
                f"column '{parts[0]}' is ambiguous",
                hint="write " + " or ".join(f"{o}.{parts[0]}" for o in owners) if owners else None,
                position=position,
            )
        if len(parts) > 1 and not any(r.alias == parts[0] for r in self.relations):
            aliases = [r.alias for r in self.relations if r.alias]
            raise BindError(
                f"there is no table or column '{parts[0]}' here",
                hint=did_you_mean(parts[0], [*aliases, *self.names()], "tables and columns"),
                position=position,
            )
        raise BindError(
            f"there is no column '{parts[0]}'",
            hint=did_you_mean(parts[0], self.names(), "columns"),
            position=position,
        )

    def _column(self, r: Relation, i: int) -> Column:
        return Column(r.schema[i].type, r.offset + i, r.schema[i].name)


def fields(e: Expr, names: tuple[str, ...], position: Position | None) -> Expr:
    """`e.name1.name2…` into ROW types. A field of a nullable row is nullable."""
    for name in names:
        if e.type.kind != "ROW":
            raise BindError(f"'{e}' is {e.type.text()}, not a ROW: it has no field '{name}'", position=position)
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
