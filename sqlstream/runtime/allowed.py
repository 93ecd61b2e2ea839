"""What a user accepts when a job goes on as another one. Apart from the comparison, which loads all operators."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Allowed:
    """Operators (ids or names) that may lose what they knew, and tables whose rows stay as they are while what follows
    is by another query. `rest`: all others, too, where nothing better can be done."""

    start_empty: frozenset[str] = frozenset()
    keep_output: frozenset[str] = frozenset()
    rest: bool = False
