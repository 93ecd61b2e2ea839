"""Connector 'mongodb': documents of a collection as rows, read whole, by key, and written by key, by PyMongo."""
