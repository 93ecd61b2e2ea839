"""Rows of `StateTable`s to sorted key-value rows and back: what checkpoint files hold.

The layout is in `encoding.py`. A value is the format byte and a row of the key columns that canonical form
may change (floats, nested values), followed by the value columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.errors import CheckpointError
from sqlstream.state.arrays import Array
from sqlstream.state.encoding import FORMAT, PREFIX, Packed, as_binary, decode_rows, encode_rows
from sqlstream.state.spec import StateSpec
from sqlstream.state.table import Rows, lossy

ROWS_A_BLOCK = 1 << 16
BYTES_A_BLOCK = 1 << 26

# Blocks of key-value rows, ascending by key; a value of None is a tombstone.
Block = tuple[list[bytes], list[bytes | None]]


def group_key(key_group: int) -> bytes:
    """The first bytes of all keys of a key group; of `KEY_GROUPS`: after all keys."""
    return key_group.to_bytes(2, "big")


def encode_keys(number: int, rows: Rows) -> Packed:
    """Keys of rows of the state with this number."""
    prefix = np.empty((len(rows), PREFIX), np.uint8)
    prefix[:, :2] = rows.key_groups.astype(">u2").view(np.uint8).reshape(-1, 2)
    prefix[:, 2:] = np.frombuffer(number.to_bytes(2, "big"), np.uint8)
    return encode_rows(rows.keys, len(rows), prefix=prefix, canonical=True)


def encode_values(spec: StateSpec, rows: Rows) -> Packed:
    kept = [k for k, t in zip(rows.keys, spec.key.types, strict=True) if lossy(t)]
    prefix = np.full((len(rows), 1), FORMAT, np.uint8)
    return encode_rows([*kept, *rows.values], len(rows), prefix=prefix)


def sorted_blocks(parts: list[tuple[Packed, Packed | None]]) -> Iterator[Block]:
    """All rows in order of their keys, which are distinct. Values None: tombstones.

    Python objects are made of a block at a time only; the rest does not hold Python's lock.
    """
    if not parts:
        return
    keys = Packed.joined([k for k, _ in parts])
    none = [Packed(np.empty(0, np.uint8), np.zeros(len(k) + 1, np.int64)) for k, _ in parts]
    values = Packed.joined([n if v is None else v for n, (_, v) in zip(none, parts, strict=True)])
    gone = np.concatenate([np.full(len(k), v is None) for k, v in parts])
    order = pc.sort_indices(as_binary(keys)).to_numpy().astype(np.int64)
    ends = np.cumsum(np.diff(keys.offsets)[order] + np.diff(values.offsets)[order])
    start = 0
    while start < len(order):
        size = BYTES_A_BLOCK + (ends[start - 1] if start else 0)
        stop = min(start + ROWS_A_BLOCK, max(start + 1, int(np.searchsorted(ends, size))))
        rows = order[start:stop]
        some: list[bytes | None] = [*values.pick(rows).tolist()]
        for i in np.flatnonzero(gone[rows]).tolist():
            some[i] = None
        yield keys.pick(rows).tolist(), some
        start = stop


def decode_block(
    specs: dict[int, StateSpec], keys: list[bytes], values: list[bytes]
) -> Iterator[tuple[StateSpec, list[pa.Array], list[pa.Array]]]:
    """Key and value columns of the rows of each state in a block, by state number."""
    k, v = Packed.of(keys), Packed.of(values)
    if (np.diff(k.offsets) < PREFIX).any() or (np.diff(v.offsets) < 1).any():
        raise CheckpointError("a row of state is too short", hint="the checkpoint is damaged")
    if (v.data[v.offsets[:-1]] != FORMAT).any():
        found = int(v.data[v.offsets[:-1]].max())
        raise CheckpointError(
            f"state rows have format {found}, this version reads format {FORMAT}",
            hint="use the version of sqlstream that wrote the checkpoint, or a newer one",
        )
    numbers = k.data[k.offsets[:-1] + 2].astype(np.int64) << 8 | k.data[k.offsets[:-1] + 3]
    for number in np.unique(numbers).tolist():
        if number not in specs:
            raise CheckpointError(f"rows of state number {number}, which the checkpoint's manifest does not name")
        spec, index = specs[number], np.flatnonzero(numbers == number)
        yield spec, *_decode(spec, k, v, index)


def _decode(spec: StateSpec, k: Packed, v: Packed, index: Array) -> tuple[list[pa.Array], list[pa.Array]]:
    key_types, kept = list(spec.key.types), [j for j, t in enumerate(spec.key.types) if lossy(t)]
    at = k.offsets[index] + PREFIX
    keys = decode_rows(k.data, at, key_types)
    at_value = v.offsets[index] + 1
    columns = decode_rows(v.data, at_value, [*(key_types[j] for j in kept), *spec.value.types])
    if (at != k.offsets[index + 1]).any() or (at_value != v.offsets[index + 1]).any():
        raise CheckpointError(
            f"rows of state {spec.name} are not in the form of its schema",
            hint="the checkpoint is damaged, or was written with another schema",
        )
    for place, j in enumerate(kept):
        keys[j] = columns[place]
    return keys, columns[len(kept) :]
