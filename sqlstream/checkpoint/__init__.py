"""Checkpoints: manifests and shared state files on any fsspec store, and the job's lock."""
