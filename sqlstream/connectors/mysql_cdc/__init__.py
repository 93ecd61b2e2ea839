"""Connector 'mysql-cdc': tables of MySQL or MariaDB and their changes, by the binary log.

connector.py       the options, and which tables a name means
source.py          the tables as a source: what they have, then the log, as one split
snapshot.py        where a job begins: what the server must be, a place of the log, and the rows of that moment
binlog.py          a connection that streams the log: events in, on a thread of its own
events.py          what events say: tables, transactions, statements
gtids.py           sets of global transaction ids, of both kinds
rows.py            rows and their kinds of events, by the array; `row_kernels.py`: the loop
values.py          values of the bytes that rows are in the log
"""
