"""Messages that a server pushes, and sends again when a connection is lost: what is acknowledged, and what is a row once. The server is a
list here; AMQP 0.9.1 says what one does (`basic.ack` with `multiple`, redelivery)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlstream.connectors.messages.pushed import Client, Delivery, Inbox, PushedFeed


class Pushing(Client):
    """Knows of an acknowledgement when it `knows`: those of one call are all up to the last tag."""

    def __init__(self) -> None:
        self.inbox, self.upto, self.knows = Inbox(), 0, True

    def push(self, first: int, *ids: str) -> None:
        """Messages, the first with this tag."""
        for i, name in enumerate(ids):
            self.inbox.put(Delivery(name.encode(), None, first + i, name))

    def acknowledge(self, tags: Sequence[Any]) -> None:
        self.upto = max(tags)

    def noted(self, then: Callable[[], None]) -> None:
        if self.knows:
            then()

    def lose(self) -> None:
        self.inbox.clear()
        assert self.taken_back is not None
        self.taken_back()


def feed(server: Pushing, position: dict[str, Any] | None = None) -> PushedFeed:
    return PushedFeed(server, (), {}, position, durable=True, ids=True)


def taken(of: PushedFeed) -> list[str]:
    found = of.take()
    return [] if found is None else [x.decode() for x in found.values.values() if x is not None]


def test_what_comes_again_among_new_ones_acknowledges_no_new_one() -> None:
    """The server takes all before a tag for acknowledged: a new message that came before an old one must wait for its checkpoint."""
    server = Pushing()
    f = feed(server, {"offset": 2, "ids": ["a", "b"]})
    server.push(1, "a", "new", "b")
    assert taken(f) == ["new"]
    f.acknowledge(2)
    assert server.upto == 1
    assert sorted(f.following["ids"]) == ["b", "new"]
    f.acknowledge(3)
    assert server.upto == 3


def test_a_checkpoint_in_the_middle_knows_none_that_come_behind_it() -> None:
    """Also when the connection is lost between taking messages and the checkpoint: those behind it are to come again."""
    server = Pushing()
    f = feed(server)
    server.push(1, "a", "b", "c")
    got = f.take()
    assert got is not None and got.at(1) == {"offset": 1, "ids": ["a"]}
    server.lose()
    assert got.at(1) == {"offset": 1, "ids": ["a"]}
    server.push(1, "c", "a", "b")
    assert taken(f) == []
    assert [sorted(got.at(i)["ids"]) for i in range(3)] == [[], ["a"], ["a", "b"]]
    f.acknowledge(1)
    assert server.upto == 0, "c has the first tag, and no checkpoint has it"
    f.acknowledge(3)
    assert server.upto == 3


def test_what_was_acknowledged_over_a_connection_that_was_lost_is_no_row_again() -> None:
    server = Pushing()
    server.knows = False
    f = feed(server)
    server.push(1, "a", "b")
    assert taken(f) == ["a", "b"]
    f.acknowledge(2)
    assert sorted(f.following["ids"]) == ["a", "b"], "it may still be on its way"
    server.lose()
    server.push(1, "a", "b", "c")
    assert taken(f) == ["c"]
    server.knows = True
    f.acknowledge(3)
    assert f.following == {"offset": 3, "ids": []}


def test_messages_that_are_taken_while_their_connection_is_lost_are_rows_once() -> None:
    server = Pushing()
    f = feed(server)
    take = server.inbox.take

    def loses(seconds: float) -> list[Delivery]:
        found = take(seconds)
        server.lose()
        return found

    server.push(1, "a")
    server.inbox.take = loses  # type: ignore[method-assign]
    assert taken(f) == ["a"]
    server.inbox.take = take  # type: ignore[method-assign]
    server.push(1, "a", "b")
    assert taken(f) == ["b"]
    assert f.following == {"offset": 2, "ids": ["a", "b"]}
