"""Decodes a block of whole records from memory, and finds the malformed one when it does not decode."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

from sqlstream.connectors.base import ScanRequest
from sqlstream.connectors.derive import conform
from sqlstream.errors import DataError, InternalError
from sqlstream.formats.base import Bad, Decoder
from sqlstream.formats.conversion import literal
from sqlstream.formats.cursor import Slot, own_cursor

SHOWN = 200  # characters of a malformed record in an error


def malformed(path: str, line: int, reason: str, text: str, ignore_option: str) -> DataError:
    shown = text.rstrip("\r\n")
    shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"
    return DataError(
        f"{path}, line {line}: malformed record: {reason}: {shown}",
        hint=f"'{ignore_option}' = 'true' skips such records",
    )


class BlockDecoder:
    """Decodes blocks of one file. `skipped` counts malformed records left out, when `ignore` says so."""

    def __init__(
        self, decoder: Decoder, request: ScanRequest, constants: Mapping[str, str], path: str, format: str, ignore: bool
    ) -> None:
        self._decoder = decoder
        self._request = request
        self._constants = constants
        self._path = path
        self._format = format
        self._ignore = ignore
        self._cursor = own_cursor()
        self._slot = Slot()
        self._records = decoder.records(literal(self._slot.path), block=True)
        self._prepared = False
        self.skipped = 0

    def decode(self, data: bytes, first_line: int) -> pa.RecordBatch | None:
        """The rows of `data`, whose first line is line `first_line` (from 1) of the file; None when there are none."""
        try:
            table = self._statement(data)
        except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as e:
            raise InternalError(f"{self._path}: the statement that decodes it is wrong: {e}") from e
        except duckdb.Error as e:
            table = self._salvage(data, first_line, e)
        if not table.num_rows:
            return None
        return conform(table.combine_chunks().to_batches()[0], self._request)

    def _statement(self, data: bytes) -> pa.Table:
        """Decode a block; the statement is planned once (planning costs 6 ms, as much as decoding 6,000 records)."""
        if not self._prepared:
            rows = self._decoder.rows(f"({self._records})", self._constants)
            self._cursor.execute(f"PREPARE decode_block AS {rows}")
            self._prepared = True
        with self._slot.holding(self._decoder.clean(data)):
            return self._cursor.sql("EXECUTE decode_block").to_arrow_table()

    def _salvage(self, data: bytes, first_line: int, error: duckdb.Error) -> pa.Table:
        examined = self._decoder.examine(self._cursor, data)
        if examined is not None and examined.bad:
            for bad in examined.bad:
                self._refuse(bad, first_line)
            self._cursor.register("good_records", examined.records)
            try:
                return self._cursor.sql(self._decoder.rows("good_records", self._constants)).to_arrow_table()
            except duckdb.Error as e:
                raise DataError(f"{self._path}: {_brief(e)}") from e
            finally:
                self._cursor.unregister("good_records")
        with self._slot.holding(self._decoder.clean(data)):
            try:
                self._cursor.sql(self._records).to_arrow_table()
            except duckdb.Error:
                return self._halve(data, first_line)
        raise DataError(f"{self._path}: {_brief(error)}") from error  # the records are good: a derived column is not

    def _halve(self, data: bytes, first_line: int) -> pa.Table:
        """Decode the halves, down to the single lines that do not decode."""
        try:
            return self._statement(data)
        except duckdb.Error as e:
            middle = data.rfind(b"\n", 0, max(len(data) // 2, data.find(b"\n") + 1)) + 1
            if not 0 < middle < len(data):
                self._refuse(Bad(1, _brief(e), data.decode("utf-8", "replace")), first_line)
                return self._statement(b"")
        left, right = data[:middle], data[middle:]
        return pa.concat_tables([self._halve(left, first_line), self._halve(right, first_line + left.count(b"\n"))])

    def _refuse(self, bad: Bad, first_line: int) -> None:
        if not self._ignore:
            option = f"{self._format}.ignore-parse-errors"
            raise malformed(self._path, first_line + bad.line - 1, bad.reason, bad.text, option)
        self.skipped += 1


def _brief(error: duckdb.Error) -> str:
    """DuckDB's message without the class, the SQL and the path of the block in memory."""
    text = str(error).splitlines()[0]
    for prefix in ("Invalid Input Error: ", "Conversion Error: ", "Out of Range Error: "):
        text = text.removeprefix(prefix)
    if " in file " in text or "JSON transform error" in text:
        text = text.split(": ", 1)[-1] if ": " in text else text
    return text
