"""Connector 'clickhouse': rows into a table of ClickHouse, by its HTTP interface."""
