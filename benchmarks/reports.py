"""What the commands print and keep: Markdown tables, and JSON that says where and when it was measured."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left, the others to the right. Short rows are filled up."""
    lines = [[*head], *([*r, *[""] * (len(head) - len(r))] for r in rows)]
    sizes = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines.insert(1, ["-" * (s - 1) + ":" if i else "-" * s for i, s in enumerate(sizes)])
    padded = ([c.rjust(s) if i else c.ljust(s) for i, (c, s) in enumerate(zip(x, sizes, strict=True))] for x in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """`figures` with machine and time; nothing without a path."""
    if path is not None:
        path.write_text(json.dumps({"measured": now(), "machine": machine(), **figures}, indent=1, default=str))


def machine() -> dict[str, Any]:
    """What makes figures comparable."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": model or platform.machine(), "cores": os.cpu_count(), "memory_gb": round(memory / 1e9)}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
