"""A table of a database as its catalog has it: its name as it is there, its columns and their types, its unique keys.

Names are looked for as they are written and, when there is none, without regard to case: most databases do not regard it
themselves, or make small letters of names that are not quoted, and Flink's dialect does not quote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlstream.errors import OptionError, did_you_mean


@dataclass(frozen=True)
class DbColumn:
    """A column there. `base`: the name of its type, which says how it is read (of PostgreSQL below domains: `int4`; of arrays
    `_int4`), `type`: as one writes it, `scale`: digits behind the point, of decimals and, where they are declared, of seconds; None
    when it has none. `given`: the server makes its values itself, always."""

    name: str
    base: str
    type: str
    scale: int | None
    not_null: bool
    given: bool


@dataclass(frozen=True)
class DbTable:
    """A table, or what is read like one. `sql`: its name in statements. `unique`: sets of columns that tell rows from each other.
    `key`: the primary key."""

    schema: str
    name: str
    sql: str
    columns: dict[str, DbColumn]
    unique: tuple[frozenset[str], ...]
    key: tuple[str, ...]

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


def meanings(name: str, quote: str = '"') -> list[tuple[str | None, str]]:
    """(schema, table): what option 'table-name' may mean, the likeliest first: `t`, `schema.t`, parts in quotes or not."""
    q = re.escape(quote)
    part = f"(?:{q}((?:[^{q}]|{q}{q})+){q}|([^{q}.]+))"
    found = re.fullmatch(f"{part}(?:\\.{part})?", name)
    whole: list[tuple[str | None, str]] = [(None, name)]
    if found is None:
        return whole
    first = found[1].replace(2 * quote, quote) if found[1] is not None else found[2]
    second = found[3].replace(2 * quote, quote) if found[3] is not None else found[4]
    return [(None, first), *whole] if second is None else [(first, second), *whole]


def nearest(name: str, names: list[str], where: str) -> str | None:
    """Of names that are there the one that is meant: as it is written, or the only one in another case. OptionError for several."""
    if name in names:
        return name
    near = [n for n in names if n.lower() == name.lower()]
    if len(near) > 1:
        raise OptionError(f"{where}: '{name}' may mean {', '.join(sorted(near))}", hint="write the name as it is there")
    return near[0] if near else None


def whole_numbers(**bits: int) -> dict[str, tuple[int, int]]:
    """The ranges of types, by their bits; below 0: of those without a sign."""
    return {n: (0, 2**-b - 1) if b < 0 else (-(2 ** (b - 1)), 2 ** (b - 1) - 1) for n, b in bits.items()}
