"""The contract of connectors (`sqlstream.testing.connectors`), kept by a function of Python that makes an iterator."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from sqlstream.connectors.python import OBJECTS, PythonConnector
from sqlstream.connectors.python_source import StreamObject
from sqlstream.testing.connectors import Row, StreamContract

SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])


class TestIterator(StreamContract):
    connector = PythonConnector
    unable: Mapping[str, str] = {
        "kill": "the function goes with its process",
        "server": "there is none",
        "credentials": "nobody asks for any",
        "bad records": "batches of Arrow are well-formed",
    }

    def made(self) -> Mapping[str, str]:
        self.rows: list[Row] = []
        name = uuid.uuid4().hex
        OBJECTS.add(name, StreamObject(self.batches, once=False, bounded=False))
        return {"object": name}

    def batches(self) -> Iterator[pa.RecordBatch]:
        at = 0
        while True:
            new = self.rows[at : at + 100]
            at += len(new)
            yield pa.record_batch([pa.array([r[i] for r in new], SCHEMA.field(i).type) for i in (0, 1)], schema=SCHEMA)
            if not new:
                time.sleep(0.01)

    def put(self, rows: Sequence[Row]) -> None:
        self.rows += rows
