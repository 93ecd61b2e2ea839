"""Local time of whole arrays, against Python's zones and against its own definition by the minute."""

from __future__ import annotations

import datetime
import zoneinfo

import numpy as np
import pytest

from sqlstream.time_zones import time_zone, window_zone

MINUTE, HOUR = 60_000_000, 3_600_000_000
ZONES = ["America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata", "America/Sao_Paulo"]


@pytest.mark.parametrize("name", ZONES)
def test_local_time_is_that_of_the_zone(name: str) -> None:
    zone, known = time_zone(name), zoneinfo.ZoneInfo(name)
    hours = np.arange(0, 2_000_000_000_000_000, 101 * HOUR, dtype=np.int64)
    stamps = [datetime.datetime.fromtimestamp(t // 1_000_000, known) for t in hours.tolist()]
    offsets = np.array([int(t.utcoffset().total_seconds()) for t in stamps]) * 1_000_000  # type: ignore[union-attr]
    assert (zone.local(hours) - hours == offsets).all()


@pytest.mark.parametrize("name", ZONES)
def test_what_is_past_never_comes_again(name: str) -> None:
    zone = time_zone(name)
    for jump in zone.jumps[zone.jumps > 0].tolist():
        around = np.arange(jump - 30 * HOUR, jump + 30 * HOUR, 10 * MINUTE, dtype=np.int64)
        local = zone.local(around)
        assert (zone.passed(around) == np.minimum.accumulate(local[::-1])[::-1]).all()
        # the last instant of each local time, and that is what must pass for it to be past
        last = dict(zip(local.tolist(), around.tolist(), strict=True))
        assert zone.instants(local).tolist() == [last[t] for t in local.tolist()]


def test_a_time_that_never_comes_is_the_jump_over_it() -> None:
    zone = time_zone("America/New_York")
    jump = int(np.datetime64("2024-03-10T07:00", "us").astype(np.int64))
    skipped = np.array(["2024-03-10T02:00", "2024-03-10T02:59"], "M8[us]").astype(np.int64)
    assert zone.instants(skipped).tolist() == [jump, jump]


def test_marks_of_the_beginning_and_the_end_stay() -> None:
    marks = np.array([-(2**63), 2**63 - 1])
    for zone in (time_zone("Asia/Kolkata"), time_zone("UTC")):
        for made in (zone.local(marks), zone.passed(marks), zone.instants(marks)):
            assert made.tolist() == marks.tolist()


def test_windows_over_timestamp_are_in_no_zone() -> None:
    assert window_zone("ROWTIME", "Asia/Kolkata").is_utc
    assert not window_zone("LOCAL", "Asia/Kolkata").is_utc and not window_zone("PROCTIME", "Asia/Kolkata").is_utc
