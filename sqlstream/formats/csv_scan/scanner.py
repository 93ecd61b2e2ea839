"""Runs the kernel over the blocks of files, one after the other."""

from __future__ import annotations

import numpy as np

from sqlstream.formats.csv_kernels import TOTAL
from sqlstream.formats.csv_scan import layout
from sqlstream.formats.csv_scan.plan import RecordPlan
from sqlstream.formats.csv_scan.records import scan_records
from sqlstream.formats.scan.block import BlockScanner, Raw
from sqlstream.formats.scan.columns import Array, Buffers
from sqlstream.formats.scan.doubles import POWERS, TENS
from sqlstream.formats.scan.layout import ACTION, ARGUMENT, MEMO_2, NODE, PADDING, SLOT, STRING


class RecordScanner(BlockScanner):
    """Records of CSV."""

    def __init__(self, plan: RecordPlan, raw: Raw | None = None) -> None:
        super().__init__(plan, raw)
        self._fields = np.zeros((len(plan.fields) + 1, NODE), np.int64)
        self._fields[-1, layout.NUMBER] = -1
        self._fields[:, MEMO_2] = -1  # 16 bytes of 0 are no minute
        for words, field in zip(self._fields, plan.fields, strict=False):
            words[[layout.NUMBER, layout.NOT_NULL]] = field.number, field.not_null
            words[[ACTION, SLOT, STRING]] = field.action, field.slot, field.string
            words[ARGUMENT : ARGUMENT + 3] = field.arguments
        null = plan.null or b""
        self._null = np.frombuffer(null + bytes(PADDING), np.uint8)
        self._characters = plan.syntax.characters
        self._total = np.zeros(TOTAL, np.int64)
        delimiter, quote, escape = (int(c[0]) if len(c) else -1 for c in self._characters)
        state = self.state
        state[[layout.DELIMITER, layout.QUOTE, layout.ESCAPE]] = delimiter, quote, escape
        state[layout.STOP] = delimiter if escape < 0 else escape
        state[[layout.COMMENTS, layout.WIDTH]] = plan.syntax.comments, plan.syntax.width
        state[layout.NULL_SIZE] = -1 if plan.null is None else len(null)

    def line_ends(self, data: Array) -> int:
        return int(np.count_nonzero(data == 10)) or int(np.count_nonzero(data == 13))

    def run(self, data: Array, start: int, end: int, buffers: Buffers, unusual: Array) -> int:
        """As the kernel."""
        place: int = scan_records(
            data, start, end, self._fields.reshape(-1), self._null, buffers.words.reshape(-1),
            buffers.valid.reshape(-1), buffers.rows, buffers.offsets.reshape(-1), buffers.texts, buffers.region,
            buffers.filled, self.state, unusual, self._total, *self._characters, POWERS, TENS,
        )  # fmt: skip
        return place
