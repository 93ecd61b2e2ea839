"""Where an Iceberg table is: a catalog, and the table's name there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlstream.connectors.paths import absolute, is_local
from sqlstream.contracts import TableContext
from sqlstream.distribution import install
from sqlstream.errors import DataError, OptionError, RunError, SqlStreamError
from sqlstream.secrets import shown_value
from sqlstream.stores import S3, Stores

REGION = "us-east-1"  # of stores that are no AWS, which have none
SQLITE = "sqlite:///"
MAIN = "main"


class Unreached(RunError):
    """The catalog, or a store, could not be asked."""

    transient = True


def library() -> Any:
    """Package pyiceberg. OptionError where it is not installed."""
    try:
        import pyiceberg.catalog
        import pyiceberg.exceptions
        import pyiceberg.io.pyarrow
    except ImportError as e:
        raise OptionError(
            f"connector 'iceberg' needs a package that is not installed: {e}", hint=install("lake")
        ) from e
    return pyiceberg


@dataclass(frozen=True)
class Place:
    """`properties`: the catalog's, with secrets; `identifier`: of the table, its namespace first."""

    table: str  # its name in SQL, for errors
    catalog: str
    kind: str
    identifier: tuple[str, ...]
    stores: Stores
    properties: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        """Of the table, for people."""
        return ".".join((self.catalog, *self.identifier))

    @property
    def key(self) -> str:
        """What is the same for all statements that write to the table."""
        return f"iceberg {shown_value('uri', self.properties.get('uri', ''))} {self.name}"

    def load(self) -> Any:
        """The catalog."""
        library()
        from pyiceberg.catalog import load_catalog

        with self.reported("asked"):
            # two that make the tables of a database at once: the second finds them
            for last in (False, True):
                try:
                    return load_catalog(self.catalog, **{"type": self.kind, **self.properties})
                except Exception as e:
                    if last or "already exists" not in str(e):
                        raise
        raise AssertionError

    def open(self, catalog: Any = None) -> Any:
        """The table as it is. DataError when there is none."""
        found = self.find(catalog)
        if found is None:
            raise DataError(
                f"table {self.table}: there is no Iceberg table {self.name}",
                hint="check 'catalog-database' and 'catalog-table'; an INSERT makes the table, of the columns that are declared",
            )
        return found

    def find(self, catalog: Any = None) -> Any | None:
        """The table as it is; None when there is none."""
        catalog = catalog or self.load()
        exceptions = library().exceptions
        with self.reported("loaded", catalog):
            try:
                return catalog.load_table(self.identifier)
            except (exceptions.NoSuchTableError, exceptions.NoSuchNamespaceError):
                return None

    @contextlib.contextmanager
    def reported(self, what: str, catalog: Any = None) -> Iterator[None]:
        """pyiceberg's errors become ours, with the table and what could not be done. Connections that `catalog` has made for it
        are closed: it is not asked often, and nobody says when the last time was."""
        exceptions = library().exceptions
        try:
            yield
        except (SqlStreamError, exceptions.CommitFailedException):
            raise
        except Exception as e:
            text = (str(e).strip() or type(e).__name__).splitlines()[0]
            said = f"table {self.table}: {self.name} could not be {what}: {text}"
            if isinstance(e, (exceptions.UnauthorizedError, exceptions.ForbiddenError, exceptions.OAuthError)):
                raise RunError(said, hint="check 'credential' or 'token', and what they may do in this catalog") from e
            if isinstance(e, (ImportError, exceptions.NotInstalledError)):
                hint = f"{install('lake')}, and what pyiceberg needs for a catalog of this kind: pip install 'pyiceberg[{self.kind}]'"
                raise OptionError(said, hint=hint) from e
            if isinstance(e, (ValueError, TypeError, NotImplementedError, exceptions.ValidationError)):
                raise RunError(said) from e
            raise Unreached(said) from e
        finally:
            if (engine := getattr(catalog, "engine", None)) is not None:
                engine.dispose()

    def is_ours(self, path: str) -> bool:
        """Whether a file is reached as our own files are, and not by what the catalog says."""
        return is_local(path) or (self.kind != "rest" and path.partition("://")[0] in S3)


def place(table: TableContext, kind: str, options: Mapping[str, Any], given: Mapping[str, str]) -> Place:
    """What the options of a table say. OptionError for what is missing."""
    properties = dict(given)
    for key in ("uri", "warehouse"):
        if (text := options[key]) is not None:
            properties[key] = text
    if kind in ("sql", "rest", "hive") and not properties.get("uri"):
        raise OptionError(
            f"table {table.name}: option 'uri' is missing, which says where a catalog of type '{kind}' is",
            hint={"sql": "'uri' = 'sqlite:///catalog.db'", "rest": "'uri' = 'https://…'"}.get(
                kind, "'uri' = 'thrift://…:9083'"
            ),
        )
    if kind == "sql" and properties["uri"].startswith(SQLITE):
        path = properties["uri"].removeprefix(SQLITE)
        properties["uri"] = SQLITE + absolute(path, table.working_directory)
    if "warehouse" in properties and (kind != "rest" or properties["warehouse"].startswith((".", "/"))):
        properties["warehouse"] = absolute(properties["warehouse"], table.working_directory)
    namespace = tuple(options["catalog-database"].split("."))
    identifier = (*namespace, options["catalog-table"] or table.name.rpartition(".")[2])
    return Place(
        table.name, options["catalog-name"], kind, identifier, table.stores, {**_store(table.stores), **properties}
    )


def _store(stores: Stores) -> dict[str, str]:
    """How pyiceberg reaches an S3 store, where the session says it, or the environment in a way that Arrow does not know."""
    out: dict[str, str] = {}
    endpoint = stores.endpoint or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint is not None:
        out["s3.endpoint"] = endpoint if "://" in endpoint else f"https://{endpoint}"
        out["s3.region"] = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
    if stores.access_key is not None:
        out["s3.access-key-id"] = stores.access_key
    if stores.secret_key is not None:
        out["s3.secret-access-key"] = stores.secret_key
    return out
