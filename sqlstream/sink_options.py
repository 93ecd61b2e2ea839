"""Flink's option of tables `sink.parallelism`: how many tasks of a job write to one.

Of any table that is written, whatever its connector: the binder takes it off before the connector sees its own, and the lowering
puts an Exchange before a sink that fewer tasks have than the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlstream.errors import OptionError
from sqlstream.options import Option, converted

PARALLELISM = "sink.parallelism"
OPTIONS = (
    Option(
        PARALLELISM, "int", None, "how many tasks write, of those of the job: as many as it has, or fewer. A batch job writes by one",
        minimum=1, compared="nothing",
    ),
)  # fmt: skip
KEYS = frozenset(o.key for o in OPTIONS)


def sink_parallelism(table: str, options: Mapping[str, str]) -> int | None:
    """How many tasks write to the table; None: all. OptionError for what is no such number."""
    given: dict[str, Any] = {
        o.key: converted(o, options[o.key], f"table {table}: option") for o in OPTIONS if o.key in options
    }
    return given.get(PARALLELISM)


def sink_tasks(table: str, options: Mapping[str, str], parallelism: int) -> int:
    """The same in a job of so many tasks; 0: all. OptionError where the job has fewer."""
    found = sink_parallelism(table, options)
    if found is not None and found > parallelism:
        has = "one task" if parallelism == 1 else f"{parallelism} tasks"
        raise OptionError(
            f"table {table}: option '{PARALLELISM}' is {found}, and the job has {has}: a sink has no more of them than its job",
            hint=f"SET 'parallelism.default' = '{found}', or leave '{PARALLELISM}' out",
            subject=PARALLELISM,
        )
    return 0 if found is None or found == parallelism else found
