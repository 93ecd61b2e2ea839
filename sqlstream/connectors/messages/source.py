"""What sources of messages have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from sqlstream.connectors.messages.clients import Notes
from sqlstream.connectors.messages.decoder import MessageDecoder, PartFormat
from sqlstream.contracts import FAIL, ScanRequest, Source, Split, TableContext


class MessageSource(Source):
    """Of one split, unless `splits` and `settled` say otherwise. `value`: how the values of messages are written; `noted`: what there is to
    say while it is read."""

    settled = True

    def __init__(self, table: TableContext, value: PartFormat, bad_records: str) -> None:
        self.table, self._value, self.bad_records = table, value, bad_records
        self.append_only = not value.format.changelog
        self.noted = Notes()

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        return list(known) or [Split("0")]

    @property
    def reconnects(self) -> int:
        return self.noted.reconnects

    def notes(self) -> list[str]:
        return self.noted.take()

    def decoder(self, request: ScanRequest, where: str) -> MessageDecoder:
        """For one reader. `where`: what its errors begin with."""
        skips, keeps = self.bad_records != FAIL, self.bad_table is not None
        return MessageDecoder(request, self._value, None, where, skips, keeps)
