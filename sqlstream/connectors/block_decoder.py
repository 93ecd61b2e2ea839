"""Decodes a block of whole records from memory, and finds the malformed one when it does not decode."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping

import duckdb
import pyarrow as pa

from sqlstream.connectors.blocks import BOM, Block
from sqlstream.connectors.derive import Derivation, conform
from sqlstream.connectors.scanning import Scanning, concat_rows
from sqlstream.contracts import BadRecord, ScanRequest
from sqlstream.duck import FAILURES, Given
from sqlstream.errors import DataError, InternalError
from sqlstream.formats.base import Bad, Decoder, Malformed
from sqlstream.formats.conversion import reason_of
from sqlstream.formats.cursor import Slot, scan_cursor
from sqlstream.formats.readers import LONGEST_OBJECT, METADATA

FREE = 4  # tools of a request that wait to be used
SHOWN = 200  # characters of a malformed record in an error


def malformed(path: str, line: int, reason: str, text: str, hint: str) -> DataError:
    """The error that names a record by its file and line (from 1), with the beginning of its text."""
    shown = text.rstrip("\r\n")
    shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"
    return DataError(
        f"{path}, line {line}: malformed record: {reason}: {shown}",
        hint=hint,
    )


class BlockTools:
    """The statement that decodes the blocks of a request's files, planned once. For one thread at a time."""

    def __init__(self, decoder: Decoder, request: ScanRequest, constants: Mapping[str, str]) -> None:
        self.cursor = scan_cursor(request)
        self.slot = Slot()
        self.given = Given(self.cursor, "fields")
        self.records = decoder.records((self.slot.path,), block=True)
        self.rows = decoder.rows(f"({self.records})", constants)
        self._decoder, self._constants = decoder, constants
        self._prepared = False
        self._texts = decoder.texts()
        self._derivation = Derivation(request) if self._texts is not None else None
        self.scanning = Scanning(decoder, request, constants, self.cursor, self.records_of)

    def records_of(self, data: bytes) -> pa.Table:
        """The records layer of whole records."""
        fields = self._decoder.fields(data)
        if fields is not None:
            return self.given.run(self.records, fields)
        with self.slot.holding(self._decoder.exact(data)):
            return self.cursor.sql(self.records).to_arrow_table()

    def run(self, data: bytes) -> pa.Table:
        """Decode a block; the statement that reads files is planned once (this costs 6 ms, as much as decoding 6,000
        records)."""
        fields = self._decoder.fields(data)
        if fields is not None:
            return self.given.run(self.rows, fields)
        if len(data) > LONGEST_OBJECT:  # perhaps of one record: DuckDB is told how long that may be, in quotes and all
            records = self._decoder.records((self.slot.path,), block=True, longest=2 * len(data))
            with self.slot.holding(self._decoder.exact(data)):
                return self.cursor.sql(self._decoder.rows(f"({records})", self._constants)).to_arrow_table()
        if not self._prepared:
            texts = self._texts is not None
            sql = self._decoder.resumed_texts(self.slot.path, self._constants, 0) if texts else self.rows
            self.cursor.execute(f"PREPARE decode_block AS {sql}")
            self._prepared = True
        with self.slot.holding(self._decoder.exact(data)):
            table = self.cursor.sql("EXECUTE decode_block").to_arrow_table()
        if self._texts is None or self._derivation is None:
            return table
        return pa.Table.from_batches([self._derivation.of(self._texts.values(concat_rows(table), self.cursor))])


class ToolPool:
    """Tools of one source, lent to one reader after another: small files cost no planning each. From any thread."""

    def __init__(self) -> None:
        self._free: dict[tuple[ScanRequest, tuple[tuple[str, str], ...]], deque[BlockTools]] = {}

    def take(self, decoder: Decoder, request: ScanRequest, constants: Mapping[str, str]) -> BlockTools:
        """Tools for a request, lent until `give`: such as are free, or new ones."""
        try:
            return self._of(request, constants).pop()
        except IndexError:
            return BlockTools(decoder, request, constants)

    def give(self, tools: BlockTools, request: ScanRequest, constants: Mapping[str, str]) -> None:
        """Takes tools back, in order for the next one."""
        if not _used(request):  # else they are for one file
            self._of(request, constants).append(tools)

    def _of(self, request: ScanRequest, constants: Mapping[str, str]) -> deque[BlockTools]:
        key = (request, tuple(constants.items()) if _used(request) else ())
        return self._free.setdefault(key, deque(maxlen=FREE))


def _used(request: ScanRequest) -> bool:
    """Whether the request asks for what differs from file to file."""
    return any(c.path[0] == METADATA for c in request.columns)


