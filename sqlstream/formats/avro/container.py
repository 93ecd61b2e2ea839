"""Object container files (https://avro.apache.org/docs/1.12.0/specification/#object-container-files): a header with the schema, the codec
and a mark of 16 bytes, then blocks of records, each compressed by itself and followed by the mark. So reading goes on at any block.

Records of a block lie one behind the other without their sizes; several blocks are taken in by one run of the compiled loop.
"""

from __future__ import annotations

import bz2
import lzma
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa

from sqlstream.errors import DataError, NotSupported
from sqlstream.formats.avro.decoder import RecordReader
from sqlstream.formats.avro.encoder import RecordWriter
from sqlstream.formats.avro.layout import FREE_ITEMS
from sqlstream.formats.avro.schema import Node, SchemaError, parse
from sqlstream.formats.base import Packed, Part
from sqlstream.formats.scan.layout import PADDING

MAGIC = b"Obj\x01"
SYNC = 16  # bytes of a mark
BLOCK = 64_000  # bytes of records in a block that is written: Java's
AT_ONCE = 2 * 2**20  # bytes of records that are decoded together
CHUNK = 2**20  # bytes that are read at once
_LONGEST_NUMBER = 10  # bytes


def _snappy(data: bytes) -> bytes:
    """With the checksum of what comes out behind it."""
    size, shift, at = 0, 0, 0
    while True:  # how long it will be stands before it
        size |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            break
    out: bytes = pa.Codec("snappy").decompress(data[:-4], size, asbytes=True)
    if zlib.crc32(out) != int.from_bytes(data[-4:], "big"):
        raise ValueError("its checksum is wrong")
    return out


def _to_snappy(data: bytes) -> bytes:
    return bytes(pa.Codec("snappy").compress(data, asbytes=True)) + zlib.crc32(data).to_bytes(4, "big")


def _deflated(data: bytes) -> bytes:
    made = zlib.compressobj(6, zlib.DEFLATED, -15)
    return made.compress(data) + made.flush()


def _unzstd(data: bytes) -> bytes:
    return bytes(pa.CompressedInputStream(pa.BufferReader(data), "zstd").read())


Codec = Callable[[bytes], bytes]
# How blocks are read and written, by the names of the specification.
CODECS: dict[str, tuple[Codec, Codec]] = {
    "null": (bytes, bytes),
    "deflate": (lambda data: zlib.decompress(data, -15), _deflated),
    "snappy": (_snappy, _to_snappy),
    "zstandard": (_unzstd, lambda data: bytes(pa.Codec("zstd").compress(data, asbytes=True))),
    "bzip2": (bz2.decompress, bz2.compress),
    "xz": (lzma.decompress, lzma.compress),
}


@dataclass(frozen=True)
class Header:
    """`size`: its bytes, behind which the first block begins."""

    schema: Node
    codec: str
    sync: bytes
    size: int


class _Input:
    """The bytes of a file from where it stands on, taken in by chunks. `at`: where the next one stands in the file."""

    def __init__(self, file: Any, at: int) -> None:
        self._file, self._data, self._next, self.at = file, b"", 0, at

    def take(self, size: int) -> bytes:
        """So many, or as many as are left."""
        while len(self._data) - self._next < size:
            more = bytes(self._file.read(max(CHUNK, size - (len(self._data) - self._next))))
            if not more:
                break
            self._data, self._next = self._data[self._next :] + more, 0
        taken = self._data[self._next : self._next + size]
        self._next, self.at = self._next + len(taken), self.at + len(taken)
        return taken

    def number(self) -> int | None:
        """A zigzag number; None at the end of the file."""
        value, shift = 0, 0
        for n in range(_LONGEST_NUMBER):
            b = self.take(1)
            if not b:
                if n:
                    raise _torn()
                return None
            value |= (b[0] & 127) << shift
            if b[0] < 128:
                return (value >> 1) ^ -(value & 1)
            shift += 7
        raise DataError("it is damaged: a number has more than ten bytes")

    def whole(self, size: int | None) -> bytes:
        """All of them."""
        if size is None or size < 0 or len(taken := self.take(size)) < size:
            raise _torn()
        return taken


def _torn() -> DataError:
    return DataError(
        "it ends within a block", hint="it was cut, or is still being written: it is read when it is whole"
    )


