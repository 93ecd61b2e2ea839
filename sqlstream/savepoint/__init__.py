"""Savepoints: a job's state at one checkpoint as files that anybody reads, and a job goes on from anywhere.

    record.py     what `_metadata` says
    writer.py     a checkpoint's state as a savepoint
    reader.py     a savepoint's rows, verified
    recovery.py   what a new run goes on from: a savepoint, or another run's checkpoint, brought into its own checkpoints

The layout is documented in docs/savepoints.md.
"""
