"""The schema that rows are written by, and where it is registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlstream.contracts import TableContext
from sqlstream.errors import OptionError
from sqlstream.formats.confluent.client import AVRO, Reference, Registry
from sqlstream.formats.confluent.framing import prefix
from sqlstream.formats.confluent.settings import registry_of


@dataclass(frozen=True)
class Import:
    """A schema that others import as `name`, which is its subject, too, as in Confluent's clients."""

    name: str
    schema: str
    imports: tuple[Import, ...] = ()


@dataclass(frozen=True)
class Written:
    """`kind`: the schema's type. `register`: it is registered if it is not there."""

    registry: Registry
    subject: str
    schema: str
    register: bool
    kind: str = AVRO
    imports: tuple[Import, ...] = ()

    @cached_property
    def prefix(self) -> bytes:
        """What stands before each record. RegistryError."""
        found = self._references(self.imports)
        return prefix(self.registry.number(self.subject, self.schema, self.register, self.kind, found))

    def _references(self, imports: tuple[Import, ...]) -> list[Reference]:
        """These, registered before what imports them."""
        made = []
        for i in imports:
            found = self._references(i.imports)
            if self.register:
                self.registry.number(i.name, i.schema, True, self.kind, found)
            made.append(self.registry.reference(i.name, i.name, i.schema, self.kind, found))
        return made


def written_as(
    name: str,
    table: TableContext,
    options: Mapping[str, Any],
    schema: str,
    kind: str = AVRO,
    imports: tuple[Import, ...] = (),
) -> Written:
    """By the options of a table whose format is called `name`. OptionError."""
    if not options[f"{name}.url"]:
        raise OptionError(
            f"table {table.name}: option '{name}.url' is missing",
            hint="what is written names the schema that a registry has: 'http://host:8081'",
        )
    subject = options[f"{name}.subject"]
    if not subject:
        raise OptionError(
            f"table {table.name}: option '{name}.subject' is missing",
            hint="under it the table's schema is registered: '<topic>-value'",
        )
    registry = registry_of(name, table.name, options, table.working_directory)
    return Written(registry, subject, schema, options[f"{name}.auto.register.schemas"], kind, imports)
