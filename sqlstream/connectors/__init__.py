"""What tables are connected to: one `Connector` a file, listed in `registry.py`, by the contracts of `contracts.py`.

filesystem.py                          files: `paths.py` finds them, `file_reader.py` and `block_decoder.py` read
                                       whole ones, `growing.py` such as grow, `file_sink.py` writes
watch.py, listing.py, fingerprint.py   which files an unbounded table has, known by what is in them
streams.py                             pipes and devices
jdbc/, postgres_cdc/                   tables of databases, and their changes
relation.py                            a source as a FROM item of a batch query
derive.py, decode_ahead.py             what readers share
"""
