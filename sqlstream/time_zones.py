"""A zone's local time, for whole arrays: from instants to local time and back, as DuckDB's own zones have it.

Instants and local times are µs. Local time jumps: forward, so that some local times never come, and back, so that
some come twice. What has a local time as its end must wait for the second time that it comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sqlstream import duck
from sqlstream.types import ROWTIME

Array = npt.NDArray[np.int64]

# Zones in which local time is that of UTC.
_UTC = frozenset(
    ("UTC", "Etc/UTC", "UCT", "Etc/UCT", "GMT", "Etc/GMT", "Zulu", "Etc/Zulu", "Universal", "Etc/Universal")
)
_SECOND, _DAY = 1_000_000, 86_400_000_000
_NEVER = np.int64(2**62)  # beyond it are marks for the beginning and the end of time, which are in no zone
_YEARS = ("1900-01-01", "2200-01-01")  # between which a zone's offset changes


@dataclass(frozen=True)
class TimeZone:
    """`jumps[i]` is the instant at which the offset becomes `offsets[i + 1]`; before the first it is `offsets[0]`."""

    jumps: Array
    offsets: Array

    @property
    def is_utc(self) -> bool:
        """Whether local time is always UTC, so that nothing need be computed."""
        return not len(self.jumps) and not self.offsets[0]

    def local(self, instants: Array) -> Array:
        """The local time at each instant."""
        if self.is_utc:
            return instants
        times = np.clip(instants, -_NEVER, _NEVER)
        return _unless_mark(instants, times + self.offsets[np.searchsorted(self.jumps, times, "right")])

    def passed(self, instants: Array) -> Array:
        """Up to which local time all is past at each instant: none before it comes (again) from the instant on."""
        if self.is_utc:
            return instants
        times = np.clip(instants, -_NEVER, _NEVER)
        at = np.searchsorted(self.jumps, times, "right")
        returns = np.append(self.jumps + self.offsets[1:], _NEVER)  # the local time that the next jump leads to
        return _unless_mark(instants, np.minimum(times + self.offsets[at], returns[at]))

    def passed_at(self, instant: int) -> int:
        """`passed` of one."""
        return int(self.passed(np.array([instant], np.int64))[0])

    def instants(self, local: Array) -> Array:
        """When it is that local time for the last time; the jump over it when it never is."""
        if self.is_utc:
            return local
        times = np.clip(local, -_NEVER, _NEVER)
        at = np.searchsorted(self.jumps + self.offsets[1:], times, "right")
        return _unless_mark(local, np.minimum(times - self.offsets[at], np.append(self.jumps, _NEVER)[at]))


def _unless_mark(given: Array, value: Array) -> Array:
    return np.where((given > -_NEVER) & (given < _NEVER), value, given)


def window_zone(domain: str, session: str) -> TimeZone:
    """The zone that windows of a time domain lie in: the session's, unless it is the data's own local time."""
    return time_zone("UTC" if domain == ROWTIME else session)


@lru_cache
def time_zone(name: str) -> TimeZone:
    """The zone called `name`. Its jumps are looked for day by day, then to the second."""
    if name in _UTC:
        return TimeZone(np.empty(0, np.int64), np.zeros(1, np.int64))
    low, high = (int(np.datetime64(y, "us").astype(np.int64)) for y in _YEARS)
    days = np.arange(low, high, _DAY, dtype=np.int64)
    offsets = _offsets(name, days)
    before = np.flatnonzero(np.diff(offsets))
    early, late, old = days[before], days[before + 1], offsets[before]
    while len(early) and (late - early).max() > _SECOND:
        middle = early + (late - early) // (2 * _SECOND) * _SECOND
        same = _offsets(name, middle) == old
        early, late = np.where(same, middle, early), np.where(same, late, middle)
    return TimeZone(late, np.append(offsets[:1], offsets[before + 1]))


def _offsets(name: str, instants: Array) -> Array:
    con = duck.shared(name)
    try:
        con.register("instants", {"t": instants})
        sql = "SELECT epoch_us(CAST(make_timestamptz(t) AS TIMESTAMP)) - t AS t FROM instants"
        return np.asarray(con.sql(sql).fetchnumpy()["t"], np.int64)
    finally:
        con.close()


__all__ = ["TimeZone", "time_zone", "window_zone"]
