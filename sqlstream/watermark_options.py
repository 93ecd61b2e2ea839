"""Flink's options of tables `scan.watermark.*`: sources of a group that wait for one another, and splits that are idle.

Of any table that is read, whatever its connector: the binder takes them off before the connector sees its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlstream.errors import OptionError
from sqlstream.options import Option, converted

GROUP, MAX_DRIFT, UPDATE_INTERVAL = (
    f"scan.watermark.alignment.{name}" for name in ("group", "max-drift", "update-interval")
)
IDLE_TIMEOUT = "scan.watermark.idle-timeout"
OPTIONS = (
    Option(
        IDLE_TIMEOUT, "duration", None,
        "a split of the table without new rows for so long no longer holds the watermark back; 0: never. Without it the session's "
        "'table.exec.source.idle-timeout' counts", compared="nothing",
    ),
    Option(
        "scan.watermark.emit.strategy", "enum", "on-periodic",
        "no effect: a watermark moves with the rows that move it, at the end of their epoch", ("on-event", "on-periodic"),
        compared="nothing",
    ),
    Option(
        "scan.watermark.emit.on-event.gap", "int", 1, "no effect: as scan.watermark.emit.strategy", minimum=1, compared="nothing",
    ),
    Option(GROUP, "string", None, "the group of tables that wait for one another", compared="nothing"),
    Option(
        MAX_DRIFT, "duration", None, "how far the table's watermark may be ahead of the slowest one of the group",
        compared="nothing",
    ),
    Option(
        UPDATE_INTERVAL, "duration", 1_000_000, "no effect here: tasks tell one another how far they are with each epoch",
        compared="nothing",
    ),
)  # fmt: skip
KEYS = frozenset(o.key for o in OPTIONS)


@dataclass(frozen=True)
class Alignment:
    """`max_drift`: µs that a table's watermark may be ahead of the slowest one of its `group`."""

    group: str
    max_drift: int


def alignment_of(table: str, options: Mapping[str, str], has_watermark: bool) -> Alignment | None:
    """What a table's options say; None: it waits for nobody. OptionError where they say it by half, or of a table without a
    watermark."""
    given = {k: v for k, v in _given(table, options).items() if k.startswith("scan.watermark.alignment.")}
    if not given:
        return None
    group, drift = str(given.get(GROUP, "")).strip(), given.get(MAX_DRIFT)
    if not group or drift is None:
        there = next(iter(given))
        raise OptionError(
            f"table {table}: option '{there}' without '{MAX_DRIFT if group else GROUP}': it is aligned with nobody",
            hint=f"'{GROUP}' = 'a name', '{MAX_DRIFT}' = '1 min'",
        )
    if not has_watermark:
        raise OptionError(
            f"table {table}: option '{GROUP}' = '{group}', and it has no watermark that could run ahead",
            hint="WATERMARK FOR ts AS ts - INTERVAL '5' SECOND in CREATE TABLE",
        )
    return Alignment(group, drift)


def idle_timeout_of(table: str, options: Mapping[str, str]) -> int | None:
    """µs; None: the session's counts."""
    found: int | None = _given(table, options).get(IDLE_TIMEOUT)
    return found


def _given(table: str, options: Mapping[str, str]) -> dict[str, Any]:
    return {o.key: converted(o, options[o.key], f"table {table}: option") for o in OPTIONS if o.key in options}
