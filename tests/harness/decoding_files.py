"""Files of JSON or CSV read with the scanner and without it, in blocks of all sizes: what is between records, blocks and positions, and
not within a record (that is `decoding_examples.py`). The same rows, malformed records and errors; from every position on the rest of
them, whichever way has read what is before it; and from a file that grows no others."""

from __future__ import annotations

import gzip
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa

from harness import csv_lines
from harness.csv_shapes import CsvShape, a_csv_shape
from harness.decoding import FAULT, AnyShape, rows_differ, switched
from harness.decoding_examples import Found
from harness.json_lines import an_oddness, lines
from harness.json_shapes import RAISING, Shape, a_shape
from harness.seed import random_of, said
from sqlstream.connectors.registry import connector
from sqlstream.contracts import BadRecord, ScanColumn, TableContext
from sqlstream.errors import SqlStreamError
from sqlstream.formats.json import METADATA
from sqlstream.types import Column, Schema

WAYS = ("on", "off")
BOM = b"\xef\xbb\xbf"
MOST, HALVED = 300, 20  # lines: of scalars; of others, of which each malformed one is looked for by halves
BLOCKS = 20  # of which each takes the exact way some milliseconds
GROWING = 300  # bytes that are read at once of a file that grows
POLLS = (3, 10, 50, 1 << 20, 1 << 20)  # rows that are asked for at once


@dataclass(frozen=True)
class FileExample:
    """A file's bytes; `suffix` says how it is compressed, `sizes` what `blocks` has for its own."""

    number: int
    shape: AnyShape
    data: bytes
    suffix: str
    sizes: dict[str, int]

    @staticmethod
    def of(number: int, format: str = Shape.name) -> FileExample:
        rng = random_of("files", number)
        shape: AnyShape = a_csv_shape(rng) if format == CsvShape.name else a_shape(rng, flat=rng.random() < 0.85)
        request = shape.request
        # Which of a malformed line and a filter's error comes first, and, where nothing is read of a line, what is one, depends on
        # the block.
        columns = request.columns or tuple(ScanColumn((n,), t) for n, t in shape.columns)
        derived = () if any(RAISING in sql for _, sql in request.derived) or not request.columns else request.derived
        columns = tuple(c for c in columns if c.path[0] != METADATA) or columns
        if columns != request.columns:
            derived = ()
        shape = replace(shape, request=replace(request, columns=columns, derived=derived))
        sizes = {
            "FIRST": rng.choice((1, 7, 60, 200, 1000, 65_536)),
            "BLOCK": rng.choice((1, 13, 100, 400, 2000, 10_000, 1 << 23)),
            "MANY": rng.choice((1, 2)),
            "MOST_VALUES": rng.choice((1, 20, 300, 1 << 22)),
            "SAMPLE": rng.choice((1, 30, 4096)),
        }
        if isinstance(shape, CsvShape):
            shape = replace(shape, header=rng.random() < 0.2)
            data = a_csv_file(shape, sizes, rng)
        else:
            data = a_file(shape, sizes, rng)
        return FileExample(number, shape, data, rng.choice(("", "", "", ".gz", ".zst")), sizes)

    def shown(self, difference: str) -> str:
        text = "\n".join(f"  {line!r}" for line in self.data.split(b"\n"))
        how = f"{self.suffix or 'plain'}, {self.sizes}"
        return said(f"file {self.number}: {self.shape}\n{how}\n{text}\n{difference}")


def a_file(shape: Shape, sizes: dict[str, int], rng: random.Random) -> bytes:
    """Lines, some of them longer than blocks, with ends of either kind, or nothing at all."""
    if rng.random() < 0.03:
        return rng.choice((b"", b"\n", b"\r\n\r\n", b" ", BOM, BOM + b"\n", b"{", b"\n" * 500))
    legal = rng.random() < 0.5
    small = min(sizes["BLOCK"] // 50, sizes["MOST_VALUES"] // 5)  # lines a block, about
    most = min(MOST if shape.flat else HALVED, BLOCKS * (1 + small))
    found = lines(shape, an_oddness(rng, shape, legal), rng.randrange(1, most), rng).split(b"\n")
    if rng.random() < 0.4:
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(found))
            if found[at].startswith(b'{"'):
                text = rng.choice((b"y", b"\xc3\xa9", b'\\"', b"\\\\")) * rng.choice((40, 500, sizes["BLOCK"] % 20_000))
                found[at] = b'{"pad":"' + text + b'",' + found[at][1:]
    ends = rng.choice(((b"\n",), (b"\n",), (b"\r\n",), (b"\n", b"\r\n", b"\n\n")))
    data = b"".join(line + rng.choice(ends) for line in found[:-1]) + found[-1]
    if rng.random() < 0.3:
        data = data.rstrip(b"\r\n")
    return (BOM if rng.random() < 0.15 else b"") + data


