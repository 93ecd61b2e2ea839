"""What the brokers say of topics: which partitions they have, and where these begin and end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from sqlstream.connectors.kafka.library import KafkaError, configured, confluent_kafka, library
from sqlstream.connectors.kafka.settings import (
    AT_TIME,
    EARLIEST,
    GROUP,
    LATEST,
    PROPERTIES,
    SERVERS,
    SPECIFIC,
    Place,
)
from sqlstream.errors import DataError, OptionError
from sqlstream.functions.python_patterns import compiled

SECONDS = 20.0  # that an answer may take
STEP = 1.0  # of them are waited for at first, then twice as many, …: meanwhile one looks at what brokers say, and at Ctrl-C
LEADER_CHANGES = frozenset({5, 6})  # LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER
PAUSE = 0.1  # seconds between two questions
NO_ANSWER = frozenset({-185, -195, -187, 7})  # _TIMED_OUT, _TRANSPORT, _ALL_BROKERS_DOWN, REQUEST_TIMED_OUT
NOT_LET_IN = frozenset({-169, -181})  # _AUTHENTICATION, _SSL: no answer will come
NO_OFFSET = -1001  # librdkafka's word for: none was committed
EARLIEST_RESET = "earliest"
EARLIEST_RESETS = (EARLIEST_RESET, "smallest", "beginning")
NOT_THERE_YET = frozenset(
    {3, 5}
)  # UNKNOWN_TOPIC_OR_PART, LEADER_NOT_AVAILABLE: what is said of a topic that is being made, too
MAKING = 3.0  # seconds that brokers may take to make one
MADE = "a topic is made by kafka-topics.sh --create, or by a broker that has auto.create.topics.enable when it is first written to"
Partition = tuple[str, int]


def check_written(settings: Mapping[str, str], topic: str, table: str) -> None:
    """KafkaError where the brokers say that a topic is not there, or nobody's to write. One that makes topics is given the time to.
    Brokers that do not answer are no error yet: messages wait for them."""
    kafka, wrong = confluent_kafka(), None
    try:
        client = kafka.Producer(
            {**settings, "log_level": "0", "error_cb": lambda _: None}
        )  # who produces has a topic made
    except kafka.KafkaException as e:
        raise OptionError(f"table {table}: {e.args[0].str()}") from None
    until = time.monotonic() + MAKING
    while (left := until - time.monotonic()) > 0:
        try:
            wrong = client.list_topics(topic, timeout=left).topics[topic].error
        except kafka.KafkaException:
            return
        if wrong is None:
            return
        if wrong.code() not in NOT_THERE_YET:
            break
        time.sleep(PAUSE)
    if wrong is not None:
        raise KafkaError(f"table {table}: topic '{topic}' cannot be written: {wrong.str()}", wrong.code(), MADE)


class NotLetIn(KafkaError):
    """Who says who they are, and is not believed: to ask again is in vain."""

    transient = False


class Brokers:
    """A client, for one thread at a time. KafkaError where no broker answers."""

    def __init__(self, settings: Mapping[str, str], table: str) -> None:
        kafka = confluent_kafka()
        library().rd_kafka_conf_destroy(configured(settings, table))  # says which setting is wrong
        self._table, self._servers = table, settings[SERVERS]
        self._said: list[Any] = []  # errors
        given = {GROUP: "sqlstream", **settings, "error_cb": self._hear, "log_level": "0"}
        try:
            self._client = kafka.Consumer(given)
        except kafka.KafkaException as e:
            raise OptionError(f"table {table}: {e.args[0].str()}") from None
        self._of = kafka.TopicPartition
        self._failure = kafka.KafkaException

    def _hear(self, error: Any) -> None:
        self._said.append(error)

    def _asked(self, ask: Any, *args: Any, **more: Any) -> Any:
        """The answer; a partition whose leader has just changed, or is not there yet, is asked about again."""
        until, step = time.monotonic() + SECONDS, STEP
        while True:
            left = until - time.monotonic()
            try:
                return ask(*args, timeout=max(min(step, left), PAUSE), **more)
            except self._failure as e:
                self._client.poll(0)  # what its threads have said comes by the way
                error, step = e.args[0], step * 2
                again = error.code() in (LEADER_CHANGES | NO_ANSWER) and left > step
                if not again or any(x.code() in NOT_LET_IN for x in self._said):
                    raise self._error(error) from None
            time.sleep(PAUSE)

    def _error(self, error: Any) -> KafkaError:
        said = list(dict.fromkeys([*(x.str() for x in self._said if x.str()), error.str()]))
        what = f"table {self._table}: the brokers {self._servers} "
        let_in = next((x for x in [error, *self._said] if x.code() in NOT_LET_IN), None)
        if let_in is not None:
            return NotLetIn(f"{what}do not let one in: {let_in.str()}", let_in.code(), _hint(said))
        return KafkaError(f"{what}do not answer: {'; '.join(said[:3])}", error.code(), _hint(said))

    def topics(self, names: Iterable[str], pattern: str | None) -> dict[str, int]:
        """How many partitions topics have, those of these names or that a pattern (Java's) is all of. DataError where one is not
        there."""
        found: dict[str, int] = {}
        if pattern is not None:
            matches = compiled(pattern)
            there = self._asked(self._client.list_topics).topics
            return {n: len(t.partitions) for n, t in sorted(there.items()) if re.fullmatch(matches, n)}
        for name in names:
            topic = self._asked(self._client.list_topics, topic=name).topics[name]
            if topic.error is not None or not topic.partitions:
                raise DataError(
                    f"table {self._table}: topic '{name}' cannot be read: {topic.error.str() if topic.error else 'no partitions'}",
                    hint=MADE,
                )
            found[name] = len(topic.partitions)
        return found

    def offsets(
        self, partitions: list[Partition], at: Place, group: str | None, reset: str | None, which: str = "scan.startup"
    ) -> dict[Partition, int]:
        """The offsets of a place, of the options `which`. `reset`: what counts where the group has committed none."""
        if at.mode == SPECIFIC:
            given = dict(at.offsets)
            rest = [p for p in partitions if p[1] not in given]
            found = {p: given[p[1]] for p in partitions if p[1] in given}
            return {
                **found,
                **self._committed(rest, group, EARLIEST_RESET),
            }  # of those that are not named, as Flink has it
        if at.mode in (EARLIEST, LATEST):
            return {p: self._bounds(p)[at.mode == LATEST] for p in partitions}
        if at.mode == AT_TIME:
            asked = [self._of(t, p, at.time) for t, p in partitions]
            found = {(x.topic, x.partition): x.offset for x in self._asked(self._client.offsets_for_times, asked)}
            return {p: self._bounds(p)[1] if o < 0 else o for p, o in found.items()}
        return self._committed(partitions, group, reset, which)

    def _bounds(self, partition: Partition) -> tuple[int, int]:
        low, high = self._asked(self._client.get_watermark_offsets, self._of(*partition), cached=False)
        return low, high

    def _committed(
        self, partitions: list[Partition], group: str | None, reset: str | None, which: str = "scan.startup"
    ) -> dict[Partition, int]:
        found: dict[Partition, int] = {}
        if group is not None and partitions:
            asked = [self._of(*p) for p in partitions]
            for x in self._asked(self._client.committed, asked):
                if x.offset >= 0:
                    found[(x.topic, x.partition)] = x.offset
        rest = [p for p in partitions if p not in found]
        if rest and reset not in (*EARLIEST_RESETS, "latest", "largest", "end"):
            of = f"group '{group}' has committed no offset" if group else f"option '{PROPERTIES}{GROUP}' is missing"
            begins = "'scan.startup.mode' = 'earliest-offset' or 'latest-offset' says where to begin, or "
            begins += "'properties.auto.offset.reset' = 'earliest' or 'latest' what to do where nothing was committed"
            raise OptionError(
                f"table {self._table}: '{which}.mode' is 'group-offsets', and {of} for {rest[0][0]}, partition {rest[0][1]}",
                hint=begins
                if which == "scan.startup"
                else "'scan.bounded.mode' = 'latest-offset' ends where the topic does now",
            )
        at = EARLIEST if reset in EARLIEST_RESETS else LATEST
        return {**found, **self.offsets(rest, Place(at), None, None)} if rest else found

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Remembers them for the group."""
        at = [self._of(t, p, o) for (t, p), o in offsets.items()]
        try:
            self._client.commit(offsets=at, asynchronous=True)
        except self._failure as e:
            raise KafkaError(f"table {self._table}: {e.args[0].str()}", e.args[0].code()) from None

    def close(self) -> None:
        """Nothing is asked any more."""
        self._client.close()


def _hint(said: list[str]) -> str | None:
    text = " ".join(said).lower()
    if "authentication" in text or "sasl" in text:
        return "look at 'properties.security.protocol', 'properties.sasl.mechanism', and the name and password"
    if "ssl" in text:
        return "look at 'properties.security.protocol' and 'properties.ssl.ca.location'"
    return f"look at '{PROPERTIES}{SERVERS}': is a broker there, and can it be reached from here?"
