"""Connector 'redis': keys of Redis as rows that are looked up and written, its streams and channels as messages, by redis-py."""
