"""How blocks of CSV are scanned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.formats.csv_records import CsvSyntax
from sqlstream.formats.csv_scan.plan import RecordPlan, Wanted, plan_of
from sqlstream.formats.csv_scan.raw import RawValues
from sqlstream.formats.csv_scan.records import scan_records
from sqlstream.formats.csv_scan.scanner import RecordScanner
from sqlstream.formats.scan.loading import Loading
from sqlstream.formats.scan.recipe import Recipe

LOADING = Loading(scan_records)


@dataclass(frozen=True)
class CsvRecipe(Recipe):
    """Fields of records."""

    plan: RecordPlan
    line_ends = b"\n\r"
    needs_kernel = True

    @staticmethod
    def of(wanted: Iterable[Wanted], syntax: CsvSyntax, null: str | None) -> CsvRecipe | None:
        """None where a scanner cannot find them."""
        plan = plan_of(wanted, syntax, null)
        return CsvRecipe(plan) if plan is not None else None

    @property
    def loading(self) -> Loading:
        return LOADING

    def scanner(self, cursor: duckdb.DuckDBPyConnection) -> RecordScanner:
        return RecordScanner(self.plan, RawValues(self.plan, cursor) if self.plan.raw else None)

    def joined(self, records: pa.BinaryArray) -> bytes:
        """A CR at the end of one and an LF that begins the next are two line ends."""
        behind = pc.if_else(pc.ends_with(records, pattern=b"\r"), b"\n", b"")
        return super().joined(pc.binary_join_element_wise(records, behind, b""))
