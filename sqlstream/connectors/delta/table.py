"""A Delta table by its path: opened, made, and what its files and columns are."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlstream.connectors.lake.columns import Names
from sqlstream.connectors.paths import is_local
from sqlstream.contracts import TableContext
from sqlstream.distribution import install
from sqlstream.errors import DataError, NotSupported, OptionError, RunError, SqlStreamError
from sqlstream.stores import S3, Stores
from sqlstream.types import Type

REGION = "us-east-1"  # of stores that are no AWS, which have none
PATIENCE = (
    "30s"  # with a store that does not answer: delta-rs's three minutes are longer than a job waits for a checkpoint
)
NO_COLUMNS = ("TIME", "INTERVAL_DAY", "INTERVAL_MONTH", "MULTISET")  # types that Delta has not
PROPERTIES = "delta."  # what names of the table's own properties begin with
ENFORCED = ("delta.generationExpression", "delta.invariants", "delta.identity.start")  # of a column, by who writes


class Unreached(RunError):
    """The log, or the store that it is in, could not be asked."""

    transient = True


def library() -> Any:
    """Package deltalake. OptionError where it is not installed."""
    try:
        import deltalake
    except ImportError as e:
        raise OptionError(f"connector 'delta' needs a package that is not installed: {e}", hint=install("lake")) from e
    return deltalake


@dataclass(frozen=True)
class Place:
    """Where a table is: a local path or a URL, and how its store is reached."""

    path: str
    stores: Stores
    table: str  # its name in SQL, for errors

    def open(self, version: int | str | None = None) -> Any:
        """The table, as of a version or a time ('2026-01-01T00:00:00Z'), or as it is. DataError when there is none."""
        lake = library()
        with self.reported("opened"):
            try:
                if isinstance(version, str):
                    opened = lake.DeltaTable(self.path, storage_options=self.options())
                    opened.load_as_version(version)
                    return opened
                return lake.DeltaTable(self.path, version=version, storage_options=self.options())
            except lake.exceptions.TableNotFoundError as e:
                raise self.missing() from e

    def find(self) -> Any | None:
        """The table; None when there is none."""
        lake = library()
        with self.reported("opened"):
            # is_deltatable() would hold Python's lock while it asks a store
            with contextlib.suppress(lake.exceptions.TableNotFoundError):
                return lake.DeltaTable(self.path, storage_options=self.options())
            return None

    def missing(self) -> DataError:
        """There is no table."""
        return DataError(
            f"table {self.table}: there is no Delta table at {self.path}",
            hint="check 'table-path'; an INSERT makes the table, of the columns that are declared",
        )

    @contextlib.contextmanager
    def reported(self, what: str) -> Iterator[None]:
        """delta-rs's errors become ours, with the table and what could not be done."""
        lake = library()
        try:
            yield
        except (SqlStreamError, lake.exceptions.CommitFailedError):
            raise
        except (lake.exceptions.DeltaError, OSError, ValueError) as e:
            text = str(e).strip() or type(e).__name__
            kind = Unreached if isinstance(e, OSError) else RunError
            hint = None
            if any(word in text.lower() for word in ("credential", "forbidden", "403")):
                hint = "check 's3.access-key' and 's3.secret-key' (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
            raise kind(f"table {self.table}: {self.path} could not be {what}: {text.splitlines()[0]}", hint=hint) from e

    def options(self) -> dict[str, str]:
        """How delta-rs reaches the store: what the session says; the rest it finds in the environment."""
        if self.path.partition("://")[0] not in S3:
            return {}
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION
        s, out = self.stores, {"AWS_REGION": region, "max_retries": "5", "retry_timeout": PATIENCE}
        endpoint = s.endpoint if s.endpoint is None or "://" in s.endpoint else f"https://{s.endpoint}"
        if endpoint is not None:
            out["AWS_ENDPOINT_URL"] = endpoint
        if (endpoint or os.environ.get("AWS_ENDPOINT_URL") or "").startswith("http://"):
            out["AWS_ALLOW_HTTP"] = "true"
        if s.access_key is not None:
            out["AWS_ACCESS_KEY_ID"] = s.access_key
        if s.secret_key is not None:
            out["AWS_SECRET_ACCESS_KEY"] = s.secret_key
        if endpoint is not None or os.environ.get("AWS_ENDPOINT_URL"):
            out["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"] = "false"  # stores beside AWS have no host for each bucket
        return out

    def below(self, name: str) -> str:
        """A file of the table, by its path there."""
        return name if "://" in name or name.startswith("/") else f"{self.path.rstrip('/')}/{name}"

    def sync(self, versions: range) -> None:
        """Versions of a table on a local disk are safe against a crash of the machine."""
        if not is_local(self.path) or not versions:
            return
        log = os.path.join(self.path, "_delta_log")
        for name in (*(os.path.join(log, f"{v:020d}.json") for v in versions), log):
            with contextlib.suppress(FileNotFoundError):  # somebody has made a checkpoint of it, and cleaned up
                handle = os.open(name, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)


def arrow_schema(table: TableContext) -> pa.Schema:
    """The table's columns as it declares them. NotSupported for types that Delta has not."""
    fields = []
    for c in table.schema:
        _check(c.type, f"table {table.name}: column '{c.name}'")
        fields.append(pa.field(c.name, c.type.arrow_outside(), c.type.nullable))
    return pa.schema(fields)


def _check(t: Type, where: str) -> None:
    if t.kind in NO_COLUMNS:
        raise NotSupported(
            f"{where} is {t.text()}, which Delta tables have not", hint="CAST it to STRING or BIGINT in the query"
        )
    for f in t.fields:
        _check(f.type, where)


def schema_of(opened: Any) -> pa.Schema:
    """The columns of a Delta table, as Arrow has them."""
    return pa.schema(opened.schema().to_arrow())


def names_of(opened: Any) -> Names | None:
    """What its files call the columns; None: as the table does."""
    if opened.metadata().configuration.get("delta.columnMapping.mode", "none") == "none":
        return None
    return _names({"type": "struct", "fields": _fields(opened)})


def _fields(opened: Any) -> list[Any]:
    import json

    return list(json.loads(opened.schema().to_json())["fields"])


def _names(t: Any) -> Names:
    if not isinstance(t, dict):
        return Names()
    if t["type"] == "struct":
        return Names({
            f["name"]: (f["metadata"].get("delta.columnMapping.physicalName", f["name"]), _names(f["type"]))
            for f in t["fields"]
        })  # fmt: skip
    if t["type"] == "array":
        return Names({"element": ("element", _names(t["elementType"]))})
    if t["type"] == "map":
        return Names({"key": ("key", _names(t["keyType"])), "value": ("value", _names(t["valueType"]))})
    return Names()


def check_writable(opened: Any, where: str) -> None:
    """NotSupported where who writes has to see to more than rows: conditions, generated columns, other names in files."""
    configuration: Mapping[str, str] = opened.metadata().configuration
    found = next((k for k in configuration if k.startswith("delta.constraints.")), None)
    if configuration.get("delta.columnMapping.mode", "none") != "none":
        found = "delta.columnMapping.mode"
    for f in _fields(opened):
        found = found or next((k for k in ENFORCED if k in f["metadata"]), None)
    if found is not None:
        raise NotSupported(
            f"{where}: the table has '{found}', which is not written to",
            hint="write to a table without it, and have another engine copy the rows",
        )
