"""The shards of a stream, and which of them are to be read: parents before their children.

Shards are split and merged while a stream is read. A closed shard is read to its end; its children, which have what came later for the
same keys, are read from then on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlstream.connectors.kinesis.client import Client


@dataclass(frozen=True)
class Shard:
    """`open`: records may still come to it."""

    id: str
    parents: tuple[str, ...]
    open: bool


def shards_of(client: Client) -> dict[str, Shard]:
    """All that the stream has, with those closed ones of which it still keeps records. By their ids, parents first."""
    found: list[Shard] = []
    arguments: dict[str, Any] = {}
    while True:
        answer = client.do("list_shards", **arguments)
        found += [_shard(s) for s in answer["Shards"]]
        if not answer.get("NextToken"):
            break
        arguments = {"NextToken": answer["NextToken"]}
    there = {s.id: s for s in sorted(found, key=lambda s: s.id)}
    ordered: dict[str, Shard] = {}

    def add(shard: Shard) -> None:
        for p in shard.parents:
            if p in there and p not in ordered:
                add(there[p])
        ordered.setdefault(shard.id, shard)

    for shard in there.values():
        add(shard)
    return ordered


def _shard(said: Mapping[str, Any]) -> Shard:
    parents = tuple(said[k] for k in ("ParentShardId", "AdjacentParentShardId") if said.get(k))
    return Shard(said["ShardId"], parents, "EndingSequenceNumber" not in said["SequenceNumberRange"])


def ready(
    there: Mapping[str, Shard], known: Collection[str], done: Collection[str], ignored: Collection[str]
) -> list[Shard]:
    """Of those that nobody reads yet: those whose parents have been read to their ends, or are gone. `ignored`: closed ones of before the
    place where reading began."""
    fresh = (s for s in there.values() if s.id not in known and s.id not in ignored)
    return [s for s in fresh if all(p not in there or p in done or p in ignored for p in s.parents)]
