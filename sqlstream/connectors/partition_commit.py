"""When a partition is complete, and what then tells its readers: a success file in its directory, or a Python class.

As in Flink: with `process-time` a partition is due when its delay is over since the sink first saw it, with
`partition-time` when the watermark is past the time that its values say, and the delay. All that are left are due when the
input has ended. A partition that gets rows later is due again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlstream.batches import END
from sqlstream.connectors.partition_classes import PartitionClass
from sqlstream.connectors.partitions import Partitions
from sqlstream.errors import DataError, NotSupported, OptionError
from sqlstream.options import Option

SUCCESS = "_SUCCESS"
OPTIONS = (
    Option("partition.default-name", "string", "__DEFAULT_PARTITION__",
           "the value of a partition's directory where the column is NULL or an empty string"),
    Option("partition.time-extractor.kind", "enum", "default",
           "how the time of a partition is told: by its values, or by a Python class (custom)",
           choices=("default", "custom"), compared="nothing"),
    Option("partition.time-extractor.class", "string", None,
           "of custom: module.Class, with a method extract(keys, values) that gives a datetime", compared="nothing"),
    Option("partition.time-extractor.timestamp-pattern", "string", None,
           "the time of a partition, with $column for values: '$dt $hour:00:00'; default: the first column",
           compared="nothing"),
    Option("partition.time-extractor.timestamp-formatter", "string", None,
           "how that is written, in Java's letters; default: yyyy-MM-dd HH:mm:ss, or the date alone", compared="nothing"),
    Option("sink.partition-commit.trigger", "enum", "process-time",
           "a partition is complete some time after it was begun (process-time), or when the watermark is past the time "
           "of its values (partition-time)", choices=("process-time", "partition-time"), compared="nothing"),
    Option("sink.partition-commit.delay", "duration", 0,
           "how long after that: 1 h for hourly partitions that are told by their beginning", compared="nothing"),
    Option("sink.partition-commit.watermark-time-zone", "time zone", "UTC",
           "the zone of partitions' times, where the watermark is of a TIMESTAMP_LTZ", compared="nothing"),
    Option("sink.partition-commit.policy.kind", "string", None,
           "what happens to a complete partition: success-file, custom (a Python class is told), or both, with `,` between "
           "(metastore is refused: there is none); default: nothing", compared="nothing"),
    Option("sink.partition-commit.policy.class", "string", None,
           "of custom: module.Class, with a method commit(partition)", compared="nothing"),
    Option("sink.partition-commit.policy.class.parameters", "string", None,
           "of custom: what the class is made with, texts with `;` between", compared="nothing"),
    Option("sink.partition-commit.success-file.name", "string", SUCCESS, "the name of the success file",
           compared="nothing"),
)  # fmt: skip
_DEFAULT = re.compile(r"(\d{1,4})-(\d{1,2})-(\d{1,2})(?: (\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{0,9}))?)?")
_LETTERS = {
    "y": "year",
    "u": "year",
    "M": "month",
    "d": "day",
    "H": "hour",
    "m": "minute",
    "s": "second",
    "S": "fraction",
}
_FORMATTER = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|.", re.DOTALL)


@dataclass(frozen=True)
class TimeExtractor:
    """The time of a partition, of its values, or as a class says."""

    pattern: str | None
    formatter: str | None
    zone: str
    said: PartitionClass | None = None

    def time(self, partitions: Partitions, directory: str) -> int:
        """In µs since 1970 UTC. DataError where its values are no time."""
        texts = partitions.texts(directory) or {}
        if self.said is not None:
            where = f"table {partitions.table}: partition {directory}"
            return self._moment(self.said.time(partitions.names, [texts[n] for n in partitions.names], where), where)
        text = texts[partitions.names[0]]
        if self.pattern is not None:
            # the longest names first: $day is no $d with something behind it; and values are no patterns
            names = "|".join(re.escape(n) for n in sorted(texts, key=len, reverse=True))
            text = re.sub(rf"\$({names})", lambda m: texts[m[1]], self.pattern)
        found = self._parsed(text)
        if found is None:
            raise DataError(
                f"table {partitions.table}: partition {directory} has no time: '{text}' is not written as "
                f"{self.formatter or 'yyyy-MM-dd HH:mm:ss'}",
                hint="'partition.time-extractor.timestamp-pattern' says how it is made of the columns, e.g. "
                "'$dt $hour:00:00', and '….timestamp-formatter' how it is written",
            )
        return self._moment(found, f"table {partitions.table}: partition {directory}")

    def _moment(self, found: datetime, where: str) -> int:
        try:
            local = found.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC)
        except OverflowError:
            raise DataError(
                f"{where}: its time, {found} in {self.zone}, is before the year 1 or behind 9999 in UTC"
            ) from None
        return round((local - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)

    def _parsed(self, text: str) -> datetime | None:
        names = ("year", "month", "day", "hour", "minute", "second", "fraction")
        if self.formatter is None:
            match = _DEFAULT.fullmatch(text)
            found = {} if match is None else dict(zip(names, match.groups(), strict=True))
        else:
            match = re.fullmatch(formatter_pattern(self.formatter), text)
            found = {} if match is None else match.groupdict()
        if match is None:
            return None
        number = {k: int(v) for k, v in found.items() if v and k != "fraction"}
        fraction = int(((found.get("fraction") or "") + "000000")[:6])
        try:
            return datetime(
                number["year"],
                number["month"],
                number["day"],
                number.get("hour", 0),
                number.get("minute", 0),
                number.get("second", 0),
                fraction,
            )
        except ValueError:
            return None


def formatter_pattern(formatter: str) -> str:
    """A regular expression with the groups year, month, … for a pattern in Java's letters. OptionError."""
    out = []
    for match in _FORMATTER.finditer(formatter):
        run, quoted, letter = match.group(), match.group(1), match.group(2)
        if letter is None:
            out.append(re.escape(quoted.replace("''", "'") or "'" if quoted is not None else run))
        elif letter not in _LETTERS:
            raise _bad(formatter, f"the letter '{letter}'")
        else:
            digits = f"{{{len(run)}}}" if len(run) > 1 or letter == "S" else "{1,4}" if letter in "yu" else "{1,2}"
            out.append(rf"(?P<{_LETTERS[letter]}>\d{digits})")
    text = "".join(out)
    try:
        groups = re.compile(text).groupindex
    except re.error:
        raise _bad(formatter, "a field twice") from None
    if not {"year", "month", "day"} <= groups.keys():
        raise _bad(formatter, "no year, month and day")
    return text


