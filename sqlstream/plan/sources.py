"""What a plan reads."""

from __future__ import annotations

from collections.abc import Iterator

from sqlstream.plan import nodes


def scans(plan: nodes.Node) -> Iterator[nodes.Scan]:
    """Every use of a table in `plan`."""
    return (n for n in plan.walk() if isinstance(n, nodes.Scan))


def bounded(plan: nodes.Node) -> bool:
    """Whether every input ends."""
    return all(s.source.bounded for s in scans(plan))


def flows(plan: nodes.Node) -> bool:
    """Whether its rows can be had as those of a pipe come: each is of one row that was read, and is never taken back."""
    if isinstance(plan, nodes.Sort):  # LIMIT alone: who has enough rows stops the query
        return not plan.order and not plan.offset and flows(plan.input)
    parts = (nodes.Scan, nodes.Project, nodes.Filter, nodes.Unnest, nodes.Union)
    plain = all(isinstance(n, parts) for n in plan.walk())
    return plain and any(s.source.live for s in scans(plan)) and all(s.source.append_only for s in scans(plan))


def skipped_records(*plans: nodes.Node) -> int:
    """Malformed records that batch queries have skipped by option, each source's once."""
    sources = {id(s.source): s.source for p in plans for s in scans(p)}
    return sum(s.skipped_records for s in sources.values())
