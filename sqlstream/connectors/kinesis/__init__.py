"""Connector 'kinesis': shards of Amazon Kinesis Data Streams as splits, and rows as records, by botocore."""
