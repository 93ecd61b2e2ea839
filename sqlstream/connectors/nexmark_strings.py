"""The strings of Nexmark events: pools made once from the seed, and each event's taken from them by hash.

A pool is an Arrow string array; a column of an event batch is `pool.take(...)`, which copies bytes at the speed of
memory. Long filler (`extra`) joins a piece of fixed and one of varying length from two pools, so that there are
millions of different ones.
"""

from __future__ import annotations

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

POOL = 4096
FIRST_NAMES = ("Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter")
LAST_NAMES = ("Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris")
CITIES = ("Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent",
          "Cheyenne")  # fmt: skip
STATES = ("AZ", "CA", "ID", "OR", "WA", "WY")
HOT_CHANNELS = ("Google", "Facebook", "Baidu", "Apple")
CHANNELS = 10_000

_SPLITMIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def mix(values: np.ndarray, salt: int) -> np.ndarray:
    """64 random bits of each value (splitmix64's finaliser); `salt` tells draws of one value apart."""
    gamma, first, second = _SPLITMIX
    z = values.astype(np.uint64) * gamma + np.uint64((salt * 0xD1342543DE82EF95 + 0x632BE59BD9B4E019) % 2**64)
    z ^= z >> np.uint64(30)
    z *= first
    z ^= z >> np.uint64(27)
    z *= second
    z ^= z >> np.uint64(31)
    return z


def below(bits: np.ndarray, n: np.ndarray | int) -> np.ndarray:
    """A number in [0, n) of the upper 32 of 64 random bits; n < 2^31."""
    return (((bits >> np.uint64(32)) * np.asarray(n, np.uint64)) >> np.uint64(32)).astype(np.int64)


def words(seed: int, salt: int, longest: int, count: int = POOL, special: str = " ") -> pa.StringArray:
    """`count` words of 3 to `longest` - 1 letters, one in 13 of the inner ones `special`."""
    lengths = 3 + below(mix(np.arange(count), seed * 31 + salt), longest - 3)
    bits = mix(np.arange(count * longest), seed * 31 + salt + 1).reshape(count, longest)
    letters = (97 + (bits >> np.uint64(8)) % np.uint64(26)).astype(np.uint8)
    inner = np.arange(longest)
    odd = (bits % np.uint64(13) == 0) & (inner > 0) & (inner < lengths[:, None] - 1)
    letters[odd] = ord(special)
    return _ragged(letters, lengths)


def filler(seed: int, salt: int, lengths: np.ndarray) -> pa.StringArray:
    """Strings of the given lengths: runs of six characters, from 'a' up or from 'a' down, as the public data has."""
    count, longest = len(lengths), max(int(lengths.max(initial=0)), 1)
    bits = mix(np.arange(count * longest), seed * 31 + salt).reshape(count, longest)
    runs = mix(np.arange(count * (longest // 6 + 1)), seed * 31 + salt + 1).reshape(count, -1)
    up = np.repeat(runs & np.uint64(1), 6, axis=1)[:, :longest].astype(bool)
    step = (bits % np.uint64(26)).astype(np.int16)
    return _ragged((97 + np.where(up, step, -step)).astype(np.uint8), lengths)


def _ragged(letters: np.ndarray, lengths: np.ndarray) -> pa.StringArray:
    """Rows of a byte matrix, each cut to its length."""
    data = letters[np.arange(letters.shape[1]) < lengths[:, None]]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(data))


class StringPools:
    """The pools of one seed; made when first asked for."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    @functools.cached_property
    def item_names(self) -> pa.StringArray:
        """Of auctions: 3 to 19 letters."""
        return words(self._seed, 100, 20)

    @functools.cached_property
    def descriptions(self) -> pa.StringArray:
        """Of auctions: 3 to 99 letters."""
        return words(self._seed, 200, 100)

    @functools.cached_property
    def person_names(self) -> pa.StringArray:
        """Each first name with each last name."""
        return pa.array([f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES])

    @functools.cached_property
    def emails(self) -> pa.StringArray:
        """Addresses of made-up letters."""
        return pc.binary_join_element_wise(words(self._seed, 300, 7), "@", words(self._seed, 400, 5), ".com", "")

    @functools.cached_property
    def cities(self) -> pa.StringArray:
        """The public generator's."""
        return pa.array(CITIES)

    @functools.cached_property
    def states(self) -> pa.StringArray:
        """The public generator's."""
        return pa.array(STATES)

    @functools.cached_property
    def channels(self) -> pa.StringArray:
        """The hot ones by name, then channel-0, channel-1, …"""
        return pa.array([*HOT_CHANNELS, *(f"channel-{i}" for i in range(CHANNELS))])

    @functools.cached_property
    def urls(self) -> pa.StringArray:
        """The URL of each channel; nine in ten of the cold ones carry a channel id, its number's bits turned round."""
        count = len(HOT_CHANNELS) + CHANNELS
        parts = [words(self._seed, 500 + 10 * i, 5, count, "_") for i in range(3)]
        base = pc.binary_join_element_wise("https://www.nexmark.com", *parts, "item.htm?query=1", "/")
        numbers = np.arange(CHANNELS, dtype=np.uint32)
        turned = np.packbits(np.unpackbits(numbers.view(np.uint8), bitorder="little").reshape(-1, 32), axis=1)
        ids = np.abs(turned.view(">i4").astype(np.int64).ravel())
        with_id = below(mix(numbers, self._seed * 31 + 600), 10) > 0
        tails = [f"&channel_id={i}" if has else "" for i, has in zip(ids.tolist(), with_id.tolist(), strict=True)]
        return pc.binary_join_element_wise(base, pa.array([""] * len(HOT_CHANNELS) + tails), "")

    @functools.lru_cache(maxsize=8)  # noqa: B019 - a pool lives as long as its source
    def extra(self, salt: int, average: int) -> tuple[pa.StringArray, pa.StringArray]:
        """Two pools whose joined pieces are `average` long on average, spread a fifth to both sides."""
        spread = round(average * 0.2)
        fixed = np.full(POOL, max(average - spread, 0), np.int64)
        varying = below(mix(np.arange(POOL), self._seed * 31 + salt + 2), max(2 * spread, 1))
        return filler(self._seed, salt, fixed), filler(self._seed, salt + 10, varying)


def credit_cards(bits: np.ndarray) -> pa.StringArray:
    """'dddd dddd dddd dddd' of 64 random bits each."""
    n = len(bits)
    out = np.full((n, 19), ord(" "), np.uint8)
    for group in range(4):
        number = ((bits >> np.uint64(16 * group)) & np.uint64(0xFFFF)).astype(np.int64) % 10_000
        for place in range(4):
            out[:, group * 5 + 3 - place] = 48 + number % 10
            number = number // 10
    offsets = np.arange(0, 19 * n + 1, 19, dtype=np.int32)
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(out))