def a_csv_file(shape: CsvShape, sizes: dict[str, int], rng: random.Random) -> bytes:
    """Records, with line ends of any kind; a few bytes, or none."""
    if rng.random() < 0.03:
        return rng.choice((b"", b"\n", b"\r\n\r\n", b"\r", b" ", BOM, BOM + b"\n", b'"', b"#", b"\n" * 500))
    small = min(sizes["BLOCK"] // 50, sizes["MOST_VALUES"] // 5)  # records a block, about
    data = csv_lines.block(shape, rng, min(MOST, BLOCKS * (1 + small)))
    if rng.random() < 0.3:
        data = data.rstrip(b"\r\n")
    if shape.header:
        writer = csv_lines.Writer.of(shape, always=False)
        data = writer.delimiter.join(writer.field(n.encode()) for n, _ in shape.columns) + b"\n" + data
    return (BOM if rng.random() < 0.15 else b"") + data


@dataclass
class Read:
    """What reading a file gave: `places` has after each batch its position, and how many malformed records there were so far."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    bad: list[BadRecord] = field(default_factory=list)
    places: list[tuple[dict[str, Any], int]] = field(default_factory=list)
    skipped: int = 0
    scanned: int = 0  # lines, where all of the file was read
    error: tuple[str, str, str | None] | None = None

    @property
    def rows(self) -> pa.RecordBatch | None:
        filled = [b for b in self.batches if b.num_rows]
        return pa.concat_batches(filled) if filled else None

    def after(self, row: int, bad: int) -> Read:
        """What is left behind so many rows and malformed records."""
        rows = self.rows
        rest = rows.slice(row) if rows is not None else None
        return Read([rest] if rest is not None else [], self.bad[bad:], error=self.error)

    def differs(self, other: Read) -> str | None:
        for read in (self, other):
            if read.error is not None and read.error[0] == FAULT:
                return read.error[1]
        if self.error != other.error:
            return f"error {self.error}\n   but {other.error}"
        if self.error is not None:
            return None  # how many rows came before it is open
        if self.bad != other.bad:
            return f"malformed {self.bad}\n      but {other.bad}"
        return rows_differ(self.rows, other.rows)


def source_of(example: FileExample, path: Path, clock: Clock | None = None) -> Any:
    shape, text = example.shape, {True: "true", False: "false"}
    options = {"path": str(path), "format": shape.name} | {
        k: v if isinstance(v, str) else text[bool(v)] for k, v in shape.options.items() if v is not None
    }
    if shape.keeps:
        del options[f"{shape.name}.ignore-parse-errors"]
        options["source.bad-records"] = "bad"
    if clock is not None:
        options["source.monitor-interval"] = "1 s"
    columns = Schema(tuple(Column(n, t) for n, t in shape.columns))
    table = TableContext("t", columns, options, working_directory=str(path.parent))
    source: Any = connector(table, "filesystem").source(table)
    if clock is not None:
        source.clock = clock
    return source


class Clock:
    """That of a file that grows."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def sized(sizes: dict[str, int]) -> Iterator[None]:
    """Blocks of other sizes than usual."""
    with ExitStack() as stack:
        for name, size in sizes.items():
            stack.enter_context(mock.patch(f"sqlstream.connectors.blocks.{name}", size))
        stack.enter_context(mock.patch("sqlstream.connectors.growing.BLOCK", max(sizes["BLOCK"], GROWING)))
        yield


def taken(reader: Any, into: Read, rng: random.Random, patience: int | None = None) -> None:
    """All that a reader has. Of a file that grows: all that it has now, which is asked for until nothing came `patience` times."""
    nothing = 0
    try:
        while not reader.finished and (patience is None or nothing < patience):
            got = reader.poll(rng.choice(POLLS))
            if got is None:
                nothing += 1
                continue
            got.batch.validate(full=True)
            into.batches.append(got.batch)
            into.bad += got.bad
            into.places.append((got.position, len(into.bad)))
    except SqlStreamError as e:
        into.error = (type(e).__name__, e.message, e.hint)
    except Exception as e:  # no user may see such a one
        into.error = (FAULT, f"{type(e).__name__}: {e}", None)


def read(example: FileExample, path: Path, way: str, rng: random.Random, position: Any = None) -> Read:
    found = Read()
    with switched(way):
        source = source_of(example, path)
        (split,) = source.splits()
        reader = source.reader(split, position, example.shape.request)
        try:
            taken(reader, found, rng)
        finally:
            reader.close()
        found.skipped = reader.skipped_records
        found.scanned = reader._decoding.scanned if reader._decoding is not None else 0
    return found


def grown(example: FileExample, path: Path, way: str, rng: random.Random) -> Read:
    """The file written piece by piece, and now and then read on by another reader, of either way."""
    data, found = example.data, Read()
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 8)))
    path.write_bytes(data[: cuts[0]])
    clock = Clock()
    source, position, split, reader = source_of(example, path, clock), None, None, None
    for begin, end in zip(cuts, [*cuts[1:], len(data)], strict=True):
        if reader is None:
            with switched(rng.choice(WAYS) if way == "both" else way):
                if split is not None:
                    source = source_of(example, path, clock)
                (split,) = source.splits(
                    () if split is None else (split,), {} if split is None else {split.id: position}
                )
                reader = source.reader(split, position, example.shape.request)
        with switched(way if way != "both" else rng.choice(WAYS)):
            clock.now += 2
            taken(reader, found, rng, 1)
        if found.error is not None:
            break
        if found.places and rng.random() < 0.3:
            position = found.places[-1][0]
            reader.close()
            reader = None
        with path.open("ab") as file:
            file.write(data[begin:end])
    return _finished(example, path, found, source, split, reader, position, clock, rng, way)


