"""Transactions that a process before this one left open: looked at, committed or aborted, whoever has begun them.

librdkafka ends a transaction only for the producer that has begun it, and a producer of the same transactional id aborts it first.
The protocol has no such rule: whoever knows the id, the producer's number and its epoch may say how a transaction ends (EndTxn).
kafka-python speaks that protocol, with all ways to log in.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlstream.connectors.kafka.library import KafkaError
from sqlstream.connectors.kafka.settings import SERVERS
from sqlstream.contracts import Committable
from sqlstream.distribution import install
from sqlstream.errors import NotSupported, OutputLost, RunError

ONGOING, COMMITTED, ABORTED = "Ongoing", ("PrepareCommit", "CompleteCommit"), ("PrepareAbort", "CompleteAbort", "Dead")
_SAME = {
    "security.protocol": "security_protocol", "sasl.mechanism": "sasl_mechanism", "sasl.mechanisms": "sasl_mechanism",
    "sasl.username": "sasl_plain_username", "sasl.password": "sasl_plain_password", "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile", "ssl.key.location": "ssl_keyfile", "ssl.key.password": "ssl_password",
    "sasl.kerberos.service.name": "sasl_kerberos_service_name",
}  # fmt: skip


_WITHOUT = {"ssl.endpoint.identification.algorithm", "ssl.cipher.suites", "ssl.curves.list", "ssl.sigalgs.list"}


def check_settings(settings: Mapping[str, str], table: str) -> None:
    """NotSupported for a way to log in that one of the two clients has not: it would fail after a crash, and not before."""
    for key in settings:
        if key.startswith(("ssl.", "sasl.", "enable.ssl.")) and key not in _SAME and key not in _WITHOUT:
            raise NotSupported(
                f"table {table}: 'properties.{key}' does not go with 'sink.delivery-guarantee' = 'exactly-once'",
                hint="transactions of a process that has died are ended by kafka-python, which knows "
                + ", ".join(f"'properties.{k}'" for k in _SAME if k.startswith(("ssl.", "sasl."))),
            )


@cache
def kafka_python() -> Any:
    """The package. RunError where it is not there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of how it reads files of its own
            import kafka.admin.client
            import kafka.errors
            import kafka.protocol.producer.transaction
    except ImportError as e:
        raise RunError(
            f"'sink.delivery-guarantee' = 'exactly-once' needs the package kafka-python ({e})", hint=install("kafka")
        ) from None
    logging.getLogger("kafka").addHandler(logging.NullHandler())  # what it says is in the errors, too
    return kafka


@dataclass(frozen=True)
class Transaction:
    """One as its coordinator knows it. `started`: ms since 1970; of the last transaction of the id, however that ended."""

    id: str
    producer: int
    epoch: int
    started: int
    state: str

    def committable(self) -> Committable:
        """What a checkpoint knows of it."""
        return {"transaction": self.id, "producer": self.producer, "epoch": self.epoch, "started": self.started}


class Coordinator:
    """For one thread at a time. KafkaError where no broker answers. `settings`: librdkafka's."""

    def __init__(self, settings: Mapping[str, str], table: str) -> None:
        self._kafka = kafka = kafka_python()
        self._table, self._failure = table, kafka.errors.KafkaError
        given: dict[str, Any] = {name: settings[key] for key, name in _SAME.items() if key in settings}
        if "security_protocol" in given:
            given["security_protocol"] = given["security_protocol"].upper()
        if settings.get("ssl.endpoint.identification.algorithm") == "none":
            given["ssl_check_hostname"] = False
        try:
            self._client = kafka.admin.KafkaAdminClient(bootstrap_servers=settings[SERVERS].split(","), **given)
        except (kafka.errors.KafkaError, OSError) as e:
            raise self._error("the brokers do not answer", e) from None

    def _error(self, what: str, e: Exception) -> KafkaError:
        return KafkaError(f"table {self._table}: {what}: {e}", int(getattr(e, "errno", None) or -1))

    def of(self, transactional_id: str) -> Transaction | None:
        """The last transaction of an id; None: the brokers know of none."""
        try:
            found = self._client.describe_transactions([transactional_id])[transactional_id]
        except self._kafka.errors.TransactionalIdNotFoundError:
            return None
        except self._failure as e:
            raise self._error(f"transaction {transactional_id}", e) from None
        return Transaction(
            transactional_id,
            found.producer_id,
            found.producer_epoch,
            found.transaction_start_time_ms,
            found.state.value,
        )

    def open(self, named: re.Pattern[str]) -> Iterable[Transaction]:
        """Those that are open, of ids that the pattern is all of."""
        try:
            listed = self._client.list_transactions()
        except self._failure as e:
            raise self._error("transactions cannot be listed", e) from None
        ids = sorted(
            t.transactional_id for some in listed.values() for t in some if named.fullmatch(t.transactional_id)
        )
        found = (self.of(i) for i in ids)
        return [t for t in found if t is not None and t.state == ONGOING]

    def finish(self, committable: Committable) -> None:
        """Commits a transaction that a checkpoint knows, unless it is committed. An id is used again only after that, so that a
        later transaction of it says that it was. OutputLost where the brokers have aborted it."""
        name = committable["transaction"]
        now = self.of(name)
        if now is None:
            raise OutputLost(
                f"table {self._table}: the brokers do not know transaction {name}, which the checkpoint has prepared: it ended "
                "so long ago that they forgot how",
                hint="go on from a later checkpoint, or start anew with --fresh",
            )
        if now.started > committable["started"] or now.state in COMMITTED:
            return
        if now.state in ABORTED:
            raise OutputLost(
                f"table {self._table}: transaction {name} of the checkpoint was aborted by the brokers, since nobody committed it in "
                "time: its rows are lost",
                hint="'properties.transaction.timeout.ms' gives more time (the brokers' transaction.max.timeout.ms allows for it); "
                "start anew with --fresh, or from an older checkpoint or savepoint",
            )
        self._end(now, committed=True)

    def abort(self, transaction: Transaction) -> None:
        """Ends one that no checkpoint knows. Its producer, if it should still live, can write no more."""
        self._end(transaction, committed=False)

    def _end(self, t: Transaction, committed: bool) -> None:
        kafka = self._kafka

        async def end() -> Any:
            kind = kafka.admin.client.CoordinatorType.TRANSACTION
            found = await self._client._find_coordinator_ids([t.id], key_type=kind)
            request = kafka.protocol.producer.transaction.EndTxnRequest(
                transactional_id=t.id, producer_id=t.producer, producer_epoch=t.epoch, committed=committed
            )
            return await self._client._manager.send(request, node_id=found[t.id])

        how = "committed" if committed else "aborted"
        try:
            answer = self._client._manager.run(end)
        except self._failure as e:
            raise self._error(f"transaction {t.id} could not be {how}", e) from None
        if answer.error_code:
            raise self._error(f"transaction {t.id} could not be {how}", kafka.errors.for_code(answer.error_code)())

    def close(self) -> None:
        """Nothing is asked any more."""
        self._client.close()
