"""What is known of a message beside its value and its key: the METADATA keys of the connector, by Flink's names."""

from __future__ import annotations

from sqlstream.types import BIGINT, BYTES_TYPE, INT, STRING, Type, map_of, timestamp_ltz

HEADERS, LEADER_EPOCH, TIMESTAMP, TIMESTAMP_TYPE = "headers", "leader-epoch", "timestamp", "timestamp-type"

KAFKA_METADATA: dict[str, Type] = {
    "topic": STRING.null(False),
    "partition": INT.null(False),
    HEADERS: map_of(STRING.null(False), BYTES_TYPE).null(False),
    LEADER_EPOCH: INT,
    "offset": BIGINT.null(False),
    TIMESTAMP: timestamp_ltz(3).null(False),
    TIMESTAMP_TYPE: STRING.null(False),
}
WRITTEN = frozenset({HEADERS, TIMESTAMP})
