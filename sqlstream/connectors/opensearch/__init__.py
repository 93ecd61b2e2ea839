"""Connector 'opensearch' ('elasticsearch-7'): rows as documents of an index, by the bulk protocol that both speak."""
