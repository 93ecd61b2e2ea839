"""Tables of the catalog as plans: a Scan of what is stored, a Project for computed columns, the watermark."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

from sqlstream.catalog import information_schema
from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.objects import Table
from sqlstream.contracts import Connector, ScanColumn, Source, TableContext
from sqlstream.errors import BindError, NotSupported, SqlStreamError, did_you_mean
from sqlstream.expressions import Call, Cast, Column, Expr, substitute
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import ExpressionBinder, check_cast
from sqlstream.plan.nodes.leaves import WATERMARK_PATH
from sqlstream.plan.scope import Scope
from sqlstream.plan.state_binder import States
from sqlstream.references import resolved
from sqlstream.sink_options import KEYS as OF_SINKS
from sqlstream.sink_options import sink_parallelism
from sqlstream.stores import ENVIRONMENT, Stores
from sqlstream.types import PROCTIME, ROWTIME, Schema, Type, timestamp_ltz
from sqlstream.types import Column as SchemaColumn
from sqlstream.watermark_options import KEYS as MARKED
from sqlstream.watermark_options import alignment_of, idle_timeout_of

PROCTIME_PATH = ("$proctime",)
PROCTIME_TYPE = timestamp_ltz(3).null(False)
ELSEWHERE = frozenset({"connector", *MARKED, *OF_SINKS})  # options that connectors do not see
MADE = (PROCTIME_PATH, WATERMARK_PATH)  # columns of a scan that no reader decodes


def context(
    table: Table, time_zone: str = "UTC", stores: Stores = ENVIRONMENT, seconds: Callable[[], float] = time.monotonic
) -> TableContext:
    """What the connector is told."""
    directory = table.working_directory or os.getcwd()
    return TableContext(
        table.name,
        table.physical(),
        {k: resolved(k, v, table.name, directory) for k, v in table.options if k not in ELSEWHERE},
        table.primary_key,
        table.partitioned_by,
        directory,
        time_zone,
        stores,
        seconds,
        table.undeclared,
        tuple((c.name, c.metadata) for c in table.columns if c.metadata is not None and not c.virtual),
    )


def connector_of(
    table: Table, time_zone: str = "UTC", stores: Stores = ENVIRONMENT, seconds: Callable[[], float] = time.monotonic
) -> tuple[Connector, TableContext]:
    """The connector, its options checked; errors name the table."""
    # here and not above: a query without tables starts in half the time without the connectors and their libraries
    from sqlstream.connectors.registry import connector

    if table.database == information_schema.NAME:
        raise NotSupported(
            f"{table.name} cannot stand here: it is what the catalog holds, as constant rows",
            hint="FROM and JOIN take it; nothing is inserted into it",
        )
    c = context(table, time_zone, stores, seconds)
    sink_parallelism(table.name, table.option_map)  # says now what is wrong with it
    return connector(c, table.option_map.get("connector")), c


class TableBinder:
    """Makes scans; one Source object a table, so that all uses of a table in a job are one scan. `states`: who knows the
    state of jobs, for sqlstream.state. `seconds`: the clock's, by which tables are paced."""

    opens = True  # its tables have rows

    def __init__(
        self,
        catalog: Catalog,
        time_zone: str = "UTC",
        stores: Stores = ENVIRONMENT,
        states: States | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.states = states
        self.catalog = catalog
        self.time_zone = time_zone
        self.stores = stores
        self._seconds = seconds
        self._sources: dict[Table, Source] = {}

    def source(self, table: Table) -> Source:
        """The table's source, one for all of its scans in a plan. Errors of the connector and its options."""
        if table not in self._sources:
            c, ctx = connector_of(table, self.time_zone, self.stores, self._seconds)
            self._sources[table] = c.source(ctx)
        return self._sources[table]

    def described(self) -> TableBinder:
        """What binds queries for their columns alone: it opens no table."""
        return _Described(self.catalog, self.time_zone, self.stores, self.states, self._seconds)

    def used(self) -> dict[str, dict[str, str]]:
        """The tables that were read so far: what a job remembers of them, by name."""
        return {t.name: t.remembered for t in self._sources}

    @property
    def sources(self) -> dict[str, Source]:
        """The tables that were read so far, by name."""
        return {t.name: s for t, s in self._sources.items()}

    def scan(self, table: Table) -> nodes.Node:
        """The table as a relation with all its declared columns."""
        return bind_table(table, self.catalog, self.source(table), self.time_zone)


class _Described(TableBinder):
    """Tables without connectors."""

    opens = False

    def source(self, table: Table) -> Source:
        return Source()


def bind_table(table: Table, catalog: Catalog, source: Source, time_zone: str = "UTC") -> nodes.Node:
    """Checks the declaration and gives the plan; BindError at the column or watermark that is wrong."""
    scan_columns: list[ScanColumn] = []
    names: list[str] = []
    physical = {c.name: c for c in table.physical()}
    for c in table.columns:
        if c.computed is not None:
            continue
        path = ("$metadata", c.metadata) if c.metadata is not None else (c.name,)
        t = physical[c.name].type if c.metadata is None else c.type
        assert t is not None
        scan_columns.append(ScanColumn(path, t))
        names.append(c.name)
    declared = list(scan_columns)
    # METADATA columns that are declared as another type than they have are cast.
    read: list[Expr] = [Column(c.type, i, n) for i, (c, n) in enumerate(zip(declared, names, strict=True))]
    if any(c.metadata is not None for c in table.columns):
        found, ctx = connector_of(table, time_zone)
        keys = found.metadata(ctx)
        for c in table.columns:
            if c.metadata is not None and c.metadata not in keys and not c.virtual:
                raise BindError(
                    f"table {table.name}: '{c.metadata}' is not metadata of this connector",
                    hint=did_you_mean(c.metadata, keys, "metadata"),
                    position=c.position,
                )
            if c.metadata is not None and c.metadata not in keys:
                raise BindError(
                    f"table {table.name}: '{c.metadata}' is not metadata of this connector",
                    hint=did_you_mean(c.metadata, keys, "metadata"),
                    position=c.position,
                )
            if c.metadata is not None and not _alike(keys[c.metadata], declared[names.index(c.name)].type):
                at, given = names.index(c.name), keys[c.metadata]
                try:
                    check_cast(given, declared[at].type)
                except SqlStreamError as error:
                    error.message = (
                        f"table {table.name}, METADATA column {c.name}, of type {given.text()}: {error.message}"
                    )
                    raise
                scan_columns[at] = ScanColumn(scan_columns[at].path, given)
                read[at] = Cast(declared[at].type, Column(given, at, c.name))
    if not scan_columns:
        # All columns are computed: the clock stands for each row's being there, since a scan gives one column at least.
        scan_columns.append(ScanColumn(PROCTIME_PATH, PROCTIME_TYPE))
        names.append("$proctime")
        declared, read = list(scan_columns), [Column(PROCTIME_TYPE, 0, "$proctime")]
    stored = Schema(tuple(SchemaColumn(n, c.type) for n, c in zip(names, declared, strict=True)))
    catalog = catalog.at(table.within)
    binder = ExpressionBinder(Scope.of(table.local_name, stored), catalog)
    exprs: list[Expr] = []
    columns: list[SchemaColumn] = []
    for c in table.columns:
        if c.computed is None:
            at = names.index(c.name)
            exprs.append(read[at])
            columns.append(SchemaColumn(c.name, declared[at].type))
            continue
        try:
            e = substitute(binder.bind(c.computed), tuple(read))
        except SqlStreamError as error:
            error.message = f"table {table.name}, computed column {c.name}: {error.message}"
            raise
        proctime = isinstance(e, Call) and e.function == "PROCTIME"
        if any(isinstance(x, Call) and x.function == "PROCTIME" for x in e.walk()):
            if PROCTIME_PATH not in [s.path for s in scan_columns]:
                scan_columns.append(ScanColumn(PROCTIME_PATH, PROCTIME_TYPE))
                names.append("$proctime")
            at = [s.path for s in scan_columns].index(PROCTIME_PATH)
            clock = Column(PROCTIME_TYPE, at, "PROCTIME()")
            e = e.transform(lambda x: clock if isinstance(x, Call) and x.function == "PROCTIME" else None)  # noqa: B023
        exprs.append(e)
        columns.append(SchemaColumn(c.name, e.type, PROCTIME if proctime else None))
    for key in table.primary_key:
        if key not in [c.name for c in columns]:
            raise BindError(
                f"table {table.name}: PRIMARY KEY column '{key}' is not there",
                hint=did_you_mean(key, [c.name for c in columns], "columns"),
            )
        if key not in physical:
            raise BindError(
                f"table {table.name}: PRIMARY KEY column '{key}' is not stored in the table",
                hint="a key is of columns that are neither computed nor METADATA",
            )
    watermark: Expr | None = None
    if table.watermark is not None:
        w = table.watermark
        schema = Schema(tuple(columns))
        if w.column not in schema.names:
            raise BindError(
                f"table {table.name}: WATERMARK FOR '{w.column}': there is no such column",
                hint=did_you_mean(w.column, schema.names, "columns"),
                position=w.position,
            )
        at = schema.names.index(w.column)
        t = schema[at].type
        if not t.is_timestamp or (t.precision or 0) > 3:
            raise BindError(
                f"table {table.name}: WATERMARK FOR '{w.column}': it must be TIMESTAMP(3) or TIMESTAMP_LTZ(3), not {t.text()}",
                hint=f"declare {w.column} TIMESTAMP(3), or compute one: ts AS CAST({w.column} AS TIMESTAMP(3))",
                position=w.position,
            )
        if columns[at].time == PROCTIME:
            raise BindError(
                f"table {table.name}: WATERMARK FOR '{w.column}': it is the processing time, which has none",
                hint="leave the watermark out: windows take p AS PROCTIME() as it is",
                position=w.position,
            )
        over = ExpressionBinder(Scope.of(table.local_name, schema), catalog).bind(w.expression)
        if over.type.kind != t.kind:
            raise BindError(
                f"table {table.name}: the watermark is {over.type.text()}, its column {t.text()}", position=w.position
            )
        watermark = substitute(over, tuple(exprs))
        columns[at] = replace(columns[at], time=ROWTIME)
    plain = all(c.computed is None for c in table.columns) and not any(isinstance(e, Cast) for e in read)
    time_column = next((i for i, c in enumerate(columns) if c.time == ROWTIME), None) if plain else None
    keyed = bool(table.primary_key) and not source.append_only
    aligned = alignment_of(table.name, table.option_map, watermark is not None)
    idle = idle_timeout_of(table.name, table.option_map)
    scan = nodes.Scan(
        table.name, source, tuple(scan_columns), tuple(names), watermark, None, time_column, keyed, aligned, idle
    )
    primary = tuple(names.index(k) for k in table.primary_key)
    rows = nodes.ChangelogNormalize(scan, primary) if keyed else scan
    return rows if plain else nodes.Project(rows, tuple(exprs), tuple(columns))


def _alike(a: Type, b: Type) -> bool:
    """Whether values are the same, whatever may be NULL."""
    return a.text().replace(" NOT NULL", "") == b.text().replace(" NOT NULL", "")
