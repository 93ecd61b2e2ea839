"""Reads a file whose format packs rows in blocks of its own, from which reading can go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from sqlstream.connectors.derive import Derivation, conform
from sqlstream.connectors.paths import open_binary
from sqlstream.connectors.pieces import Piece, Place
from sqlstream.connectors.scanning import concat_rows
from sqlstream.duck import Given
from sqlstream.formats.base import Packed
from sqlstream.formats.cursor import scan_cursor
from sqlstream.formats.readers import METADATA

if TYPE_CHECKING:
    from sqlstream.connectors.file_reader import FileScan

_RECORDS = "packed_records"


def packed_pieces(scan: FileScan, place: Place) -> Iterator[Piece]:
    """The rows from `place` on."""
    rows = _Rows(scan)
    with open_binary(scan.path, scan.stores) as file:
        for packed in scan.decoder.packed(file, place.byte):
            if packed.rows > place.skip:
                piece = Piece(rows.of(packed), place.row, (packed.begin, 1), (packed.end, 1))
                yield piece.resumed(place.skip, 0) if place.skip else piece
            place.row, place.skip = place.row + packed.rows, max(0, place.skip - packed.rows)


class _Rows:
    """Rows of a request, with METADATA and what is derived."""

    def __init__(self, scan: FileScan) -> None:
        self._request, self._derivation = scan.request, Derivation(scan.request)
        self._statement = ""
        if any(c.path[0] == METADATA for c in scan.request.columns):
            self._given = Given(scan_cursor(scan.request), _RECORDS)
            self._statement = scan.decoder.rows(_RECORDS, scan.constants)

    def of(self, packed: Packed) -> pa.RecordBatch:
        """Those of some blocks."""
        if not packed.columns:
            one = pa.array(np.ones(packed.rows, np.int32))
            batch = pa.RecordBatch.from_arrays([one], names=["one"])
        else:
            there = (i for i, c in enumerate(self._request.columns) if c.path[0] != METADATA)
            batch = pa.RecordBatch.from_arrays(packed.columns, names=[f"c{i}" for i in there])
        if self._statement:
            return conform(concat_rows(self._given.run(self._statement, batch)), self._request)
        return self._derivation.of(conform(batch, self._request))
