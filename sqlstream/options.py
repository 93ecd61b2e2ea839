"""Options: `SessionOptions` declares the session's keys (SET, -D); connectors and formats declare theirs likewise.

Every accepted option does what it says; an unknown one is an error with a suggestion. Options of Flink's that cannot
change rows, and have nothing to act on here, are accepted with a note (`WITHOUT_EFFECT`). The documentation of options
(`docs/options.md`) is generated from these declarations.
"""

from __future__ import annotations

import math
import re
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from sqlstream.errors import OptionError, did_you_mean
from sqlstream.secrets import HIDDEN_VALUE as HIDDEN_VALUE
from sqlstream.secrets import is_secret as is_secret
from sqlstream.secrets import shown_value

DEFAULT_DIALECT = "default"  # Flink's, by its name for it
DIALECTS = ("bigquery", "clickhouse", "duckdb", "mysql", "postgres", "snowflake", "spark", "trino", "tsql")

_DURATION = {
    "": 1_000, "ms": 1_000, "milli": 1_000, "millis": 1_000, "millisecond": 1_000, "milliseconds": 1_000,
    "us": 1, "micro": 1, "micros": 1, "microsecond": 1, "microseconds": 1, "µs": 1,
    "s": 1_000_000, "sec": 1_000_000, "secs": 1_000_000, "second": 1_000_000, "seconds": 1_000_000,
    "m": 60_000_000, "min": 60_000_000, "mins": 60_000_000, "minute": 60_000_000, "minutes": 60_000_000,
    "h": 3_600_000_000, "hour": 3_600_000_000, "hours": 3_600_000_000,
    "d": 86_400_000_000, "day": 86_400_000_000, "days": 86_400_000_000,
}  # fmt: skip
_LONGEST = 106_751 * _DURATION["d"]  # what 64 bits hold in nanoseconds, as in Java
_HIGHEST = (("d", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1_000))
# Key groups of keyed state, and so the most tasks that a job can have (Flink's pipeline.max-parallelism).
MAX_PARALLELISM = 128
_SIZES = (("gb", 2**30), ("mb", 2**20), ("kb", 2**10), ("b", 1))
_MEMORY = {"": 1, "b": 1, "bytes": 1, "k": 2**10, "kb": 2**10, "m": 2**20, "mb": 2**20, "g": 2**30, "gb": 2**30}

# RocksDB's figures, by the names that Flink's options (`state.backend.rocksdb.metrics.*`) give them: its properties, one of
# them by level, and what its statistics count, by the names that those have.
STORE_BY_LEVEL = "num-files-at-level"
STORE_LEVELS = 7
STORE_PROPERTIES = (
    "actual-delayed-write-rate",
    "background-errors",
    "block-cache-capacity",
    "block-cache-pinned-usage",
    "block-cache-usage",
    "compaction-pending",
    "cur-size-active-mem-table",
    "cur-size-all-mem-tables",
    "estimate-live-data-size",
    "estimate-num-keys",
    "estimate-pending-compaction-bytes",
    "estimate-table-readers-mem",
    "is-write-stopped",
    "live-sst-files-size",
    "mem-table-flush-pending",
    "num-deletes-active-mem-table",
    "num-deletes-imm-mem-tables",
    "num-entries-active-mem-table",
    "num-entries-imm-mem-tables",
    STORE_BY_LEVEL,
    "num-immutable-mem-table",
    "num-live-versions",
    "num-running-compactions",
    "num-running-flushes",
    "num-snapshots",
    "size-all-mem-tables",
    "total-sst-files-size",
)
STORE_STATISTICS: Mapping[str, tuple[str, ...]] = {
    "block-cache-hit": ("block.cache.hit",),
    "block-cache-miss": ("block.cache.miss",),
    "bloom-filter-full-positive": ("bloom.filter.full.positive",),
    "bloom-filter-full-true-positive": ("bloom.filter.full.true.positive",),
    "bloom-filter-useful": ("bloom.filter.useful",),
    "bytes-read": ("bytes.read", "number.multiget.bytes.read"),
    "bytes-written": ("bytes.written",),
    "compaction-read-bytes": ("compact.read.bytes",),
    "compaction-write-bytes": ("compact.write.bytes",),
    "iter-bytes-read": ("db.iter.bytes.read",),
    "stall-micros": ("stall.micros",),
}
STORE_METRICS = (*STORE_PROPERTIES, *STORE_STATISTICS)


