"""A Bloom filter over byte strings: which keys may have left memory. 12 bits a key, one cache line a question.

Says "perhaps" of 1 in 200 keys that were never added. Grows by layers of twice the size, which share nothing. Where rows
live for a time, layers of keys that left before that are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sqlstream.state.arrays import Array
from sqlstream.state.encoding import Packed
from sqlstream.state.filter_kernels import WORDS_A_LINE, add, has, hashes_of
from sqlstream.state.memory import zeros

FIRST_KEYS = 1 << 14  # of the first layer
BITS_A_KEY = 12
LAYERS_A_LIFE = 4  # at least, where rows live for a time


@dataclass
class _Layer:
    """Bits of keys that were added from `since` to `last`. `room`: keys that it still takes."""

    words: Array
    room: int
    since: int
    last: int


class Filter:
    """Keys are added, never taken away. `ttl`: how long after they were added nobody needs to know of them; 0: for ever."""

    def __init__(self, ttl: int = 0) -> None:
        self._ttl = ttl
        self._layers: list[_Layer] = []

    def add(self, keys: Packed, now: int = 0) -> None:
        """From now on `may_have` is True of them. `now` does not go back."""
        hashes, asked = _hashes(keys), self._layers
        if self._ttl:  # what another layer has of a key goes with that layer: the last one is to have it
            self._layers = [layer for layer in self._layers if layer.last > now - self._ttl]
            asked = [layer for layer in self._layers[-1:] if now - layer.since <= self._ttl // LAYERS_A_LIFE]
        known = _known(hashes, asked)
        for layer in asked:
            layer.last = now
        new = len(known) - int(np.count_nonzero(known))
        if not new:
            return
        if not asked or new > asked[-1].room:
            asked = [_layer(FIRST_KEYS << len(self._layers), new, now)]
            self._layers += asked
        add(hashes, known, asked[-1].words)
        asked[-1].room -= new

    def may_have(self, keys: Packed) -> Array:
        """A bool a key. False: it was not added."""
        return _known(_hashes(keys), self._layers)


def _layer(keys: int, least: int, now: int) -> _Layer:
    while keys < least:
        keys *= 2
    lines = 1 << int(keys * BITS_A_KEY // (64 * WORDS_A_LINE) - 1).bit_length()
    return _Layer(zeros(lines * WORDS_A_LINE, np.uint64), lines * WORDS_A_LINE * 64 // BITS_A_KEY, now, now)


def _known(hashes: Array, layers: list[_Layer]) -> Array:
    known = np.zeros(len(hashes), np.bool_)
    for layer in layers:
        has(hashes, layer.words, known)
    return known


def _hashes(keys: Packed) -> Array:
    out = np.empty(len(keys), np.uint64)
    hashes_of(keys.data, keys.offsets, out)
    return out