def _finished(
    example: FileExample, path: Path, found: Read, source: Any, split: Any, reader: Any, position: Any, clock: Clock,
    rng: random.Random, way: str,
) -> Read:  # fmt: skip
    with switched("on" if way == "both" else way):
        if reader is None:
            source = source_of(example, path, clock)
            source.splits((split,), {split.id: position})
            reader = source.reader(split, position, example.shape.request)
        if found.error is None:
            clock.now += 2
            taken(reader, found, rng, 3 + len(example.data) // GROWING)  # a block may have no rows
        reader.close()
    return found


def check_file(example: FileExample) -> Found:
    """The file in all ways."""
    found, rng = Found(lines=example.data.count(b"\n")), random_of("reads", example.number)
    with tempfile.TemporaryDirectory() as scratch, sized(example.sizes):
        path = Path(scratch) / f"f.{example.shape.name}{example.suffix}"
        path.write_bytes(compressed(example, rng))
        whole = {way: read(example, path, way, rng) for way in WAYS}
        found.scanned = whole["on"].scanned
        difference = next(_differences(example, path, whole, rng), None)
        if difference is not None:
            found.differences.append(example.shown(": ".join(difference)))
    return found


def _differences(
    example: FileExample, path: Path, whole: dict[str, Read], rng: random.Random
) -> Iterator[tuple[str, str]]:
    """How it was read, and what of it is wrong. `whole`: as it was read from its beginning to its end."""
    exact = whole["off"]
    if (difference := whole["on"].differs(exact)) is not None:
        yield "scanner", difference
    if whole["on"].error is None and whole["on"].skipped != exact.skipped:
        yield "skipped", f"{whole['on'].skipped}, but {exact.skipped}"
    for way, before in whole.items():
        for position, bad in rng.sample(before.places, min(2, len(before.places))):
            if "byte" in position and not _is_line(example, position):
                yield f"position of {way}", str(position)
            then = rng.choice(WAYS)
            rest = read(example, path, then, rng, position)
            if (difference := rest.differs(exact.after(position["row"], bad))) is not None:
                yield f"{then} from {position} of {way}", difference
    if example.suffix or not example.data:
        return
    mark = len(BOM) if example.data.startswith(BOM) else 0
    ends = mark + example.shape.decoder().cut(example.data[mark:])
    path.write_bytes(example.data[:ends])
    exact = read(example, path, "off", rng)
    path.unlink()
    for way in ("on", "both"):
        if (difference := grown(example, path, way, rng).differs(exact)) is not None:
            yield f"growing, {way}", difference
        path.unlink()


def _is_line(example: FileExample, position: dict[str, Any]) -> bool:
    """Whether a position's line is what begins at its byte, or the file ends there."""
    before, line = example.data[: position["byte"]], position["line"] - 1
    ends = (b"\n", b"\r") if example.shape.name == CsvShape.name else b"\n"
    return example.shape.decoder().lines(before) == line and (
        before.endswith(ends) or before in (b"", BOM, example.data)
    )


def compressed(example: FileExample, rng: random.Random) -> bytes:
    """As the file is; an archive may have several members."""
    if not example.suffix:
        return example.data
    cut = rng.randrange(len(example.data) + 1) if rng.random() < 0.5 else 0
    parts = [example.data[:cut], example.data[cut:]] if cut else [example.data]
    if example.suffix == ".gz":
        return b"".join(gzip.compress(p, 1, mtime=0) for p in parts)
    return b"".join(pa.compress(p, "zstd", asbytes=True) for p in parts)