class BlockDecoder:
    """Decodes blocks of one file. Malformed records are errors, or (`skips`) left out and counted; `keeps`: and handed
    over by `take_bad`."""

    def __init__(
        self,
        decoder: Decoder,
        request: ScanRequest,
        constants: Mapping[str, str],
        path: str,
        format: str,
        skips: bool,
        pool: ToolPool,
        keeps: bool = False,
        undeclared: bool = False,
    ) -> None:
        self.decoder = decoder
        self._request = request
        self._constants = constants
        self._path = path
        self._format = format
        self._skips, self._keeps, self._undeclared = skips, keeps, undeclared
        self._pool = pool
        self._lent: BlockTools | None = None
        self.skipped = 0
        self.scanned = 0  # lines of which no statement has made the values
        self.left = 0  # blocks that the scanner did not take, as most lines were unusual
        self.lines = 0  # that ended in the block that was decoded last
        self._bad: list[tuple[BadRecord, int]] = []

    def take_bad(self) -> list[tuple[BadRecord, int]]:
        """The malformed records of the block that was decoded last, in order, with how many of its rows stand before
        each."""
        taken, self._bad = self._bad, []
        return taken

    @property
    def _tools(self) -> BlockTools:
        if self._lent is None:
            self._lent = self._pool.take(self.decoder, self._request, self._constants)
        return self._lent

    def rest(self) -> None:
        """Others may use its tools until the next block."""
        if self._lent is not None:
            self._pool.give(self._lent, self._request, self._constants)
            self._lent = None

    def decode(self, block: Block | bytes, first_line: int) -> pa.RecordBatch | None:
        """The rows of a block, whose first line is line `first_line` (from 1) of the file; None when there are none, and no
        malformed records that are kept."""
        block = block if isinstance(block, Block) else Block.of(block)
        scanning = self._tools.scanning
        decoded = scanning.decode(block)
        self.left += scanning.left
        if decoded is None:
            return self._decoded(block.bytes(), first_line)
        self.scanned += scanning.taken
        self.lines = scanning.lines
        for bad in decoded.bad:
            self._refuse(bad, first_line, bad.after)
        return conform(decoded.rows, self._request) if decoded.rows.num_rows or self._bad else None

    def _decoded(self, data: bytes, first_line: int) -> pa.RecordBatch | None:
        """By the statement."""
        self.lines = self.decoder.lines(data)
        if not self.decoder.byte_order_mark and data.startswith(BOM):
            data, first_line = (
                b"\n" + data,
                first_line - 1,
            )  # DuckDB passes over one where data begin: a file's own is gone here
        try:
            table = self._statement(data)
        except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as e:
            raise InternalError(f"{self._path}: the statement that decodes it is wrong: {e}") from e
        except (*FAILURES, Malformed) as e:
            table = self._salvage(data, first_line, e)
        if not table.num_rows and not self._bad:
            return None
        return conform(concat_rows(table), self._request)

    def _statement(self, data: bytes) -> pa.Table:
        return self._tools.run(data)

    def _salvage(self, data: bytes, first_line: int, error: Exception) -> pa.Table:
        examined = self.decoder.examine(self._tools.cursor, data)
        if examined is not None and examined.bad:
            for bad in examined.bad:
                self._refuse(bad, first_line, bad.after)
            self._tools.cursor.register("good_records", examined.records)
            try:
                rows = self._tools.cursor.sql(self.decoder.rows("good_records", self._constants)).to_arrow_table()
                if rows.num_rows != examined.records.num_rows:  # a record is not a row: they come behind all of them
                    self._bad = [(b, rows.num_rows) for b, _ in self._bad]
                return rows
            except FAILURES as e:
                raise DataError(f"{self._path}: {brief(e)}") from e
            finally:
                self._tools.cursor.unregister("good_records")
        if not self._are_good(data):
            return self._halve(data, first_line)
        raise DataError(f"{self._path}: {brief(error)}") from error  # the records are good: a derived column is not

    def _are_good(self, data: bytes) -> bool:
        """Whether all records decode."""
        try:
            self._tools.records_of(data)
        except (*FAILURES, Malformed):
            return False
        return True

    def _halve(self, data: bytes, first_line: int, before: int = 0) -> pa.Table:
        """Decode the halves, down to the single lines that do not decode. `before`: rows of the block before `data`."""
        try:
            return self._exact_rows(data)
        except FAILURES as e:
            middle = data.rfind(b"\n", 0, max(len(data) // 2, data.find(b"\n") + 1)) + 1
            if not 0 < middle < len(data):
                if self._are_good(data):
                    raise DataError(f"{self._path}: {brief(e)}") from e  # a derived column is not
                self._refuse(Bad(1, brief(e), data.rstrip(b"\r\n")), first_line, before)
                return self._exact_rows(b"")
        left, right = data[:middle], data[middle:]
        rows = self._halve(left, first_line, before)
        return pa.concat_tables([rows, self._halve(right, first_line + left.count(b"\n"), before + rows.num_rows)])

    def _exact_rows(self, data: bytes) -> pa.Table:
        """Of exactly the engine's types: DuckDB calls UTC by another name from block to block."""
        return pa.Table.from_batches([conform(concat_rows(self._statement(data)), self._request)])

    def _beyond_sample(self, reason: str) -> str | None:
        """What to do about a value that is not of the type that the files' beginnings have told."""
        field = re.match(r"field ([^:.]+): .* is not a", reason, re.S)
        if not self._undeclared or field is None:
            return None
        function = "read_" + self._format.replace("-", "_")
        return (
            f"the columns were told from the beginning of the files; {function}('…', types => '`{field[1]}` STRING') "
            "reads it as text, 'schema.sample-size' looks further"
        )

    def _refuse(self, bad: Bad, first_line: int, rows: int) -> None:
        """`rows`: those of the block that stand before it."""
        line = first_line + bad.line - 1
        if not self._skips:
            hint = (
                self.decoder.hint(bad.reason)
                or self._beyond_sample(bad.reason)
                or (
                    f"'{self._format}.ignore-parse-errors' = 'true' skips such records, and 'source.bad-records' = 'a table' "
                    "writes them there"
                )
            )
            raise malformed(self._path, line, bad.reason, bad.text, hint)
        self.skipped += 1
        if self._keeps:
            self._bad.append((BadRecord(self._path, line, bad.reason, bad.record), rows))


def brief(error: Exception) -> str:
    """DuckDB's message without the class, the SQL and the path of the block in memory."""
    text = reason_of(error)
    if " in file " in text or "JSON transform error" in text:
        text = text.split(": ", 1)[-1] if ": " in text else text
    return text
