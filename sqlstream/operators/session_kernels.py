"""Compiled loops of SESSION windows; see `state/words.py` for what is common."""

from __future__ import annotations

from sqlstream.state.kernel import I64, kernel, r, w
from sqlstream.state.words import least


@kernel(I64, r(I64), r(I64), r(I64), w(I64), w(I64))
def join_sessions(keys, starts, ends, session, last):  # type: ignore[no-untyped-def]
    """Intervals sorted by (key, start) into sessions: those that overlap or touch. Gives each interval's
    session and each session's end; returns their number."""
    n = 0
    for i in range(len(keys)):
        if i == 0 or keys[i] != keys[i - 1] or starts[i] > last[n - 1]:
            last[n] = ends[i]
            n += 1
        elif ends[i] > last[n - 1]:
            last[n - 1] = ends[i]
        session[i] = n - 1
    return n


@kernel(I64, r(I64), r(I64), r(I64), I64, r(I64), w(I64), w(I64), w(I64), w(I64), w(I64), w(I64))
def join_behind(owners, times, closed, gap, at, starts, ends, head, link, into, session):  # type: ignore[no-untyped-def]
    """Rows behind the watermark, one after the other, into sessions; returns how many sessions there are now.

    Row i has key `owners[i]` and is [times[i], times[i] + gap]; sessions that end at `closed[i]` or before, which does
    not fall for a key, had closed when it came. It joins the open ones that it touches, opens one of its own that has
    not closed either, or is in none: `session[i]` is its session or -1. Sessions from 0 that are there have keys `at`,
    and `starts` and `ends`, which have room for one more a row. `head` (by key) is -1 before. `into[s]` is the session
    that s is part of in the end: itself, or another one.
    """
    n = at.size
    for s in range(n):
        link[s] = head[at[s]]
        head[at[s]] = s
        into[s] = s
    for i in range(owners.size):
        owner, start, end = owners[i], times[i], times[i] + gap
        mine, before, s = -1, -1, head[owners[i]]
        while s >= 0:
            following = link[s]
            gone = ends[s] <= closed[i]
            if not gone and starts[s] <= end and start <= ends[s]:
                if mine < 0:
                    mine = s
                else:
                    starts[mine] = least(starts[mine], starts[s])
                    ends[mine] = ends[mine] if ends[mine] > ends[s] else ends[s]
                    into[s] = mine
                    gone = True
            if gone:
                if before < 0:
                    head[owner] = following
                else:
                    link[before] = following
            else:
                before = s
            s = following
        if mine < 0:
            if end <= closed[i]:
                session[i] = -1
                continue
            mine = n
            n += 1
            starts[mine], ends[mine], into[mine] = start, end, mine
            link[mine] = head[owner]
            head[owner] = mine
        else:
            starts[mine] = least(starts[mine], start)
            ends[mine] = ends[mine] if ends[mine] > end else end
        session[i] = mine
    for s in range(n):
        root = into[s]
        while into[root] != root:
            root = into[root]
        into[s] = root
    for i in range(owners.size):
        if session[i] >= 0:
            session[i] = into[session[i]]
    return n
