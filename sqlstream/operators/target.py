"""Target: one result of a job. Apart from the lowering, which loads every operator: batch needs targets as well."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.connectors.base import Sink as TableSink
from sqlstream.plan import nodes
from sqlstream.types import Schema


@dataclass(frozen=True)
class Target:
    """Where a query's rows go: into a table, or (no sink) to the caller."""

    plan: nodes.Node
    output: Schema
    table: str = ""
    sink: TableSink | None = None
