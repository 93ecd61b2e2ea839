"""Rows of an answer of MySQL, from the socket into Arrow's columns.

PyMySQL has sent the statement and read what the columns are. What follows are packets of rows and one that says that they have
ended, or why not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.jdbc.mysql_kernels import ENDED, FAILED, LARGE, take_apart
from sqlstream.connectors.sockets import readable
from sqlstream.connectors.values import texts_at

READ = 1 << 20  # bytes at once
TOGETHER = 8 << 20  # bytes that become a batch
_WHOLE = 0xFFFFFF  # length of a packet that goes on in the next


def rows_of_answer(connection: Any, types: Sequence[pa.DataType | None]) -> Iterator[pa.RecordBatch]:
    """The rows of what `connection` has asked, unbuffered. `types`: of the first columns (string or binary); others are strings. The
    driver's errors. Who does not take all of them cannot use the connection any more: it is closed."""
    result = connection._result
    if not result.unbuffered_active:  # no rows will come
        return
    columns = len(result.fields)
    wires = [*(t or pa.string() for t in types), *[pa.string()] * (columns - len(types))]
    rest = b""
    try:
        while True:
            data = _read(connection, rest)
            while True:
                rows, came, why = _apart(data, columns, wires)
                if rows.num_rows:
                    yield rows
                data = data[came:]
                if why == ENDED:
                    result.unbuffered_active, result.connection = False, None
                    return
                if why == FAILED:
                    result.unbuffered_active, result.connection = False, None
                    _raise(data)
                if why == LARGE:
                    row, data = _large(connection, data)
                    yield _one(row, columns, wires)
                elif not rows.num_rows:
                    break
            rest = data
    finally:
        if result.unbuffered_active:
            result.unbuffered_active, result.connection = False, None
            connection._force_close()


def _read(connection: Any, rest: bytes) -> bytes:
    """`rest`, and behind it what is there: something in any case, and no more is waited for."""
    parts, size = [rest], len(rest)
    while True:
        got = connection._rfile.read1(READ)
        if not got:
            connection._force_close()
            raise _lost()
        parts.append(got)
        size += len(got)
        if size >= TOGETHER or not readable(connection._sock, 0):
            return b"".join(parts)


def _apart(data: bytes, columns: int, wires: Sequence[pa.DataType]) -> tuple[pa.RecordBatch, int, int]:
    most = len(data) // (4 + columns) + 1
    begins, sizes, came = np.empty(most * columns, np.int64), np.empty(most * columns, np.int64), np.zeros(2, np.int64)
    block = np.frombuffer(data, np.uint8)
    n = take_apart(block, len(data), columns, most, begins, sizes, came)
    of = [slice(j, n * columns, columns) for j in range(columns)]
    arrays = [texts_at(block, begins[s], sizes[s], t) for s, t in zip(of, wires, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=[f"c{j}" for j in range(columns)]), int(came[0]), int(came[1])


def _large(connection: Any, data: bytes) -> tuple[bytes, bytes]:
    """A row of several packets, and what is behind them."""
    parts = []
    while True:
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:3], "little"):
            data += _read(connection, b"")
        length = int.from_bytes(data[:3], "little")
        parts.append(data[4 : 4 + length])
        data = data[4 + length :]
        if length < _WHOLE:
            return b"".join(parts), data


def _one(row: bytes, columns: int, wires: Sequence[pa.DataType]) -> pa.RecordBatch:
    """A batch of one row, which is larger than a packet."""
    values: list[bytes | None] = []
    at = 0
    for _ in range(columns):
        first = row[at]
        at += 1
        if first == 251:
            values.append(None)
            continue
        width = {252: 2, 253: 3, 254: 8}.get(first, 0)
        size = int.from_bytes(row[at : at + width], "little") if width else first
        at += width
        values.append(row[at : at + size])
        at += size
    arrays = [pa.array([v], pa.binary()).cast(t) for v, t in zip(values, wires, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=[f"c{j}" for j in range(columns)])


def _raise(data: bytes) -> None:
    from pymysql.err import raise_mysql_exception

    raise_mysql_exception(data[4 : 4 + int.from_bytes(data[:3], "little")])


def _lost() -> Any:
    from pymysql.err import OperationalError

    return OperationalError(2013, "Lost connection to MySQL server during query")
