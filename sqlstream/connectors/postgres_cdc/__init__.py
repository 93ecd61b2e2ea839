"""Connector 'postgres-cdc': a table of PostgreSQL and its changes, by logical replication with pgoutput.

connector.py       the options, and what a table must be for it
source.py          the table as a source: what it has, then its slot's stream, as one split
snapshot.py        where a job begins: the slot, the publication, and the rows of that moment
replication.py     a connection that streams: messages in, what is confirmed out, on a thread of its own
changes.py         rows and their kinds of messages, by the array; `change_kernels.py`: the loops
texts.py           values of PostgreSQL's texts
"""
