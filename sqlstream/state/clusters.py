"""The rows of a chain of state files on their way into a store, which takes them quickly when they come by their place in it.

A store is merged file by file: files of rows from all over overlap with all that it has, files of neighbours with few. So
a chain with many rows is first parted, by key groups, into files of their own; each is then put together in memory, and
comes as one piece. Why: docs/decisions/048. Who reads a chain over its store parts it, too (`checkpoint/chain.py`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from sqlstream.state.files import ROWS_A_PASS, SUFFIX, Newest, StateRows, StateWriter, in_turn, read_file, writing
from sqlstream.state.keys import key_groups
from sqlstream.state.rows import Rows
from sqlstream.state.spec import KEY_GROUPS, StateSpec

ROWS_A_CLUSTER = 1 << 19  # about so many come as one piece


def clustered(chain: Sequence[tuple[Path, int]], specs: dict[int, StateSpec], work: Path) -> Iterator[StateRows]:
    """The rows of a chain of files, each with the number of its rows: of a key the newest comes last, and alone if they are
    many. `work`: a directory for files in between, which must not be there and is gone afterwards. CheckpointError when a
    file cannot be read or written."""
    rows = sum(count for _, count in chain)
    if rows <= ROWS_A_PASS:
        yield from in_turn(chain, specs)
        return
    paths = [path for path, _ in chain]
    staying = {number for number, s in specs.items() if s.stays}
    if staying:  # in the order of the chain
        yield from Newest(paths, specs, staying)
    if others := specs.keys() - staying:
        for path, _ in parted(paths, rows, specs, others, work):
            yield from _newest(path, specs, others)


def parted(
    paths: Sequence[Path],
    rows: int,
    specs: dict[int, StateSpec],
    wanted: set[int],
    work: Path,
    groups: tuple[int, int] = (0, KEY_GROUPS),
) -> Iterator[tuple[Path, tuple[int, int]]]:
    """The rows of these states that are of key groups [lo, hi), in new files by key groups, each with those it has: of a key
    the newest row comes first. Of so many rows, about, as fit into memory, a file; each is gone when the next one is asked
    for. `rows`: of the chain, `work`: as with `clustered`."""
    lo, hi = groups
    clusters = min(hi - lo, -(-rows // ROWS_A_CLUSTER))
    bounds = [lo + -(-i * (hi - lo) // clusters) for i in range(clusters + 1)]
    places = [work / f"{i}{SUFFIX}" for i in range(clusters)]
    try:
        with writing(work), ExitStack() as closing:
            work.mkdir(parents=True)
            writers = []
            for place in places:
                writers.append(StateWriter(place))
                closing.callback(writers[-1].close)
            for path in reversed(paths):
                for part in read_file(path, specs):
                    if part.number in wanted:
                        for cluster, some in _by_cluster(part, bounds):
                            writers[cluster].write(some)
        for place, within in zip(places, pairwise(bounds), strict=True):
            if place.exists():
                yield place, within
                place.unlink()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _by_cluster(part: StateRows, bounds: Sequence[int]) -> Iterator[tuple[int, StateRows]]:
    """The rows of each cluster that there are; `bounds`: the first key group of each, and the end."""
    of = key_groups([part.rows.keys[j] for j in part.spec.placing], len(part.rows))
    cluster = np.searchsorted(bounds, of, side="right").astype(np.uint16)  # from 1 on; 0 and the last are of no cluster
    order = np.argsort(cluster, kind="stable")
    ends = np.cumsum(np.bincount(cluster, minlength=len(bounds) + 1)).tolist()
    indices = pa.array(order[ends[0] : ends[-2]])
    keys, values = ([a.take(indices) for a in arrays] for arrays in (part.rows.keys, part.rows.values))
    for i, (start, end) in enumerate(pairwise(ends[:-1])):
        if n := end - start:
            start -= ends[0]
            rows = Rows(n, [k.slice(start, n) for k in keys], [v.slice(start, n) for v in values])
            yield i, StateRows(part.number, part.spec, rows, part.deleted)


def _newest(path: Path, specs: dict[int, StateSpec], wanted: set[int]) -> Iterator[StateRows]:
    """The rows of a file in which the newest come first: each key once, each kind as one piece."""
    kinds: dict[tuple[int, bool], list[Rows]] = {}
    for part in Newest([path], specs, wanted):
        kinds.setdefault((part.number, part.deleted), []).append(part.rows)
    for (number, deleted), parts in kinds.items():
        yield StateRows(number, specs[number], Rows.joined(parts), deleted)
