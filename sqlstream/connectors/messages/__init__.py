"""Messages of queues (Kafka, and others to come) as rows: each is one record of a format, with a place in its split."""
