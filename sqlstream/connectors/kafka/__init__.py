"""Connector 'kafka': partitions of topics as splits, read by librdkafka, which the package confluent-kafka brings along.

Its Python API makes an object of each message, and a call for each of its parts, which is most of the time of reading it.
Messages are taken from the library itself instead, by the array, in a compiled loop (`message_kernels.py`).
"""
