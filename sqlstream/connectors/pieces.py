"""Pieces of a file's rows with their positions, and where a reader of blocks stands in its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from sqlstream.connectors.block_decoder import BlockDecoder
from sqlstream.connectors.blocks import Block
from sqlstream.contracts import BadRecord, Passed


@dataclass
class Piece:
    """Rows and where they begin: `place` is None for the statement, else (byte, line) of the block and after it.

    `bad`: malformed records of the block, each with how many of these rows stand before it: it is taken with the last of
    those, so that it is behind the position, or before it, as the rows around it are. `taken`: those before them. `passed`: it
    is of rows that are not read, and has none.
    """

    batch: pa.RecordBatch
    row: int
    before: tuple[int, int] | None = None
    after: tuple[int, int] | None = None
    skip: int = 0
    bad: list[tuple[BadRecord, int]] = field(default_factory=list)
    taken: int = 0
    passed: Passed | None = None

    def bad_up_to(self, rows: int) -> list[BadRecord]:
        """The malformed records that come with the first `rows` rows of it."""
        return [b for b, before in self.bad if before <= rows]

    def position(self, rows: int) -> dict[str, int]:
        """The position after the first `rows` rows of it."""
        row = self.row + rows + (self.passed.rows if self.passed else 0)
        if self.before is None or self.after is None:
            return {"row": row}
        if rows == self.batch.num_rows:
            return {"row": row, "byte": self.after[0], "line": self.after[1], "skip": 0}
        taken = self.taken + len(self.bad_up_to(rows))
        place = {"row": row, "byte": self.before[0], "line": self.before[1], "skip": self.skip + rows}
        return place | ({"bad": taken} if taken else {})

    def rest(self, rows: int) -> Piece:
        """What is left behind the first `rows` rows, without a copy."""
        left = [(b, before - rows) for b, before in self.bad if before > rows] if self.bad else self.bad
        taken = self.taken + len(self.bad) - len(left)
        return Piece(self.batch.slice(rows), self.row + rows, self.before, self.after, self.skip + rows, left, taken)

    def resumed(self, rows: int, bad: int) -> Piece:
        """What is left when a reader before this one has taken so many of the rows and of the malformed records."""
        left = [(b, max(before - rows, 0)) for b, before in self.bad[bad:]]
        return Piece(self.batch.slice(rows), self.row + rows, self.before, self.after, self.skip + rows, left, bad)


class Place:
    """Where a reader of blocks stands: `byte` of the file, its `line` (from 1) there, and the rows before it. Where its position was
    within a block, the first `skip` rows and `bad` malformed records of that are done; where it was of rows alone, these are
    counted from the start of the file."""

    def __init__(self, position: Mapping[str, int]) -> None:
        self.byte, self.line = position.get("byte", 0), position.get("line", 1)
        self.skip = position.get("skip", 0) if "byte" in position else position["row"]
        self.row, self.bad = position["row"] - self.skip, position.get("bad", 0)

    def position(self) -> dict[str, int]:
        """That of a reader that stands here."""
        place = {"row": self.row + self.skip, "byte": self.byte, "line": self.line, "skip": self.skip}
        return place | ({"bad": self.bad} if self.bad else {})

    def passed(self, size: int, lines: int) -> None:
        """Bytes and lines without records."""
        self.byte, self.line = self.byte + size, self.line + lines

    def take(self, block: Block, decoder: BlockDecoder) -> Piece | None:
        """What comes of the block that stands here; then it is passed. None: nothing that is not done."""
        batch = decoder.decode(block, self.line)
        before, after = (self.byte, self.line), (self.byte + len(block), self.line + decoder.lines)
        rows, bad, piece = batch.num_rows if batch is not None else 0, decoder.take_bad(), None
        if batch is not None and (rows > self.skip or len(bad) > self.bad):
            piece = Piece(batch, self.row, before, after, bad=bad)
            if self.skip or self.bad:
                piece = piece.resumed(min(rows, self.skip), self.bad)
        self.row, self.skip, self.bad = self.row + rows, max(0, self.skip - rows), max(0, self.bad - len(bad))
        self.byte, self.line = after
        return piece
