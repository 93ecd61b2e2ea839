"""Running jobs: epochs, workers, checkpoints taken and published. Nothing here knows what an operator computes.

job.py, worker.py, graph.py, channels.py, pace.py   the loop, a task's share of it, its order, what tasks send, how fast
run.py, directory.py, fingerprint.py, tables.py     a durable run: its record, its files, what must be the same to go on
checkpoints.py, publisher.py, replay.py             when one is due, what becomes visible then, going back behind that
splits.py                                           which worker reads what
batch_job.py                                        INSERTs of a batch, published together
progress.py, timings.py                             what a job tells of itself
"""
