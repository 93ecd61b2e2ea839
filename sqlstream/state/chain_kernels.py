"""Compiled loops of chains of rows by key (`multimap.py`)."""

from __future__ import annotations

import numpy as np

from sqlstream.state.kernel import I32, I64, VOID, kernel, r, w
from sqlstream.state.words import most, prefetch

# A chain is a row of `chains`, a row's place in it a row of `links`: one cache line each. Where rows are never
# removed, links have their first column only.
HEAD, TAIL, COUNT = 0, 1, 2
FOLLOWING, BEFORE, OWNER = 0, 1, 2


@kernel(I64, r(I64), r(I64), w(I32, 2), w(I32, 2))
def chain_add(keys, rows, chains, links):  # type: ignore[no-untyped-def]
    """Appends each row to its key's chain; one that is in a chain is left there. Returns rows added."""
    added = 0
    n, width = rows.size, links.shape[1]
    for i in range(n):
        if i + 32 < n:
            prefetch(chains, keys[i + 32] * 4)
        if i + 16 < n:
            k = keys[i + 16]
            prefetch(links, np.int64(chains[k, TAIL]) * width)
        k, row = keys[i], rows[i]
        if width > 1 and links[row, OWNER] >= 0:
            continue
        last = np.int64(chains[k, TAIL]) if chains[k, COUNT] else np.int64(-1)
        links[row, FOLLOWING] = -1
        if width > 1:
            links[row, BEFORE] = last
            links[row, OWNER] = k
        if last < 0:
            chains[k, HEAD] = row
        else:
            links[last, FOLLOWING] = row
        chains[k, TAIL] = row
        chains[k, COUNT] += 1
        added += 1
    return added


@kernel(I64, r(I64), w(I32, 2), w(I32, 2))
def chain_remove(rows, chains, links):  # type: ignore[no-untyped-def]
    """Takes rows out of their chains; rows in none are skipped. Returns rows removed."""
    removed = 0
    for row in rows:
        if row >= links.shape[0]:
            continue
        k = np.int64(links[row, OWNER])
        if k < 0:
            continue
        p, f = np.int64(links[row, BEFORE]), np.int64(links[row, FOLLOWING])
        if p < 0:
            chains[k, HEAD] = f
        else:
            links[p, FOLLOWING] = f
        if f < 0:
            chains[k, TAIL] = most(p, 0)
        else:
            links[f, BEFORE] = p
        links[row, OWNER] = -1
        chains[k, COUNT] -= 1
        removed += 1
    return removed


@kernel(VOID, r(I64), r(I32, 2), w(I64))
def chain_counts(keys, chains, out):  # type: ignore[no-untyped-def]
    """How many rows each key has; 0 for keys that are unknown."""
    n = keys.size
    for i in range(n):
        if i + 16 < n and 0 <= keys[i + 16] < chains.shape[0]:
            prefetch(chains, keys[i + 16] * 4)
        k = keys[i]
        out[i] = chains[k, COUNT] if 0 <= k < chains.shape[0] else 0


@kernel(VOID, r(I64), r(I64), r(I32, 2), r(I32, 2), w(I64), w(I64))
def chain_fill(keys, counts, chains, links, probe, rows):  # type: ignore[no-untyped-def]
    """Each row of each key: which of `keys` it is of (`probe`), and the row. `counts` is what `chain_counts` gave."""
    at = 0
    for i in range(keys.size):
        if counts[i]:
            row = np.int64(chains[keys[i], HEAD])
            for _ in range(counts[i]):
                probe[at] = i
                rows[at] = row
                row = np.int64(links[row, FOLLOWING])
                at += 1
