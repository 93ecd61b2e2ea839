"""Tables of topics, and their rows in every way."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .topics import Topics

COLUMNS = "id BIGINT, name STRING"


def declare(
    connection: Any,
    topics: Topics,
    topic: str,
    columns: str = COLUMNS,
    name: str = "t",
    bounded: bool = True,
    **more: str,
) -> None:
    options = {
        "connector": "kafka", "topic": topic, "properties.bootstrap.servers": topics.bootstrap, "format": "json",
        "scan.startup.mode": "earliest-offset", **({"scan.bounded.mode": "latest-offset"} if bounded else {}),
        **{k.replace("__", "-").replace("_", "."): v for k, v in more.items()},
    }  # fmt: skip
    said = ", ".join(f"'{k}' = '{v}'" for k, v in options.items() if v)
    connection.execute(f"CREATE TEMPORARY TABLE {name} ({columns}) WITH ({said})")


def both_ways(connection: Any, sql: str) -> list[Any]:
    """The rows of a query, in batch and streaming the same ones."""
    found = []
    for mode in ("batch", "streaming"):
        connection.execute(f"SET 'execution.runtime-mode' = '{mode}'")
        cursor = connection.execute(sql)
        rows = cursor.fetchall()
        if cursor.description[0][0] == "op":  # changes
            left = Counter(r[1:] for r in rows if r[0] in ("+I", "+U"))
            left.subtract(r[1:] for r in rows if r[0] in ("-D", "-U"))
            rows = list(left.elements())
        found.append(sorted(rows, key=repr))
    assert found[0] == found[1]
    return found[0]