def _bad(formatter: str, what: str) -> OptionError:
    return OptionError(
        f"option 'partition.time-extractor.timestamp-formatter': '{formatter}' has {what}",
        hint="letters are y M d H m s S, as in yyyyMMdd or yyyy-MM-dd HH:mm:ss; others in quotes",
    )


@dataclass(frozen=True)
class PartitionCommit:
    """What the options of a table say. `extractor`: None for the clock (process-time). `file`: the success file's name, ""
    for none; `told`: the class that is told."""

    partitions: Partitions
    delay: int
    extractor: TimeExtractor | None
    file: str
    told: PartitionClass | None = None

    def check(self, directory: str) -> None:
        """DataError when the partition has no time, and needs one."""
        if self.extractor is not None:
            self.extractor.time(self.partitions, directory)

    def due(self, pending: Mapping[str, int], watermark: int, now: int) -> list[str]:
        """Of `pending`, the partitions' directories and when they were first seen, those that are complete."""
        if watermark == END:
            return sorted(pending)
        if self.extractor is None:
            return sorted(d for d, seen in pending.items() if not self.delay or now > seen + self.delay)
        return sorted(d for d in pending if watermark > self.extractor.time(self.partitions, d) + self.delay)


def partition_commit(partitions: Partitions, options: Mapping[str, Any]) -> PartitionCommit | None:
    """None: nobody is told. OptionError, NotSupported for what is not to be had."""
    where = f"table {partitions.table}"
    said = _class(
        where, "partition.time-extractor", options["partition.time-extractor.kind"] == "custom", "extract",
        options["partition.time-extractor.class"], None,
    )  # fmt: skip
    if options["partition.time-extractor.timestamp-formatter"] is not None:
        formatter_pattern(options["partition.time-extractor.timestamp-formatter"])
    kinds = [k.strip() for k in (options["sink.partition-commit.policy.kind"] or "").split(",") if k.strip()]
    if "metastore" in kinds:
        raise NotSupported(
            f"{where}: 'sink.partition-commit.policy.kind': there is no Hive metastore to tell",
            hint="'success-file' puts a file into each complete partition, and 'custom' tells a Python class",
        )
    told = _class(
        where, "sink.partition-commit.policy", "custom" in kinds, "commit", options["sink.partition-commit.policy.class"],
        options["sink.partition-commit.policy.class.parameters"],
    )  # fmt: skip
    if unknown := [k for k in kinds if k not in ("success-file", "custom")]:
        raise OptionError(
            f"{where}: option 'sink.partition-commit.policy.kind': '{unknown[0]}' is not a value of it",
            hint="did you mean 'success-file'?",
        )
    if not kinds:
        return None
    if not partitions:
        raise OptionError(
            f"{where}: 'sink.partition-commit.policy.kind' is for tables that are PARTITIONED BY columns",
            hint="leave it out, or partition the table",
        )
    name = options["sink.partition-commit.success-file.name"]
    if not name or "/" in name or name in (".", ".."):
        raise OptionError(f"{where}: option 'sink.partition-commit.success-file.name': '{name}' is no file's name")
    extractor = None
    if options["sink.partition-commit.trigger"] == "partition-time":
        extractor = TimeExtractor(
            options["partition.time-extractor.timestamp-pattern"],
            options["partition.time-extractor.timestamp-formatter"],
            options["sink.partition-commit.watermark-time-zone"],
            said,
        )
    file = name if "success-file" in kinds else ""
    return PartitionCommit(partitions, options["sink.partition-commit.delay"], extractor, file, told)


def _class(
    where: str, prefix: str, custom: bool, method: str, given: str | None, parameters: str | None
) -> PartitionClass | None:
    """The class that options name. OptionError where they do not, or nothing asks for it, or it is not there."""
    option = f"{prefix}.class"
    if custom != (given is not None):
        raise OptionError(
            f"{where}: option '{option}' goes with '{prefix}.kind' = 'custom'",
            hint=f"'{option}' = 'module.Class' names a Python class with a method {method}",
            subject=option if given is not None else None,
        )
    if parameters is not None and not custom:
        raise OptionError(f"{where}: option '{option}.parameters' goes with '{prefix}.kind' = 'custom'")
    if given is None:
        return None
    found = PartitionClass(given, method, option, tuple(parameters.split(";")) if parameters else ())
    found.made()  # says now what is wrong with it
    return found
