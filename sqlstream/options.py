"""Options: one registry of the session's keys (SET, -D); connectors and formats declare theirs in the same form.

Every accepted option does what it says; an unknown one is an error with a suggestion. The documentation of
options (`docs/options.md`) is generated from these declarations.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlstream.errors import OptionError, did_you_mean
from sqlstream.secrets import HIDDEN_VALUE as HIDDEN_VALUE
from sqlstream.secrets import is_secret as is_secret
from sqlstream.secrets import redacted

_DURATION = {
    "": 1_000, "ms": 1_000, "milli": 1_000, "millis": 1_000, "millisecond": 1_000, "milliseconds": 1_000,
    "us": 1, "micro": 1, "micros": 1, "microsecond": 1, "microseconds": 1, "µs": 1,
    "s": 1_000_000, "sec": 1_000_000, "secs": 1_000_000, "second": 1_000_000, "seconds": 1_000_000,
    "m": 60_000_000, "min": 60_000_000, "mins": 60_000_000, "minute": 60_000_000, "minutes": 60_000_000,
    "h": 3_600_000_000, "hour": 3_600_000_000, "hours": 3_600_000_000,
    "d": 86_400_000_000, "day": 86_400_000_000, "days": 86_400_000_000,
}  # fmt: skip
_MEMORY = {"": 1, "b": 1, "bytes": 1, "k": 2**10, "kb": 2**10, "m": 2**20, "mb": 2**20, "g": 2**30, "gb": 2**30}


@dataclass(frozen=True)
class Option:
    """One option. `kind`: string, int, float, bool, duration (µs as int), memory (bytes), enum, map, time zone.

    `key` may end in `.*`: a family (fields.<name>.kind); then `convert` is applied to each member.
    """

    key: str
    kind: str = "string"
    default: Any = None
    doc: str = ""
    choices: tuple[str, ...] = ()
    required: bool = False
    minimum: float | None = None

    def convert(self, text: str, where: str = "option") -> Any:
        """The value of `text`; raises OptionError naming key, value and what was expected."""
        t = text.strip()
        value: Any
        if self.kind == "string":
            return text
        if self.kind == "time zone":
            try:
                return zoneinfo.ZoneInfo(t).key
            except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError
                raise self._bad(text, "a time zone such as 'Europe/Berlin'", where) from None
            except KeyError:
                raise OptionError(
                    f"{where} '{self.key}': there is no time zone '{text}'",
                    hint=did_you_mean(t, sorted(zoneinfo.available_timezones()), "zones"),
                ) from None
        if self.kind == "bool":
            if t.lower() not in ("true", "false"):
                raise self._bad(text, "true or false", where)
            return t.lower() == "true"
        if self.kind == "enum":
            for c in self.choices:
                if c.lower() == t.lower():
                    return c
            raise OptionError(
                f"{where} '{self.key}': '{text}' is not a value of it", hint=did_you_mean(t, self.choices, "values")
            )
        if self.kind in ("duration", "memory"):
            m = re.fullmatch(r"(\d+)\s*([a-zA-Zµ]*)", t)
            units = _DURATION if self.kind == "duration" else _MEMORY
            if not m or m.group(2).lower() not in units:
                raise self._bad(
                    text, "a duration such as '10 s'" if self.kind == "duration" else "a size such as '64 mb'", where
                )
            value = int(m.group(1)) * units[m.group(2).lower()]
        else:
            try:
                value = int(t) if self.kind == "int" else float(t)
            except ValueError:
                raise self._bad(text, "a whole number" if self.kind == "int" else "a number", where) from None
        if self.minimum is not None and value < self.minimum:
            raise self._bad(text, f"at least {self.minimum:g}", where)
        return value

    def _bad(self, text: str, expected: str, where: str) -> OptionError:
        shown = HIDDEN_VALUE if is_secret(self.key) else text
        return OptionError(f"{where} '{self.key}': expected {expected}, not '{shown}'")


def shown(options: Mapping[str, str]) -> dict[str, str]:
    """Options as they may be printed: secrets hidden."""
    return {k: HIDDEN_VALUE if is_secret(k) else redacted(v) for k, v in options.items()}


def find(known: Iterable[Option], key: str) -> Option | None:
    """The declaration of `key`, families (`fields.*`) included."""
    for o in known:
        if o.key == key or (o.key.endswith(".*") and key.startswith(o.key[:-1])):
            return o
    return None


def read(given: Mapping[str, str], known: tuple[Option, ...], where: str) -> dict[str, Any]:
    """Converted values of all `known` options (defaults where absent). `where` names the table in errors.

    Family members come under their full keys. Raises OptionError for unknown, missing or bad ones.
    """
    out: dict[str, Any] = {o.key: o.default for o in known if not o.key.endswith(".*")}
    for k, text in given.items():
        o = find(known, k)
        if o is None:
            raise OptionError(f"{where}: unknown option '{k}'", hint=did_you_mean(k, [o.key for o in known], "options"))
        out[k] = o.convert(text, where=f"{where}: option")
    for o in known:
        if o.required and o.key not in given:
            raise OptionError(f"{where}: option '{o.key}' is missing", hint=o.doc)
    return out


SESSION_OPTIONS: tuple[Option, ...] = (
    Option("execution.runtime-mode", "enum", "automatic",
           "batch: one DuckDB query; streaming: epochs through stateful operators; automatic: batch when every "
           "input is bounded and the statement is a plain SELECT", ("streaming", "batch", "automatic")),
    Option("pipeline.name", "string", None, "name of the job; a named job is durable and resumes when run again"),
    Option("parallelism.default", "int", 1, "number of parallel tasks", minimum=1),
    Option("execution.checkpointing.interval", "duration", None,
           "time between checkpoints; a durable job's default is 10 s; 0 turns them off"),
    Option("execution.checkpointing.dir", "string", None,
           "where checkpoints go (any fsspec URL); makes the job durable; default .sqlstream/<pipeline.name>"),
    Option("execution.checkpointing.mode", "enum", "EXACTLY_ONCE",
           "EXACTLY_ONCE: sinks publish with the checkpoint; AT_LEAST_ONCE: each epoch at once",
           ("EXACTLY_ONCE", "AT_LEAST_ONCE")),
    Option("execution.checkpointing.num-retained", "int", 2,
           "completed checkpoints kept; two, so that a damaged one has one before it to fall back to", minimum=1),
    Option("table.exec.source.idle-timeout", "duration", 0,
           "a split without new rows for so long no longer holds the watermark back; 0: never"),
    Option("table.local-time-zone", "time zone", "UTC", "the session's time zone, for TIMESTAMP_LTZ"),
    Option("scan.watermark.alignment.max-drift", "duration", 0,
           "how far a split's watermark may run ahead of the slowest; 0: a default that suits replay"),
    Option("pipeline.max-parallelism", "int", 128, "number of key groups; fixed at 128", minimum=128),
    Option("taskmanager.memory.managed.size", "memory", None,
           "memory that keyed state may take in this process; what is beyond it lies in files mapped into memory; "
           "default: 40 % of the machine's memory, or of the container's"),
    Option("io.tmp.dirs", "string", None,
           "directories for state beyond that memory, separated by commas; default: the job's local directory"),
    Option("s3.endpoint", "string", None,
           "URL of the store behind s3:// URLs, e.g. http://localhost:9000; default: AWS_ENDPOINT_URL, else AWS"),
    Option("s3.access-key", "string", None, "its access key; default: AWS_ACCESS_KEY_ID, or what AWS's tools find"),
    Option("s3.secret-key", "string", None, "its secret key; default: AWS_SECRET_ACCESS_KEY, or what AWS's tools find"),
    Option("s3.path.style.access", "bool", False,
           "whether the bucket stands in the URL's path and not in its host, as many stores want it"),
    Option("execution.epoch.max-rows", "int", None,
           "rows an epoch takes from the sources at most; default: chosen by load"),
    Option("execution.epoch.random-seed", "int", None,
           "test aid: epochs take a random number of rows, drawn from this seed, execution.epoch.max-rows at most"),
)  # fmt: skip
