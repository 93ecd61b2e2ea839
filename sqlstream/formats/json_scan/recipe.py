"""How blocks of lines of JSON are scanned."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from sqlstream.formats.json_records import JsonRecords
from sqlstream.formats.json_scan.lines import scan_lines
from sqlstream.formats.json_scan.plan import ScanPlan, plan_of
from sqlstream.formats.json_scan.raw import RawValues
from sqlstream.formats.json_scan.scanner import LineScanner
from sqlstream.formats.scan.loading import Loading
from sqlstream.formats.scan.recipe import Recipe

LOADING = Loading(scan_lines)


@dataclass(frozen=True)
class JsonRecipe(Recipe):
    """The leaves of lines as a scanner finds them."""

    records: JsonRecords
    plan: ScanPlan

    @staticmethod
    def of(records: JsonRecords) -> JsonRecipe | None:
        """None where a scanner cannot find them."""
        plan = plan_of(records)
        return JsonRecipe(records, plan) if plan is not None else None

    @property
    def loading(self) -> Loading:
        return LOADING

    def scanner(self, cursor: duckdb.DuckDBPyConnection) -> LineScanner:
        return LineScanner(self.plan, RawValues(self.plan, cursor) if self.plan.raw else None)

    def ruled(self, records: str) -> str:
        return self.records.ruled(records)
