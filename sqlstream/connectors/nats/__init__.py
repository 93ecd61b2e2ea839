"""Connector 'nats': streams of NATS JetStream, whose sequence numbers are positions, by nats-py."""
