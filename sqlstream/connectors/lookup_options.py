"""The options of tables that lookup joins ask for the rows of keys, by Flink's names, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlstream.contracts import KeyedCache, LookupCache, TableContext
from sqlstream.errors import OptionError
from sqlstream.options import Option

LOOKUP_OPTIONS = (
    Option("lookup.cache", "enum", "NONE",
           "what a lookup join remembers of the table: NONE: nothing, each epoch asks for its keys; PARTIAL: keys that were "
           "asked for, by lookup.partial-cache.*; FULL: the whole table, as it was when it was read",
           choices=("NONE", "PARTIAL", "FULL"), compared="nothing"),
    Option("lookup.partial-cache.max-rows", "int", None, "so many keys at most; those not used for longest go",
           minimum=1, former=("lookup.cache.max-rows",), compared="nothing"),
    Option("lookup.partial-cache.expire-after-write", "duration", None, "how long after a key was asked for",
           minimum=1, former=("lookup.cache.ttl",), compared="nothing"),
    Option("lookup.partial-cache.expire-after-access", "duration", None, "how long after a key was used last",
           minimum=1, compared="nothing"),
    Option("lookup.partial-cache.cache-missing-key", "bool", True, "whether keys without rows are remembered too",
           former=("lookup.cache.caching-missing-key",), compared="nothing"),
    Option("lookup.full-cache.periodic-reload.interval", "duration", None, "with FULL: read the table anew so often",
           minimum=1, compared="nothing"),
    Option("lookup.max-retries", "int", 3, "tries after one that failed for a reason that may pass", minimum=0,
           compared="nothing"),
)  # fmt: skip
# Of tables that cannot be read whole.
PARTIAL_OPTIONS = tuple(
    replace(
        o,
        choices=("NONE", "PARTIAL"),
        doc="what a lookup join remembers of the table: NONE: nothing, each epoch asks for its keys; PARTIAL: keys that were asked for, "
        "by lookup.partial-cache.*",
    )
    if o.key == "lookup.cache"
    else o
    for o in LOOKUP_OPTIONS
    if not o.key.startswith("lookup.full-cache.")
)


def caches(table: TableContext, options: Mapping[str, Any]) -> tuple[LookupCache, KeyedCache | None]:
    """What a lookup join remembers; no KeyedCache: it reads the table whole. OptionError for options of another cache."""
    kind, reload = options["lookup.cache"], options.get("lookup.full-cache.periodic-reload.interval")
    former = [k for k in ("lookup.cache.max-rows", "lookup.cache.ttl") if k in table.options]
    if len(former) == 2 and "lookup.cache" not in table.options:  # Flink then caches, without being told
        kind = "PARTIAL"
    given = next((k for k in table.options if k.startswith(("lookup.partial-cache.", "lookup.cache."))), None)
    if given is not None and kind != "PARTIAL":
        raise OptionError(
            f"table {table.name}: option '{given}' is for 'lookup.cache' = 'PARTIAL'",
            hint="say so, or leave it out",
            subject=given,
        )
    if reload is not None and kind != "FULL":
        key = "lookup.full-cache.periodic-reload.interval"
        raise OptionError(f"table {table.name}: option '{key}' is for 'lookup.cache' = 'FULL'", subject=key)
    if kind == "FULL":
        return LookupCache(True, reload), None
    if kind == "NONE":
        return LookupCache(), KeyedCache()
    return LookupCache(), KeyedCache(
        options["lookup.partial-cache.max-rows"],
        options["lookup.partial-cache.expire-after-write"],
        options["lookup.partial-cache.expire-after-access"],
        options["lookup.partial-cache.cache-missing-key"],
    )


def partial_cache(table: TableContext, options: Mapping[str, Any]) -> KeyedCache:
    """Of a table with PARTIAL_OPTIONS."""
    found = caches(table, options)[1]
    assert found is not None
    return found
