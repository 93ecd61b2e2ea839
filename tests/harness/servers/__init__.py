"""Real servers for the tests of connectors: a module a server over one base (`base.py`), fixtures of those that a whole
test run shares (`fixtures.py`), and what installs them: `python -m tests.harness.servers install`.
"""

from .base import Server, ServerError
from .kafka import Kafka, KafkaCluster
from .postgresql import PostgreSQL
from .redis import Redis
from .shared import wanted

SERVERS: dict[str, type[Server]] = {s.name: s for s in (Kafka, PostgreSQL, Redis)}

__all__ = ["SERVERS", "Kafka", "KafkaCluster", "PostgreSQL", "Redis", "Server", "ServerError", "wanted"]
