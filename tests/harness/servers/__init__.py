"""Real servers for the tests of connectors: a module a server over one base (`base.py`), fixtures of those that a whole
test run shares (`fixtures.py`), and what installs them: `python -m tests.harness.servers install`.
"""

from .apicurio import Apicurio
from .base import Server, ServerError
from .kafka import Kafka, KafkaCluster
from .mariadb import MariaDB
from .mosquitto import Mosquitto
from .nats import NATS
from .opensearch import OpenSearch
from .postgresql import PostgreSQL
from .rabbitmq import RabbitMQ
from .redis import Redis
from .shared import wanted

SERVERS: dict[str, type[Server]] = {
    s.name: s for s in (Apicurio, Kafka, MariaDB, Mosquitto, NATS, OpenSearch, PostgreSQL, RabbitMQ, Redis)
}

__all__ = [
    "NATS",
    "SERVERS",
    "Apicurio",
    "Kafka",
    "KafkaCluster",
    "MariaDB",
    "Mosquitto",
    "OpenSearch",
    "PostgreSQL",
    "RabbitMQ",
    "Redis",
    "Server",
    "ServerError",
    "wanted",
]
