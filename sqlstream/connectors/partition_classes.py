"""What Python classes of the user's say of partitions: when one was, and what happens when it is complete.

    class Hourly:                                       # 'partition.time-extractor.class' = 'mine.Hourly'
        def extract(self, keys, values):                # ['day', 'hour'], ['20260101', '10']
            return datetime.strptime(''.join(values), '%Y%m%d%H')

    class Announce:                                     # 'sink.partition-commit.policy.class' = 'mine.Announce'
        def __init__(self, url): ...                    # 'sink.partition-commit.policy.class.parameters' = 'https://…'
        def commit(self, partition): ...                # a CompletePartition

In the place of Flink's Java interfaces PartitionTimeExtractor and PartitionCommitPolicy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlstream.errors import DataError, OptionError, RunError, SqlStreamError
from sqlstream.functions.user import load


@dataclass(frozen=True)
class CompletePartition:
    """What a policy is told: the directory of the partition, its columns, and their values as texts."""

    path: str
    keys: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True)
class PartitionClass:
    """A class at 'module.Class', made with texts, of which `method` is called. `option`: that names it."""

    path: str
    method: str
    option: str
    parameters: tuple[str, ...] = ()

    def made(self) -> Any:
        """One of it. OptionError where there is no such class, or it cannot be made."""
        try:
            found = load(self.path)(*self.parameters)
        except SqlStreamError as e:
            raise OptionError(f"option '{self.option}': {e.message}", hint=e.hint, subject=self.option) from e
        except Exception as e:  # what it does is the user's
            raise OptionError(
                f"option '{self.option}': {self.path} raised {type(e).__name__}: {e}",
                hint="it is called with the texts of 'sink.partition-commit.policy.class.parameters'"
                if self.method == "commit"
                else "it is called without arguments",
            ) from e
        if not callable(getattr(found, self.method, None)):
            raise OptionError(
                f"option '{self.option}': {self.path} has no method {self.method}",
                hint=f"def {self.method}(self, partition)"
                if self.method == "commit"
                else f"def {self.method}(self, keys, values)",
            )
        return found

    def time(self, keys: Sequence[str], values: Sequence[str], where: str) -> datetime:
        """When a partition is. DataError where the class does not say."""
        try:
            found = self.made().extract(list(keys), list(values))
        except SqlStreamError:
            raise
        except Exception as e:
            raise DataError(f"{where}: {self.path} raised {type(e).__name__}: {e}") from e
        if not isinstance(found, datetime) or found.tzinfo is not None:
            raise DataError(f"{where}: {self.path} gave {found!r}, which is no datetime without a zone")
        return found

    def commit(self, partition: CompletePartition) -> None:
        """Tells the class of a complete partition; again after a failure. RunError with what it raised."""
        try:
            self.made().commit(partition)
        except SqlStreamError:
            raise
        except Exception as e:
            raise RunError(f"partition {partition.path}: {self.path} raised {type(e).__name__}: {e}") from e