@dataclass(frozen=True)
class Option:
    """One option. `kind`: string, path, paths (several, with `,` between), int, float, bool, duration (µs as int), memory
    (bytes), enum, enums (several of its values, with `;` between: a tuple), ports (a tuple of ranges), map, time zone.

    `key` may end in `.*`: a family (fields.<name>.kind); then `convert` is applied to each member.
    """

    key: str
    kind: str = "string"
    default: Any = None
    doc: str = ""
    choices: tuple[str, ...] = ()
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    reader: str = ""  # of a session option: the module that acts on it
    members: tuple[str, ...] = ()  # of a family: all there are; (): any
    former: tuple[str, ...] = ()  # keys that Flink had for it before; this one wins where both are given
    values: Mapping[str, str] = field(default_factory=dict)  # those that a former key had, as they are called now
    # Of a table's option: what must be the same for a job to go on: its "value", its "presence", or "nothing" of it.
    compared: str = "value"

    def convert(self, text: str, where: str = "option") -> Any:
        """The value of `text`; raises OptionError naming key, value and what was expected."""
        t = text.strip()
        value: Any
        if self.kind in ("string", "path", "paths"):
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
            return self._choice(self.values.get(t.lower(), t), where)
        if self.kind == "ports":
            found = [re.fullmatch(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?", part.strip()) for part in t.split(",")]
            ports = tuple(range(int(m[1]), int(m[2] or m[1]) + 1) for m in found if m)
            if len(ports) < len(found) or not all(ports) or any(r[-1] > 65535 for r in ports):
                raise self._bad(text, "ports such as '9250' or '9250-9260'", where)
            return ports
        if self.kind == "enums":
            return tuple(self._choice(part.strip(), where) for part in t.split(";"))
        if self.kind in ("duration", "memory"):
            m = re.fullmatch(r"(\d+)\s*([a-zA-Zµ]*)", t)
            units = _DURATION if self.kind == "duration" else _MEMORY
            if not m or m.group(2).lower() not in units:
                raise self._bad(
                    text, "a duration such as '10 s'" if self.kind == "duration" else "a size such as '64 mb'", where
                )
            value = int(m.group(1)) * units[m.group(2).lower()]
            if self.kind == "duration" and value > _LONGEST:
                raise self._bad(text, f"at most {duration_text(_LONGEST)}", where)
        elif self.kind == "int":
            if not re.fullmatch(r"[+-]?[0-9]+", t):
                raise self._bad(text, "a whole number", where)
            value = int(t)
        else:
            try:
                value = float(t)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise self._bad(text, "a number", where)
        if self.kind in ("int", "memory") and not -(2**63) <= value < 2**63:
            raise self._bad(text, "a number of 64 bits", where)
        if self.minimum is not None and value < self.minimum:
            raise self._bad(text, f"at least {self.minimum:g}", where)
        if self.maximum is not None and value > self.maximum:
            raise self._bad(text, f"at most {self.maximum:g}", where)
        return value

    def default_text(self) -> str:
        """The default as people write it; "" where there is none."""
        value = self.default
        if self.members:
            return "false"
        if value is None:
            return ""
        if self.kind == "duration":
            return duration_text(value) if value else "0"
        if self.kind == "memory" and value:
            unit, size = next(u for u in _SIZES if value % u[1] == 0)
            return f"{value // size} {unit}"
        if self.kind == "enums":
            return "; ".join(value)
        return str(value).lower() if self.kind == "bool" else str(value)

    def _choice(self, text: str, where: str) -> str:
        for c in self.choices:
            if c.lower() == text.lower():
                return c
        raise OptionError(
            f"{where} '{self.key}': '{text}' is not a value of it", hint=did_you_mean(text, self.choices, "values")
        )

    def _bad(self, text: str, expected: str, where: str) -> OptionError:
        return OptionError(f"{where} '{self.key}': expected {expected}, not '{shown_value(self.key, text)}'")


def duration_text(micros: int) -> str:
    """A duration in the highest unit that it is whole in, as Flink writes it: '36 h'."""
    for unit, size in _HIGHEST:
        if micros and micros % size == 0:
            return f"{micros // size} {unit}"
    return f"{micros} µs" if micros else "0 ms"


V = TypeVar("V")


def over(lower: Mapping[str, V], upper: Mapping[str, V]) -> dict[str, V]:
    """Options by key, those of `upper` in the place of those of `lower`, also where one has a former key of the other's."""

    def named(key: str) -> str:
        option = find(SESSION_OPTIONS, key)
        return key if option is None or option.members else option.key

    if not lower or not upper:
        return {**lower, **upper}
    taken = {named(k) for k in upper}
    return {**{k: v for k, v in lower.items() if named(k) not in taken}, **upper}


def note_of(key: str, value: str) -> str | None:
    """Why a session's option has no effect here, where it is one of Flink's that has none. OptionError where there is no such
    option, or `value` is none of its values."""
    declared = find(SESSION_OPTIONS, key)
    if declared is not None:
        converted(declared, value)
        return None
    if has_one_value(key, value):
        return None
    why = without_effect(key)
    if why is None:
        raise OptionError(f"unknown option '{key}'", hint=suggested(key), subject=key)
    return why


def suggested(key: str) -> str:
    """A hint for a key that is no session option: the nearest ones, else those that have a word of it."""
    known = [o.key for o in SESSION_OPTIONS]
    hint = did_you_mean(key, known, "options")
    if hint.startswith("did you mean"):
        return hint
    words = [w for w in re.split(r"[^a-z0-9]+", key.lower()) if len(w) > 2]
    alike = [k for k in known if any(w in re.split(r"[.-]", k) for w in words)]
    if alike:
        return "did you mean " + " or ".join(alike[:3]) + "?"
    return "`sqlstream config --all` lists all options"


def shown(options: Mapping[str, str]) -> dict[str, str]:
    """Options as they may be printed: secrets hidden."""
    return {k: shown_value(k, v) for k, v in options.items()}


def find(known: Iterable[Option], key: str) -> Option | None:
    """The declaration of `key`, families (`fields.*`) included."""
    for o in known:
        if o.key == key or key in o.former:
            return o
        if (
            o.key.endswith(".*")
            and key.startswith(o.key[:-1])
            and (not o.members or key[len(o.key) - 1 :] in o.members)
        ):
            return o
    return None


def read(given: Mapping[str, str], known: tuple[Option, ...], where: str) -> dict[str, Any]:
    """Converted values of all `known` options (defaults where absent). `where` names the table in errors.

    Family members come under their full keys, former keys under those of today. Raises OptionError for unknown, missing or bad ones.
    """
    out: dict[str, Any] = {o.key: o.default for o in known if not o.key.endswith(".*")}
    for k, text in given.items():
        o = find(known, k)
        if o is None:
            hint = did_you_mean(k, [o.key for o in known], "options")
            raise OptionError(f"{where}: unknown option '{k}'", hint=hint, subject=k)
        value = converted(o, text, f"{where}: option")
        if k not in o.former:
            out[k] = value
        elif o.key not in given:
            out[o.key] = value
    for o in known:
        if o.required and not any(k in given for k in (o.key, *o.former)):
            raise OptionError(f"{where}: option '{o.key}' is missing", hint=o.doc)
    return out


def converted(option: Option, text: str, where: str = "option") -> Any:
    """The value of `text`. OptionError that is about it, and says at least what the option is for."""
    try:
        return option.convert(text, where)
    except OptionError as e:
        e.subject = text
        e.hint = e.hint or option.doc or None
        raise


def _declared(key: str, kind: str = "string", default: Any = None, doc: str = "", **more: Any) -> Any:
    """A field of `SessionOptions` with its declaration."""
    option = Option(key, kind, default, doc, **more)
    return field(default=default, repr=not is_secret(key), metadata={"option": option})


@dataclass(frozen=True)
class SessionOptions:
    """The session's options, converted: what travels to whoever acts on one. Durations are µs, sizes bytes."""

    # fmt: off
    runtime_mode: str = _declared(
        "execution.runtime-mode", "enum", "automatic",
        "batch: one DuckDB query; streaming: epochs through stateful operators; automatic: batch when every "
        "input is bounded and the statement is a plain SELECT",
        choices=("streaming", "batch", "automatic"), reader="pipeline",
    )
    dialect: str = _declared(
        "table.sql-dialect", "enum", DEFAULT_DIALECT,
        "the dialect of queries: Flink's, or one whose queries become Flink SQL (EXPLAIN shows it)",
        choices=(DEFAULT_DIALECT, *DIALECTS), reader="session",
    )
    name: str | None = _declared(
        "pipeline.name", "string", None, "name of the job; a named job is durable and resumes when run again",
        reader="pipeline",
    )
    parallelism: int = _declared(
        "parallelism.default", "int", 1,
        f"number of parallel tasks; at most {MAX_PARALLELISM}, the number of key groups that state is split into",
        minimum=1, maximum=MAX_PARALLELISM, reader="runtime.job",
    )
    interval: int = _declared(
        "execution.checkpointing.interval", "duration", 10_000_000, "time between checkpoints; 0 turns them off",
        reader="runtime.checkpoints",
    )
    checkpoint_dir: str | None = _declared(
        "execution.checkpointing.dir", "path", None,
        "where checkpoints go (any fsspec URL); makes the job durable; default .sqlstream/<pipeline.name>",
        reader="pipeline", former=("state.checkpoints.dir",),
    )
    mode: str = _declared(
        "execution.checkpointing.mode", "enum", "EXACTLY_ONCE",
        "EXACTLY_ONCE: sinks publish with the checkpoint; AT_LEAST_ONCE: each epoch at once",
        choices=("EXACTLY_ONCE", "AT_LEAST_ONCE"), reader="runtime.job",
    )
    retained: int = _declared(
        "execution.checkpointing.num-retained", "int", 2,
        "completed checkpoints kept; two, so that a damaged one has one before it to fall back to",
        minimum=1, reader="runtime.run", former=("state.checkpoints.num-retained",),
    )
    checkpoint_timeout: int = _declared(
        "execution.checkpointing.timeout", "duration", 600_000_000,
        "a checkpoint that is not complete after so long is given up, and counts as failed", minimum=10_000,
        reader="runtime.checkpoints",
    )
    min_pause: int = _declared(
        "execution.checkpointing.min-pause", "duration", 0,
        "time between the end of a checkpoint and the beginning of the next one, at least: for stores so slow that a "
        "checkpoint takes about as long as the interval",
        reader="runtime.checkpoints",
    )
    tolerable_failures: int = _declared(
        "execution.checkpointing.tolerable-failed-checkpoints", "int", 0,
        "how many checkpoints may fail in a row, since their files cannot be written or their time is over, before the "
        "job fails, and is started again as restart-strategy.type says. More than 0 lets it read on while a store is away "
        "for a short time; its output then appears when the store is back", minimum=0,
        reader="runtime.checkpoints",
    )
    retention: str = _declared(
        "execution.checkpointing.externalized-checkpoint-retention", "enum", "RETAIN_ON_CANCELLATION",
        "what becomes of checkpoints when the job is canceled: RETAIN_ON_CANCELLATION keeps them, and the job goes on from "
        "the last one when it is run again; DELETE_ON_CANCELLATION deletes them, and it begins anew; "
        "NO_EXTERNALIZED_CHECKPOINTS deletes them when it fails for good, too. A job that is stopped (Ctrl-C) always keeps them",
        choices=("RETAIN_ON_CANCELLATION", "DELETE_ON_CANCELLATION", "NO_EXTERNALIZED_CHECKPOINTS"), reader="runtime.job",
    )
    incremental: bool = _declared(
        "execution.checkpointing.incremental", "bool", True,
        "a checkpoint names files of those before it, and writes what changed; false: it is complete by itself: all state "
        "is written as Arrow files each time, unless none of an operator's changed",
        reader="runtime.task_state", former=("state.backend.incremental",),
    )
    savepoint_dir: str | None = _declared(
        "execution.checkpointing.savepoint-dir", "path", None,
        "where savepoints go that are asked for without a directory, and periodic ones (any fsspec URL)",
        reader="runtime.savepoints", former=("state.savepoints.dir",),
    )
    savepoint_interval: int = _declared(
        "execution.checkpointing.savepoint.interval", "duration", 0,
        "time between savepoints that the job takes by itself, into execution.checkpointing.savepoint-dir; 0: none. Each is "
        "as large as all state: hours rather than minutes. (Ours: Flink has none such)",
        reader="runtime.savepoints",
    )
    savepoint_retained: int = _declared(
        "execution.checkpointing.savepoint.num-retained", "int", 3,
        "periodic savepoints of a run that are kept; older ones are deleted. Those that somebody asked for never are. (Ours)",
        minimum=1, reader="runtime.savepoints",
    )
    recovery_path: str | None = _declared(
        "execution.state-recovery.path", "path", None,
        "what a job begins from that has no checkpoint of its own: a savepoint's directory, or the directory chk-<n> of a "
        "checkpoint of another run",
        reader="runtime.run", former=("execution.savepoint.path",),
    )
    claim_mode: str = _declared(
        "execution.state-recovery.claim-mode", "enum", "NO_CLAIM",
        "NO_CLAIM: what execution.state-recovery.path names is only read, and stays; CLAIM: it belongs to the job, which "
        "deletes it when its own checkpoints have taken its place",
        choices=("NO_CLAIM", "CLAIM"), reader="runtime.run",
        former=("execution.savepoint-restore-mode", "execution.restore-mode"),
    )
    ignore_unclaimed: bool = _declared(
        "execution.state-recovery.ignore-unclaimed-state", "bool", False,
        "state in execution.state-recovery.path of operators that the job does not have is dropped, and operators that are "
        "new and cannot be computed from their tables begin empty; false: either is refused, with a list",
        reader="runtime.run", former=("execution.savepoint.ignore-unclaimed-state",),
    )
    local_backup: bool = _declared(
        "execution.checkpointing.local-backup.enabled", "bool", False,
        "where checkpoints go to an object store: copies of the files of those that are kept stay in the job's local "
        "directory, and a restart there fetches none that is whole",
        reader="runtime.run", former=("state.backend.local-recovery",),
    )
    local_backup_dirs: str | None = _declared(
        "execution.checkpointing.local-backup.dirs", "paths", None,
        "directories for these copies, separated by commas; on the job's disk they take no place while it runs",
        reader="runtime.run", former=("taskmanager.state.local.root-dirs",),
    )
    restart: str | None = _declared(
        "restart-strategy.type", "enum", None,
        "whether a durable job that fails is started again, in its process, from its last checkpoint: none; fixed-delay, so "
        "many times; failure-rate, unless it fails too often; exponential-delay, for ever, after delays that grow. What would "
        "fail again (a malformed record) is not tried again. Default: exponential-delay where checkpoints are taken, else none",
        choices=("none", "fixed-delay", "failure-rate", "exponential-delay"), reader="runtime.restarts",
        former=("restart-strategy",),
        values={"off": "none", "disable": "none", "fixeddelay": "fixed-delay", "failurerate": "failure-rate",
                "exponentialdelay": "exponential-delay"},
    )
    fixed_attempts: int = _declared(
        "restart-strategy.fixed-delay.attempts", "int", 1, "how many times a job is started again", minimum=0,
        reader="runtime.restarts",
    )
    fixed_delay: int = _declared(
        "restart-strategy.fixed-delay.delay", "duration", 1_000_000, "after what time", reader="runtime.restarts",
    )
    failure_rate: int = _declared(
        "restart-strategy.failure-rate.max-failures-per-interval", "int", 1,
        "how many times a job is started again within the interval; at the next failure in it, it fails for good", minimum=1,
        reader="runtime.restarts",
    )
    failure_interval: int = _declared(
        "restart-strategy.failure-rate.failure-rate-interval", "duration", 60_000_000, "the interval in which failures count",
        minimum=1_000, reader="runtime.restarts",
    )
    failure_delay: int = _declared(
        "restart-strategy.failure-rate.delay", "duration", 1_000_000, "after what time it is started again",
        reader="runtime.restarts",
    )
    initial_backoff: int = _declared(
        "restart-strategy.exponential-delay.initial-backoff", "duration", 1_000_000, "the first delay", minimum=1_000,
        reader="runtime.restarts",
    )
    max_backoff: int = _declared(
        "restart-strategy.exponential-delay.max-backoff", "duration", 60_000_000, "the longest delay", minimum=1_000,
        reader="runtime.restarts",
    )
    backoff_multiplier: float = _declared(
        "restart-strategy.exponential-delay.backoff-multiplier", "float", 1.5, "what a delay is multiplied by for the next one",
        minimum=1, reader="runtime.restarts",
    )
    backoff_reset: int = _declared(
        "restart-strategy.exponential-delay.reset-backoff-threshold", "duration", 3_600_000_000,
        "after how long without a failure the first delay is the next one again", minimum=1_000, reader="runtime.restarts",
    )
    jitter: float = _declared(
        "restart-strategy.exponential-delay.jitter-factor", "float", 0.1,
        "the part of a delay that is added to it or taken from it at random, so that jobs that failed together do not "
        "all come back at once", minimum=0, maximum=1, reader="runtime.restarts",
    )
    backoff_attempts: int | None = _declared(
        "restart-strategy.exponential-delay.attempts-before-reset-backoff", "int", None,
        "how many times a job is started again, counted anew when the delay is the first one again; default: no limit",
        minimum=1, reader="runtime.restarts",
    )
    idle_timeout: int = _declared(
        "table.exec.source.idle-timeout", "duration", 0,
        "a split without new rows for so long no longer holds the watermark back; 0: never", reader="runtime.worker",
    )
    not_null: str = _declared(
        "table.exec.sink.not-null-enforcer", "enum", "ERROR",
        "what becomes of a row with NULL for a NOT NULL column of the table that it is written to: ERROR ends the job, DROP leaves "
        "the row out", choices=("ERROR", "DROP"), reader="pipeline",
    )
    type_length: str = _declared(
        "table.exec.sink.type-length-enforcer", "enum", "IGNORE",
        "what becomes of texts and bytes that have the type of the column that they are written to, and not its length: IGNORE writes "
        "them as they are; TRIM_PAD cuts what is too long, and fills up for CHAR and BINARY. What has another type is always "
        "cast, which does the same", choices=("IGNORE", "TRIM_PAD"), reader="pipeline",
    )
    early_fire: bool = _declared(
        "table.exec.emit.early-fire.enabled", "bool", False,
        "windows of aggregates tell what they have before they close; their rows are then updated. The last one of each is the same",
        reader="pipeline",
    )
    early_delay: int = _declared(
        "table.exec.emit.early-fire.delay", "duration", 0,
        "how often they do, by processing time; 0: in each epoch that brings rows", reader="pipeline",
    )
    late_fire: bool = _declared(
        "table.exec.emit.late-fire.enabled", "bool", False,
        "windows of aggregates take rows that come late, and tell what these make of them; needs table.exec.emit.allow-lateness",
        reader="pipeline",
    )
    late_delay: int = _declared(
        "table.exec.emit.late-fire.delay", "duration", 0,
        "how often they do, by processing time; 0: in each epoch that brings rows", reader="pipeline",
    )
    lateness: int = _declared(
        "table.exec.emit.allow-lateness", "duration", 0,
        "how far the watermark may be behind a window's end when a row of it comes; the window's state is kept until then. "
        "Where late-fire is not enabled it means nothing, as in Flink", reader="pipeline",
    )
    upsert_materialize: str = _declared(
        "table.exec.sink.upsert-materialize", "enum", "AUTO",
        "for tables that know rows by their PRIMARY KEY: whether a SinkMaterializer stands before them, which knows all rows of a "
        "key. AUTO: where rows of several keys of the query can meet in one key of the table; FORCE: always; NONE: never, then "
        "the last change of a key is what the table has", choices=("NONE", "AUTO", "FORCE"), reader="pipeline",
    )
    require_on_conflict: bool = _declared(
        "table.exec.sink.require-on-conflict", "bool", True,
        "whether INSERT needs ON CONFLICT where rows of a query that change can meet in one PRIMARY KEY of the table; false: "
        "without the clause it is ON CONFLICT DO DEDUPLICATE", reader="pipeline",
    )
    state_ttl: int = _declared(
        "table.exec.state.ttl", "duration", 0,
        "how long a row of state lives in a stream without being written, by processing time; 0: for ever. Choose it "
        "longer than the time between two records of a key: what comes after it begins anew. Hint STATE_TTL says it for "
        "one operator. Batch has no use for it",
        reader="pipeline",
    )
    join_reorder: bool = _declared(
        "table.optimizer.join-reorder-enabled", "bool", False,
        "whether a stream runs INNER JOINs in a row in the order in which those come first that give no row twice, by unique keys, "
        "and none without a key. Sizes are not known. Batch leaves it to DuckDB. A job that has begun without it cannot go on with it",
        reader="pipeline",
    )
    multi_join: str = _declared(
        "table.optimizer.multi-join.enabled", "enum", "AUTO",
        "whether a stream runs INNER JOINs in a row by one key as one MultiJoin, which keeps the rows of each input once and "
        "no pairs; each row that comes makes its pairs anew. AUTO (Flink has true and false, which is its default): where the "
        "inputs are only appended to, live for ever, and no join but the last has a condition besides the key, and a job goes on as it "
        "began. A job that has begun in one way cannot go on with a value that says the other one", choices=("AUTO", "true", "false"), reader="pipeline",
    )
    agg_phases: str = _declared(
        "table.optimizer.agg-phase-strategy", "enum", "AUTO",
        "how a stream runs GROUP BY without windows in several tasks. TWO_PHASE: a LocalAggregate in each makes one row of an epoch's "
        "rows of a group, and these rows go to the task of the group; ONE_PHASE: all rows go there; AUTO: as TWO_PHASE, but rows of "
        "an epoch that are few, or of many groups, go as they are. There is one phase where no rows go to other tasks, and where "
        "what an aggregate keeps of an epoch is as long as its rows: DISTINCT in a call, LISTAGG, ARRAY_AGG and all that list a "
        "group's rows, aggregates in Python; over changing rows also MIN, MAX, FIRST_VALUE, LAST_VALUE, what adds up DOUBLE and "
        "FLOAT, and where state lives for a time. A job may go on with another value",
        choices=("AUTO", "TWO_PHASE", "ONE_PHASE"), reader="pipeline",
    )
    distinct_split: bool = _declared(
        "table.optimizer.distinct-agg.split.enabled", "bool", False,
        "whether a stream splits GROUP BY with DISTINCT in calls into two levels: by the keys and a bucket of the values, and by the "
        "keys. So the values of a large group lie in many tasks. Where all calls are COUNT, SUM, AVG, MIN or MAX, no sum is of FLOAT or "
        "DOUBLE and no DISTINCT of them, nested values or TIMESTAMP_LTZ, and without windows and hint STATE_TTL. A job that has begun "
        "with it cannot go on without it; one that has begun without it stays so, if it goes on at all", reader="options",
    )
    distinct_buckets: int = _declared(
        "table.optimizer.distinct-agg.split.bucket-num", "int", 1024,
        "how many buckets that are. A job that has begun with another number cannot go on with it", minimum=1, reader="options",
    )
    recursion_limit: int = _declared(
        "table.exec.recursion.max-iterations", "int", 10_000,
        "how many steps a query of WITH RECURSIVE may take in one epoch of a stream; then the job fails, as one that "
        "goes on for ever would never end. In batch it goes on until it is canceled",
        minimum=1, reader="pipeline",
    )
    non_deterministic_update: str = _declared(
        "table.optimizer.non-deterministic-update.strategy", "enum", "IGNORE",
        "TRY_RESOLVE: a stream is refused where a function that is not deterministic (UUID(), NOW(), one in Python that says so) is computed of "
        "rows that change, and what it gave when a row came would have to be known when the row goes; IGNORE: it runs",
        choices=("IGNORE", "TRY_RESOLVE"), reader="pipeline",
    )
    late_rows: str | None = _declared(
        "table.exec.late-rows.sink", "string", None,
        "the table that gets the rows that operators drop as late, with each checkpoint, from jobs that write (INSERT); '': none. Its "
        "columns are filled by name from the row that was late, those that this lacks with NULL; late_operator, "
        "late_watermark, late_event_time and late_kind say more. Batch has no late rows",
        reader="pipeline",
    )
    time_zone: str = _declared(
        "table.local-time-zone", "time zone", "UTC", "the session's time zone, for TIMESTAMP_LTZ",
        reader="runtime.worker",
    )
    max_drift: int = _declared(
        "scan.watermark.alignment.max-drift", "duration", 0,
        "how far a split's watermark may run ahead of the slowest; 0: no limit",
        reader="runtime.worker",
    )
    backend: str | None = _declared(
        "state.backend.type", "enum", None,
        "where keyed state of a durable job lies: rocksdb (in memory while it fits, beyond it and in checkpoints in "
        "RocksDB), or hashmap (in memory and mapped files; checkpoints are Arrow files, all read when the job goes on); "
        "default: rocksdb. A job that is not durable has hashmap. (filesystem and jobmanager, Flink's former names, mean "
        "hashmap)",
        choices=("rocksdb", "hashmap"), reader="runtime.task_state", former=("state.backend",),
        values={"filesystem": "hashmap", "jobmanager": "hashmap"},
    )
    changelog: bool = _declared(
        "state.changelog.enabled", "bool", True,
        "with rocksdb: a checkpoint writes what changed as an Arrow file, which goes into RocksDB later; false: it goes "
        "into RocksDB at each checkpoint, which takes longer and makes going on faster",
        reader="runtime.task_state",
    )
    materialize_interval: int = _declared(
        "state.changelog.periodic-materialize.interval", "duration", 600_000_000,
        "how often changes are folded into RocksDB in the background; sooner when they are many or memory is short",
        minimum=1, reader="runtime.task_state",
    )
    hot_rows: int | None = _declared(
        "state.backend.hot-rows", "int", None,
        "test aid: with rocksdb, rows of a state that stay in memory after an epoch, where they are reached by key; "
        "default: all that fit taskmanager.memory.managed.size",
        minimum=0, reader="runtime.task_state",
    )
    store_directories: str | None = _declared(
        "state.backend.rocksdb.localdir", "paths", None,
        "directories for RocksDB's files, separated by commas: tasks take them in turn; default: the job's local "
        "directory. On the disk of the checkpoints, where those are local, its files are theirs without a copy",
        reader="runtime.store_places",
    )
    store_managed: bool = _declared(
        "state.backend.rocksdb.memory.managed", "bool", True,
        "RocksDB's memory is a part of taskmanager.memory.managed.size: an eighth of it, 64 mb at most (8 mb at least, "
        "also of less than 64 mb); false: beside it, as much as write buffers and cache of each operator are set to",
        reader="runtime.process",
    )
    store_memory: int | None = _declared(
        "state.backend.rocksdb.memory.fixed-per-slot", "memory", None,
        "RocksDB's memory, for each task, beside taskmanager.memory.managed.size; default: a part of that",
        minimum=1 << 20, reader="runtime.process",
    )
    store_buffered: float = _declared(
        "state.backend.rocksdb.memory.write-buffer-ratio", "float", 1.0,
        "the part of RocksDB's memory that is for rows on their way into files; the rest is a cache of blocks. The "
        "operating system caches files at less cost, so there is none unless this is less than 1",
        minimum=0.1, maximum=1, reader="runtime.process",
    )
    store_cache: int = _declared(
        "state.backend.rocksdb.block.cache-size", "memory", 0,
        "a cache of blocks, where state.backend.rocksdb.memory.managed is false; 0: none, which is best where the "
        "operating system has memory for files",
        reader="runtime.process",
    )
    store_buffer: int = _declared(
        "state.backend.rocksdb.writebuffer.size", "memory", 32 << 20,
        "rows of an operator that are written to a file at once, at most; less where memory is short",
        minimum=1 << 16, reader="runtime.task_state",
    )
    store_buffers: int = _declared(
        "state.backend.rocksdb.writebuffer.count", "int", 4,
        "write buffers of an operator at most: the one being filled, and those that are being written",
        minimum=2, reader="runtime.task_state",
    )
    store_block: int = _declared(
        "state.backend.rocksdb.block.blocksize", "memory", 4096,
        "what is read of a file at once. More makes files smaller, and single rows dearer",
        minimum=1 << 10, maximum=1 << 24, reader="runtime.task_state",
    )
    store_compression: tuple[str, ...] = _declared(
        "state.backend.rocksdb.compression.per.level", "enums", ("LZ4_COMPRESSION",),
        "by level, separated by semicolons; the last one is for those below, too. ZSTD_COMPRESSION below makes files "
        "smaller, for processor time in the background",
        choices=(
            "NO_COMPRESSION", "SNAPPY_COMPRESSION", "ZLIB_COMPRESSION", "BZLIB2_COMPRESSION", "LZ4_COMPRESSION",
            "LZ4HC_COMPRESSION", "ZSTD_COMPRESSION",
        ),
        reader="runtime.task_state",
    )
    store_filter: bool = _declared(
        "state.backend.rocksdb.use-bloom-filter", "bool", True,
        "files have a filter that says which keys are not in them; false saves 10 bits of memory for each key, and "
        "makes keys at random dear", reader="runtime.task_state",
    )
    store_filter_bits: float = _declared(
        "state.backend.rocksdb.bloom-filter.bits-per-key", "float", 10.0,
        "its size; 10 bits let one key of a hundred through. Rounded to whole bits", minimum=1, maximum=64,
        reader="runtime.task_state",
    )
    store_threads: int = _declared(
        "state.backend.rocksdb.thread.num", "int", 2,
        "threads that write RocksDB's files and merge them, beside the job", minimum=1,
        reader="runtime.task_state",
    )
    store_level: int = _declared(
        "state.backend.rocksdb.compaction.level.max-size-level-base", "memory", 256 << 20,
        "files of the first level that is sorted, together; each one below may have ten times as much", minimum=1 << 20,
        reader="runtime.task_state",
    )
    store_file: int = _declared(
        "state.backend.rocksdb.compaction.level.target-file-size-base", "memory", 64 << 20,
        "a file's size. Smaller ones make the uploads of small changes smaller, and checkpoints have more files",
        minimum=1 << 16, reader="runtime.task_state",
    )
    store_open: int = _declared(
        "state.backend.rocksdb.files.open", "int", -1,
        "files that an operator's RocksDB keeps open at most; -1: all", minimum=-1, reader="runtime.task_state",
    )
    store_metrics: tuple[str, ...] = _declared(
        "state.backend.rocksdb.metrics.*", "bool", (),
        "whether EXPLAIN ANALYZE and the manifests of checkpoints have this figure of RocksDB's, summed over tasks, and the "
        "endpoint for Prometheus each task's; default: false. There are: "
        f"{', '.join(STORE_PROPERTIES)}; and, which take RocksDB some time, {', '.join(STORE_STATISTICS)}",
        members=STORE_METRICS,
        reader="runtime.task_state",
    )
    transfers: int = _declared(
        "state.backend.rocksdb.checkpoint.transfer.thread.num", "int", 4,
        "files that are uploaded, fetched and verified at the same time, of both backends", minimum=1,
        reader="runtime.run",
    )
    managed_memory: int | None = _declared(
        "taskmanager.memory.managed.size", "memory", None,
        "memory that keyed state may take in this process; what is beyond it lies in files mapped into memory; "
        "default: 40 % of the machine's memory, or of the container's",
        reader="runtime.process",
    )
    tmp_dirs: str | None = _declared(
        "io.tmp.dirs", "paths", None,
        "directories for state beyond that memory, separated by commas; default: the job's local directory",
        reader="runtime.process",
    )
    s3_endpoint: str | None = _declared(
        "s3.endpoint", "string", None,
        "URL of the store behind s3:// URLs, e.g. http://localhost:9000; default: AWS_ENDPOINT_URL, else AWS",
        reader="environment",
    )
    s3_access_key: str | None = _declared(
        "s3.access-key", "string", None, "its access key; default: AWS_ACCESS_KEY_ID, or what AWS's tools find",
        reader="environment",
    )
    s3_secret_key: str | None = _declared(
        "s3.secret-key", "string", None, "its secret key; default: AWS_SECRET_ACCESS_KEY, or what AWS's tools find",
        reader="environment",
    )
    s3_path_style: bool = _declared(
        "s3.path.style.access", "bool", False,
        "whether the bucket stands in the URL's path and not in its host, as many stores want it", reader="environment",
    )
    gs_endpoint: str | None = _declared(
        "gs.storage.root.url", "string", None,
        "URL of the store behind gs:// URLs, e.g. http://localhost:4443; default: STORAGE_EMULATOR_HOST, else Google Cloud Storage",
        reader="environment",
    )
    gs_key_file: str | None = _declared(
        "gs.auth.service.account.json.keyfile", "string", None,
        "the file with the key of a service account; anon: nobody is said to ask; default: GOOGLE_APPLICATION_CREDENTIALS, or what "
        "Google's tools find", reader="environment",
    )
    azure_account: str | None = _declared(
        "fs.azure.account.name", "string", None,
        "the storage account behind abfs:// URLs that name none (abfs://container@account.dfs.core.windows.net/… does); default: "
        "AZURE_STORAGE_ACCOUNT_NAME", reader="environment",
    )
    azure_key: str | None = _declared(
        "fs.azure.account.key", "string", None, "its key; default: AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_SAS_TOKEN, "
        "or AZURE_STORAGE_CLIENT_ID, …_CLIENT_SECRET and …_TENANT_ID", reader="environment",
    )
    azure_connection: str | None = _declared(
        "fs.azure.connection-string", "string", None,
        "in the place of both: the connection string that Azure shows, or an emulator; default: AZURE_STORAGE_CONNECTION_STRING",
        reader="environment",
    )
    catalog_path: str | None = _declared(
        "table.catalog-store.file.path", "path", None,
        "the directory that keeps the catalog: what CREATE makes is there for the next session. Read when a session begins "
        "that is given no directory otherwise, so SET cannot change it. A session does not overwrite what another one has kept "
        "since it began: its CREATE and DROP are errors then; default: a catalog in memory", reader="session",
    )
    log_format: str = _declared(
        "log.format", "enum", "text",
        "lines of a submitted job's log, and what `sqlstream run` says on standard error: text for people, or a JSON object "
        "each", choices=("text", "json"),
        reader="cli.job_log",
    )
    log_interval: int = _declared(
        "log.interval", "duration", 10_000_000,
        "how often a submitted job writes a line that says how it is; 0: never", reader="cli.job_log",
    )
    log_size: int = _declared(
        "log.max-size", "memory", 10 << 20,
        "how large a submitted job's log may become; then it is put aside, as job.log.1, and a new one begun",
        minimum=1 << 10, reader="cli.job_log",
    )
    log_files: int = _declared(
        "log.max-files", "int", 5, "logs that were put aside and are kept; 0: none", minimum=0, maximum=1000,
        reader="cli.job_log",
    )
    reporters: str | None = _declared(
        "metrics.reporters", "enum", None,
        "prom: a job that runs as a stream and writes has an endpoint for Prometheus (extra sqlstream-engine[prometheus]). "
        "metrics.reporter.prom.port says so, too", choices=("prom",), reader="runtime.reporter",
    )
    prom_port: tuple[range, ...] | None = _declared(
        "metrics.reporter.prom.port", "ports", None,
        "port of the endpoint for Prometheus: the first free one of a port, of a range such as 9250-9260, or of several, "
        "separated by commas; 0: any. Default: none, or 9249 where metrics.reporters is prom. Each job that runs needs one",
        reader="runtime.reporter",
    )
    prom_host: str = _declared(
        "metrics.reporter.prom.host", "string", "127.0.0.1",
        "address that it listens on; 0.0.0.0: of all networks, where everybody may read the names and counts of tables. "
        "(Ours: Flink listens on all)",
        reader="runtime.reporter",
    )
    prom_filter: bool = _declared(
        "metrics.reporter.prom.filterLabelValueCharacters", "bool", False,
        "values of labels have `_` for each character that is no letter, digit, `:` or `_`; false: they are as they are. "
        "(Flink: true)", reader="runtime.reporter",
    )
    window: int = _declared(
        "metrics.window", "duration", 300_000_000,
        "the last minutes over which sqlstream status and the endpoint count what failed, was late or bad (Ours)",
        minimum=1_000_000, reader="runtime.job",
    )
    max_rows: int | None = _declared(
        "execution.epoch.max-rows", "int", None,
        "rows an epoch takes from the sources at most; default: chosen by load", minimum=1, reader="runtime.job",
    )
    seed: int | None = _declared(
        "execution.epoch.random-seed", "int", None,
        "test aid: epochs take a random number of rows, drawn from this seed, execution.epoch.max-rows at most",
        reader="runtime.job",
    )
    result_mode: str = _declared(
        "sql-client.execution.result-mode", "enum", "table",
        "how the shell shows rows. Of a stream, table: the result as it is now, in a view that moves; changelog: its last "
        "changes, in such a view; tableau: rows and changes as they come. A result that ends is a table in all three. The "
        "others (ours) are those of --output, also for a stream",
        choices=("table", "changelog", "tableau", "csv", "json", "jsonl", "markdown", "vertical"), reader="shell.results",
    )
    most_shown: int = _declared(
        "sql-client.execution.max-table-result.rows", "int", 1_000_000,
        "rows that the view of a stream's result holds; the oldest go when there are more", minimum=1,
        reader="shell.results", former=("sql-client.execution.max-table-result-rows",),
    )
    verbose: bool = _declared(
        "sql-client.verbose", "bool", False, "the shell shows Python's traceback of an error, as --debug does",
        reader="shell.shell",
    )
    print_time: bool = _declared(
        "sql-client.display.print-time-cost", "bool", True,
        "the shell says how many rows there were, and how long they took; \\timing turns it on and off",
        reader="shell.results",
    )
    editing_mode: str = _declared(
        "sql-client.editing-mode", "enum", "emacs", "the keys of the shell's editor (Ours)", choices=("emacs", "vi"),
        reader="shell.prompt",
    )
    complete_typing: bool = _declared(
        "sql-client.complete-while-typing", "bool", False,
        "the shell's completions open as one types; false: with Tab (Ours)", reader="shell.prompt",
    )
    dml_sync: bool = _declared(
        "table.dml-sync", "bool", False,
        "an INSERT in a shell on a terminal ends before the next statement; false: it is a job of its own, which goes on "
        "when the shell is left. Everywhere else an INSERT always ends first",
        reader="shell.background",
    )

    # fmt: on

    @property
    def buckets(self) -> int:
        """Into how many DISTINCT values of a group are split; 0: they are not."""
        return self.distinct_buckets if self.distinct_split else 0

    @staticmethod
    def of(given: Mapping[str, str]) -> SessionOptions:
        """Converted values of what is `given` as text; the defaults of the rest. Keys must have been checked."""
        values: dict[str, Any] = {}
        for f in fields(SessionOptions):
            option: Option = f.metadata["option"]
            if option.members:
                on = (m for m in option.members if option.convert(given.get(option.key[:-1] + m, "false")))
                values[f.name] = tuple(on)
                continue
            key = next((k for k in (option.key, *option.former) if k in given), None)
            if key is not None:
                values[f.name] = option.convert(given[key])
        return SessionOptions(**values)


SESSION_OPTIONS: tuple[Option, ...] = tuple(f.metadata["option"] for f in fields(SessionOptions))

# Options of Flink's that a script may bring along: no answer depends on them. A key that ends in `.*` is a family.
WITHOUT_EFFECT: Mapping[str, str] = {
    "pipeline.max-parallelism": f"state always has {MAX_PARALLELISM} key groups",
    "table.exec.mini-batch.*": "every epoch is a batch already, and its size follows the load",
    "table.optimizer.incremental-agg-enabled": "the two levels of a split aggregate are operators of their own",
    "table.optimizer.bushy-join-reorder-threshold": "joins are ordered by their keys, not by cost",
    "table.optimizer.join.broadcast-threshold": "nothing is broadcast",
    "table.optimizer.adaptive-broadcast-join.*": "nothing is broadcast",
    "table.optimizer.skewed-join-optimization.*": "joins run as they are written",
    "table.optimizer.runtime-filter.*": "joins run as they are written",
    "table.optimizer.delta-join.strategy": "joins run as they are written",
    "table.optimizer.dynamic-filtering.enabled": "filters always go into the scans",
    "table.optimizer.source.predicate-pushdown-enabled": "filters always go into the scans",
    "table.optimizer.source.report-statistics-enabled": "plans use no statistics",
    "table.optimizer.reuse-sub-plan-enabled": "equal parts of a plan are always one",
    "table.optimizer.reuse-source-enabled": "a table is always scanned once",
    "table.optimizer.reuse-optimize-block-with-digest-enabled": "equal parts of a plan are always one",
    "table.optimizer.union-all-as-breakpoint-enabled": "equal parts of a plan are always one",
    "table.optimizer.multiple-input-enabled": "a task runs the whole plan",
    "table.exec.resource.*": "parallelism.default is the parallelism of every operator",
    "table.exec.spill-compression.*": "state beyond memory is mapped, not spilled",
    "table.exec.sort.async-merge-enabled": "DuckDB sorts in batch",
    "table.exec.sort.max-num-file-handles": "DuckDB sorts in batch",
    "table.exec.disabled-operators": "each operator has one form",
    "table.exec.operator-fusion-codegen.enabled": "a task runs the whole plan",
    "table.exec.window-agg.buffer-size-limit": "windows are not buffered",
    "table.exec.rank.topn-cache-size": "top-n keeps all its rows in keyed state",
    "table.exec.interval-join.min-cleanup-interval": "rows of joins go as soon as the watermark allows",
    "table.exec.async-lookup.*": "lookup tables are in memory",
    "table.exec.async-scalar.*": "functions run within the epoch",
    "table.exec.simplify-operator-name-enabled": "it is of Flink's user interface",
    "table.exec.uid.*": "operators are known by their place in the plan",
    "table.generated-code.*": "no Java code is generated",
    "execution.state-recovery.from-local": "local copies of state files are used where there are any",
    "execution.batch-shuffle-mode": "tasks share the memory of one process",
    "execution.buffer-timeout": "tasks share the memory of one process",
    "execution.buffer-timeout.*": "tasks share the memory of one process",
    "execution.target": "a job runs in this process",
    "execution.attached": "a job runs in this process",
    "execution.shutdown-on-attached-exit": "a job runs in this process",
    "state.backend.rocksdb.memory.high-prio-pool-ratio": "indexes and filters are in memory, outside the cache of blocks",
    "state.backend.rocksdb.memory.partitioned-index-filters": "indexes and filters are in memory, outside the cache",
    "state.backend.rocksdb.block.metadata-blocksize": "indexes are not partitioned",
    "state.backend.rocksdb.write-batch-size": "rows are written in bulk, as many at a time as measured best",
    "state.backend.rocksdb.timer-service.*": "timers are keyed state like any other",
    "state.backend.rocksdb.log.*": "RocksDB keeps one LOG beside its files",
    "state.backend.rocksdb.rescaling.*": "at another parallelism a store is made anew, of the key groups that it has",
    "state.backend.rocksdb.restore-overlap-fraction-threshold": "at another parallelism a store is made anew",
    "state.backend.rocksdb.use-ingest-db-restore-mode": "at another parallelism a store is made anew",
    "execution.checkpointing.unaligned.*": "a checkpoint is taken between two epochs, when nothing is under way",
    "execution.checkpointing.aligned-checkpoint-timeout": "a checkpoint is taken between two epochs",
    "execution.checkpointing.file-merging.*": "a task writes one file a checkpoint and operator",
    "execution.checkpointing.interval-during-backlog": "no source tells that it has a backlog",
    "execution.checkpointing.snapshot-compression": "state files are always compressed",
    "execution.checkpointing.cleaner.parallel-mode": "files of old checkpoints are deleted beside the job",
    "execution.checkpointing.data-inline-threshold": "state is in files of its own, however small",
    "execution.checkpointing.write-buffer-size": "state files are written whole",
    "pipeline.object-reuse": "rows are Arrow batches",
    "pipeline.operator-chaining": "a task runs the whole plan",
    "pipeline.operator-chaining.*": "a task runs the whole plan",
    "pipeline.auto-generate-uids": "operators are known by their place in the plan",
    "pipeline.auto-watermark-interval": "watermarks move with every epoch",
    "taskmanager.numberOfTaskSlots": "a job runs in this process",
    "taskmanager.memory.*": "of Flink's memory model only taskmanager.memory.managed.size has its like",
    "jobmanager.*": "a job runs in this process",
    "rest.*": "there is no server",
    "metrics.reporter.prom.interval": "Prometheus says when it reads",
    "metrics.reporter.prom.scope.*": "names and labels are those of Flink's own scopes",
    "metrics.scope.*": "Prometheus has labels instead",
    "metrics.latency.*": "no markers go through operators: a row's lag is that of the watermark",
    "metrics.internal.*": "there is no web interface that would ask",
    "metrics.fetcher.*": "there is no web interface that would ask",
    "metrics.job.status.enable": "runningTime and restartingTime are always there",
    "metrics.system-resource": "the machine's own exporter tells of it",
    "metrics.system-resource-probing-interval": "the machine's own exporter tells of it",
    "state.backend.rocksdb.metrics.column-family-as-variable": "an operator's RocksDB has one column family",
}

# Options of Flink's of which one value can be had, and why the others cannot.
ONE_VALUE: Mapping[str, tuple[str, str]] = {
    "execution.checkpointing.unaligned.enabled": (
        "false", "a checkpoint is taken between two epochs: nothing is under way between operators that it could overtake"
    ),
    "execution.checkpointing.max-concurrent-checkpoints": (
        "1", "a checkpoint holds what changed since the one before, so it cannot be complete sooner than that; a shorter "
        "'execution.checkpointing.interval' begins the next one as soon as that is"
    ),
    "metrics.reporter.prom.factory.class": (
        "org.apache.flink.metrics.prometheus.PrometheusReporterFactory", "the reporter of that name is ours"
    ),
    "execution.checkpointing.storage": (
        "filesystem", "checkpoints are files in 'execution.checkpointing.dir'"
    ),
    "execution.checkpointing.checkpoints-after-tasks-finish.enabled": (
        "true", "without a checkpoint after the inputs have ended, the output since the one before would never be published"
    ),
}  # fmt: skip
_FORMER = {
    "execution.checkpointing.unaligned": "execution.checkpointing.unaligned.enabled",
    "state.checkpoint-storage": "execution.checkpointing.storage",
}


def has_one_value(key: str, value: str) -> bool:
    """Whether it is an option of which one value can be had. OptionError when `value` is another."""
    found = ONE_VALUE.get(_FORMER.get(key, key))
    if found is None:
        return False
    if value.strip().lower() != found[0].lower():
        raise OptionError(f"option '{key}': only '{found[0]}' can be had, not '{value}'", hint=found[1])
    return True


def without_effect(key: str) -> str | None:
    """Why an option of Flink's has nothing to act on here; None for all others, also those that are declared."""
    if find(SESSION_OPTIONS, key) is not None:
        return None
    for known, why in WITHOUT_EFFECT.items():
        if key == known or (known.endswith(".*") and key.startswith(known[:-1])):
            return why
    return None
