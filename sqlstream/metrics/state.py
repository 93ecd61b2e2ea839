"""What keyed state is like: rows in memory and not, folds, files; for EXPLAIN ANALYZE and the manifests of checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class StateMetrics:
    """Of one operator, in one task or all of them.

    `rows`: in memory, by state. `left`, `returned`: rows that left memory and came back, since the job's start.
    `fold_seconds`: how long the last fold took. `changelog_bytes`: of deltas since. `store_files`, `store_bytes`: RocksDB's
    sorted files, as of that fold. `rocksdb`: its own figures, by the names of Flink's options.
    """

    rows: dict[str, int] = field(default_factory=dict)
    left: int = 0
    returned: int = 0
    folds: int = 0
    fold_seconds: float = 0.0
    changelog_bytes: int = 0
    store_files: int = 0
    store_bytes: int = 0
    rocksdb: dict[str, int] = field(default_factory=dict)

    def add(self, other: StateMetrics) -> None:
        """Takes another task's in."""
        for mine, theirs in ((self.rows, other.rows), (self.rocksdb, other.rocksdb)):
            for name, n in theirs.items():
                mine[name] = mine.get(name, 0) + n
        self.left += other.left
        self.returned += other.returned
        self.folds += other.folds
        self.fold_seconds = max(self.fold_seconds, other.fold_seconds)
        self.changelog_bytes += other.changelog_bytes
        self.store_files += other.store_files
        self.store_bytes += other.store_bytes

    def value(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def text(self) -> str:
        """For people, in one line."""
        parts = [f"{name} {n:,} rows" for name, n in self.rows.items()]
        if self.left or self.returned:
            parts.append(f"{self.left:,} rows left memory and {self.returned:,} came back")
        if self.folds or self.changelog_bytes:
            parts.append(
                f"{self.folds:,} folds, the last in {self.fold_seconds:.3f} s, and {self.changelog_bytes:,} bytes since"
            )
        if self.store_files:
            parts.append(f"{self.store_files:,} files of RocksDB, {self.store_bytes:,} bytes")
        parts += [f"{name} {n:,}" for name, n in self.rocksdb.items()]
        return "; ".join(parts)


def summed(tasks: list[dict[str, StateMetrics]]) -> dict[str, StateMetrics]:
    """By node, of all tasks."""
    out: dict[str, StateMetrics] = {}
    for task in tasks:
        for node_id, metrics in task.items():
            out.setdefault(node_id, StateMetrics()).add(metrics)
    return out
