"""When an aggregate of windows tells its results, besides once, when the window closes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.options import duration_text


@dataclass(frozen=True)
class Emission:
    """Durations in µs. `early`: how often a window that is open tells what it has so far; 0: in each epoch; None: not.
    `late`: how often one that has ended tells what late rows make of it. `lateness`: how long it is kept for those."""

    early: int | None = None
    late: int | None = None
    lateness: int = 0

    @property
    def once(self) -> bool:
        """Whether it is only when the window closes."""
        return self.early is None and self.late is None

    def __str__(self) -> str:
        told = []
        for name, delay in (("early", self.early), ("late", self.late)):
            if delay is not None:
                told.append(f"{name} delay {duration_text(delay)}" if delay else f"{name} no delay")
        kept = [f"allow-lateness {duration_text(self.lateness)}"] if self.lateness else []
        return ", ".join([*told, *kept]) or "when windows close"


ONCE = Emission()