def read_header(file: Any) -> Header:
    """Of a file that stands at its beginning. DataError where it is none; NotSupported where its codec is not known."""
    data = _Input(file, 0)
    if data.take(len(MAGIC)) != MAGIC:
        raise DataError(
            "it is not an Avro file: it does not begin with Obj1", hint="'format' says how files are written"
        )
    entries: dict[str, bytes] = {}
    while count := data.number():
        if count < 0:
            count = -count
            data.number()  # the block's size
        for _ in range(count):
            key = data.whole(data.number()).decode("utf-8", "replace")
            entries[key] = data.whole(data.number())
    codec = entries.get("avro.codec", b"null").decode("utf-8", "replace")
    if codec not in CODECS:
        raise NotSupported(f"its blocks are compressed by '{codec}'", hint=f"there are: {', '.join(CODECS)}")
    try:
        schema = parse(entries.get("avro.schema", b"").decode("utf-8", "replace"))
    except SchemaError as e:
        raise DataError(f"it is damaged: its header's schema: {e}") from None
    sync = data.whole(SYNC)
    return Header(schema, codec, sync, data.at)


def is_whole(file: Any) -> bool:
    """Whether it has a header, and its last block ends."""
    try:
        header = read_header(file)
    except DataError:
        return False
    size: int = file.seek(0, 2)
    if size < header.size:
        return False
    file.seek(size - SYNC)
    return bytes(file.read(SYNC)) == header.sync


@dataclass(frozen=True)
class _Block:
    begin: int
    end: int
    rows: int
    data: bytes  # its records


def _blocks(file: Any, header: Header, begin: int) -> Iterator[_Block]:
    """From the one that begins at a byte on."""
    file.seek(begin)
    data, decompressed = _Input(file, begin), CODECS[header.codec][0]
    while True:
        at = data.at
        rows = data.number()
        if rows is None:
            return
        packed = data.whole(data.number())
        if rows < 0 or data.whole(SYNC) != header.sync:
            raise DataError(f"it is damaged: the block at byte {at:,} does not end with the file's mark")
        try:
            records = decompressed(packed)
        except (ValueError, OSError, EOFError, IndexError, zlib.error, lzma.LZMAError, pa.ArrowException) as e:
            raise DataError(f"it is damaged: the block at byte {at:,} cannot be decompressed: {e}") from e
        if rows > len(records) + FREE_ITEMS:
            raise DataError(f"it is damaged: the block at byte {at:,} is said to have {rows:,} records")
        yield _Block(at, data.at, rows, records)


def read_blocks(file: Any, header: Header, begin: int, reader: RecordReader) -> Iterator[Packed]:
    """The records from the block on that begins at byte `begin`; 0: from the first one. DataError where one is malformed."""
    some: list[_Block] = []
    size = 0
    for block in _blocks(file, header, begin or header.size):
        if some and size + len(block.data) > AT_ONCE:
            yield _decoded(some, reader)
            some, size = [], 0
        some.append(block)
        size += len(block.data)
    if some:
        yield _decoded(some, reader)


def _decoded(blocks: list[_Block], reader: RecordReader) -> Packed:
    counts = np.array([b.rows for b in blocks], np.int64)
    lengths = np.array([len(b.data) for b in blocks], np.int64)
    full = counts > 0
    total = int(counts.sum())
    data = np.frombuffer(b"".join(b.data for b in blocks) + bytes(PADDING), np.uint8)
    begins, sizes = np.full(total, -1, np.int64), np.zeros(total, np.int64)
    firsts = (np.cumsum(counts) - counts)[full]
    begins[firsts], sizes[firsts] = (np.cumsum(lengths) - lengths)[full], lengths[full]
    arrays, _, reasons = reader.read(data, begins, sizes, together=True)
    if reasons:
        row = min(reasons)
        at = int(np.searchsorted(np.cumsum(counts), row, "right"))
        within = row - int(counts[:at].sum()) + 1
        raise DataError(f"block at byte {blocks[at].begin:,}, record {within:,}: malformed record: {reasons[row]}")
    return Packed(blocks[0].begin, blocks[-1].end, total, arrays)


class AvroPart(Part):
    """A container file that is written. `schema`: by which."""

    def __init__(self, file: IO[bytes], schema: str, codec: str, writer: RecordWriter) -> None:
        self._file, self._compressed, self._writer = file, CODECS[codec][1], writer
        self._sync = uuid.uuid4().bytes
        header = {"avro.schema": schema.encode(), "avro.codec": codec.encode()}
        entries = b"".join(_text(k.encode()) + _text(v) for k, v in header.items())
        file.write(MAGIC + _number(len(header)) + entries + _number(0) + self._sync)

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        data, sizes = self._writer.packed(batch.columns, batch.num_rows)
        ends = np.cumsum(sizes)
        row = at = 0
        while row < len(ends):
            until = max(int(np.searchsorted(ends, at + BLOCK, "right")), row + 1)
            end = int(ends[until - 1])
            packed = self._compressed(data[at:end].tobytes())
            self._file.write(_number(until - row) + _number(len(packed)) + packed + self._sync)
            row, at = until, end


def _number(n: int) -> bytes:
    """A count, zigzag."""
    n, out = n << 1, bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _text(data: bytes) -> bytes:
    return _number(len(data)) + data
