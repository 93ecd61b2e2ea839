"""How far a split was read, and how a checkpoint keeps that: readable, and in packs where there is much that rests."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlstream.batches import NO_WATERMARK
from sqlstream.contracts import Split, SplitReader
from sqlstream.errors import CheckpointError

PACK = 512  # splits
PACKED = "packed"


@dataclass(eq=False)
class SplitState:
    """A split being read. What comes after `limit` is of this run only, and is the queue's."""

    split: Split
    position: Any = None
    rows: int = 0
    watermark: int = NO_WATERMARK
    finished: bool = False
    idle: bool = False
    bad: int = 0  # malformed records that were handed over
    limit: int | None = None  # read no further than so many rows for now
    bad_limit: int | None = None  # nor hand over more malformed records
    reader: SplitReader | None = None
    queued: bool = False  # may be read now
    resting: bool = False  # its reader will say when there is more
    quiet_since: float | None = None  # the first empty poll since the last rows
    pack: Pack | None = None

    @property
    def id(self) -> str:
        """The split's."""
        return self.split.id

    @property
    def readable(self) -> bool:
        """Whether there may be more to read of it now, as far as is known here."""
        return not self.finished and (
            self.limit is None or self.rows < self.limit or (self.bad_limit is not None and self.bad < self.bad_limit)
        )

    def to_json(self) -> dict[str, Any]:
        """What of it is in a checkpoint."""
        return {
            "number": self.split.number,
            "info": dict(self.split.info),
            "position": self.position,
            "rows": self.rows,
            "watermark": self.watermark,
            "finished": self.finished,
            "idle": self.idle,
            **({"bad": self.bad} if self.bad else {}),
        }

    @staticmethod
    def from_json(split_id: str, value: Mapping[str, Any]) -> SplitState:
        """The split of that id as `to_json` said it."""
        return SplitState(
            Split(split_id, value["info"], value["number"]),
            value["position"],
            value["rows"],
            value["watermark"],
            finished=value["finished"],
            idle=value.get("idle", False),
            bad=value.get("bad", 0),
        )


@dataclass(eq=False)
class Pack:
    """The text of splits of which nothing has changed since it was made. `stale`: how many it is wrong about by now."""

    name: str
    text: str
    members: list[SplitState]
    stale: int = 0

    @staticmethod
    def of(name: str, states: list[SplitState]) -> Pack:
        """The text of `states`, which belong to the pack from now on."""
        content = json.dumps({s.id: s.to_json() for s in states}, ensure_ascii=False, allow_nan=False)
        pack = Pack(name, base64.b85encode(zlib.compress(content.encode(), 1)).decode(), states)
        for s in states:
            s.pack = pack
        return pack


@dataclass
class Positions:
    """The splits of one source in one task, as checkpoints want them: the cost of one grows with what changed.

    `settle` those that will not change soon, `touch` them when they do. `name` tells the packs of tasks apart.
    """

    name: str
    states: dict[str, SplitState] = field(default_factory=dict)
    _loose: dict[str, SplitState] = field(default_factory=dict)
    _settled: dict[str, SplitState] = field(default_factory=dict)  # but in no pack yet
    _packs: dict[str, Pack] = field(default_factory=dict)
    _count: int = 0

    def add(self, state: SplitState) -> None:
        """One more split, of which each checkpoint writes all until it is settled."""
        self.states[state.id] = self._loose[state.id] = state

    def settle(self, state: SplitState) -> None:
        """Nothing of it will change until it is touched."""
        if state.pack is None and self._loose.pop(state.id, None) is not None:
            self._settled[state.id] = state

    def touch(self, state: SplitState) -> None:
        """It is about to change."""
        self._leave(state)
        self._loose[state.id] = state

    def forget(self, state: SplitState) -> None:
        """It is remembered no longer."""
        self._leave(state)
        self._loose.pop(state.id, None)
        del self.states[state.id]

    def _leave(self, state: SplitState) -> None:
        self._settled.pop(state.id, None)
        if state.pack is not None:
            state.pack.stale += 1
            state.pack = None

    def to_json(self) -> dict[str, Any]:
        """By split id; packs, which come first, have names of their own. What stands alone overrides a pack."""
        for pack in [p for p in self._packs.values() if 2 * p.stale > len(p.members)]:
            del self._packs[pack.name]
            for s in pack.members:
                if s.pack is pack:
                    s.pack = None
                    self._settled[s.id] = s
        while len(self._settled) >= PACK:
            states = [self._settled.pop(k) for k in list(self._settled)[:PACK]]
            self._count += 1
            made = Pack.of(f"{PACKED}/{self.name}/{self._count}", states)
            self._packs[made.name] = made
        out: dict[str, Any] = {p.name: {PACKED: p.text} for p in self._packs.values()}
        out.update((k, s.to_json()) for k, s in self._settled.items())
        out.update((k, s.to_json()) for k, s in self._loose.items())
        return out


def unpacked(sources: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What `Positions.to_json` (of all tasks) says of each split. CheckpointError when it cannot be read."""
    out: dict[str, dict[str, Any]] = {}
    try:
        for value in sources.values():
            if PACKED in value:
                out.update(json.loads(zlib.decompress(base64.b85decode(value[PACKED]))))
        out.update((k, v) for k, v in sources.items() if PACKED not in v)
    except (ValueError, TypeError, zlib.error) as e:
        raise CheckpointError(f"the positions of a checkpoint cannot be read: {e}") from e
    return out
