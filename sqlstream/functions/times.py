"""Functions of dates and times: Java's format patterns as strftime's, parts, differences, units to round to."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlstream.errors import BindError, NotSupported, did_you_mean
from sqlstream.expressions import Expr, Symbol
from sqlstream.functions import casts
from sqlstream.functions.operators import moved
from sqlstream.functions.scalar_function import Nulls, ScalarFunction, Typing, function
from sqlstream.types import BIGINT, DATE, INT, STRING, TIME, Type, timestamp, timestamp_ltz

# Java's DateTimeFormatter letters that Flink users write.
_PATTERN = {
    "yyyy": "%Y", "uuuu": "%Y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m", "dd": "%d", "d": "%-d",
    "HH": "%H", "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "m": "%-M", "ss": "%S", "s": "%-S", "SSSSSS": "%f",
    "SSS": "%g", "a": "%p", "EEEE": "%A", "EEE": "%a", "E": "%a", "DDD": "%j",
}  # fmt: skip


def strftime_pattern(java: str) -> str:
    """'yyyy-MM-dd' -> '%Y-%m-%d'. Quoted text stays; an unknown letter is refused by name."""
    out, i = [], 0
    while i < len(java):
        c = java[i]
        if c == "'":
            end = java.find("'", i + 1)
            if end < 0:
                raise BindError(f"date pattern '{java}': a quote is not closed")
            out.append(java[i + 1 : end].replace("%", "%%") or "'")
            i = end + 1
        elif c.isalpha():
            run = len(java[i:]) - len(java[i:].lstrip(c))
            token = c * run
            if token not in _PATTERN:
                raise NotSupported(
                    f"date pattern '{java}': '{token}' is not supported", hint="supported: " + ", ".join(_PATTERN)
                )
            out.append(_PATTERN[token])
            i += run
        else:
            out.append("%%" if c == "%" else c)
            i += 1
    return "".join(out)


def _literal(sql: str, what: str) -> str:
    if not (sql.startswith("'") and sql.endswith("'")):
        raise NotSupported(f"{what}: the pattern must be a constant", hint="write it as 'yyyy-MM-dd HH:mm:ss'")
    return sql[1:-1].replace("''", "'")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def date_format(args: list[str], types: list[Type], result: Type) -> str:
    """A time or date by a constant pattern. BindError for other types, NotSupported for patterns without an equal."""
    pattern = _quoted(strftime_pattern(_literal(args[1], "DATE_FORMAT")))
    value = args[0]
    if types[0].is_string:
        value = str(casts.from_text(value, timestamp(), True))
    elif types[0].kind == "TIMESTAMP_LTZ":
        value = f"CAST({value} AS TIMESTAMP)"  # in the session's zone
    elif not types[0].is_timestamp and types[0].kind not in ("DATE", "NULL"):
        raise BindError(f"DATE_FORMAT takes a timestamp or string, not {types[0].text()}")
    return f"strftime({value}, {pattern})"


def to_timestamp(args: list[str], types: list[Type], result: Type) -> str:
    """Milliseconds; NULL of what is no timestamp. The pattern, if there is one, must be a constant."""
    if len(args) == 1:
        return f"date_trunc('milliseconds', {casts.from_text(args[0], timestamp(), True)})"
    pattern = _quoted(strftime_pattern(_literal(args[1], "TO_TIMESTAMP")))
    return f"date_trunc('milliseconds', try_strptime({args[0]}, {pattern}))"


def to_date(args: list[str], types: list[Type], result: Type) -> str:
    """NULL of what is no date."""
    if len(args) == 1:
        return str(casts.from_text(args[0], DATE, True))
    return f"CAST(try_strptime({args[0]}, {_quoted(strftime_pattern(_literal(args[1], 'TO_DATE')))}) AS DATE)"


def unix_timestamp(args: list[str], types: list[Type], result: Type) -> str:
    """Seconds since 1970: now, or of a text that is in the session's zone; of what is no time the smallest BIGINT."""
    if not args:
        return "CAST(floor(epoch(now())) AS BIGINT)"
    time = str(casts.from_text(args[0], timestamp(), True))
    if len(args) > 1:
        time = f"try_strptime({args[0]}, {_quoted(strftime_pattern(_literal(args[1], 'UNIX_TIMESTAMP')))})"
    seconds = f"CAST(floor(epoch(CAST({time} AS TIMESTAMPTZ))) AS BIGINT)"
    return f"CASE WHEN {args[0]} IS NOT NULL THEN coalesce({seconds}, -9223372036854775808) END"


def from_unixtime(args: list[str], types: list[Type], result: Type) -> str:
    """In the session's zone."""
    pattern = strftime_pattern(_literal(args[1], "FROM_UNIXTIME") if len(args) > 1 else "yyyy-MM-dd HH:mm:ss")
    return f"strftime(CAST(make_timestamptz({args[0]} * 1000000) AS TIMESTAMP), {_quoted(pattern)})"


def to_timestamp_ltz(args: list[str], types: list[Type], result: Type) -> str:
    """NULL beyond the years 0000 to 9999."""
    scale = {"0": 1, "3": 1000}.get(args[1] if len(args) > 1 else "3")
    if scale is None:
        raise NotSupported("TO_TIMESTAMP_LTZ: the precision is 0 (seconds) or 3 (milliseconds)")
    first, last = -62167219200 * scale, 253402300800 * scale - 1
    number = f"CASE WHEN {args[0]} BETWEEN {first} AND {last} THEN {args[0]} END"
    return f"make_timestamptz({number} * {1_000_000 // scale})"


# What EXTRACT takes, and DuckDB's text of it. YEAR and the like are functions of a DATE, too.
_PARTS = {
    "MILLENNIUM": "((year({0}) + 999) // 1000)",
    "CENTURY": "((year({0}) + 99) // 100)",
    "DECADE": "(year({0}) // 10)",
    "YEAR": "year({0})",
    "ISOYEAR": "isoyear({0})",
    "QUARTER": "quarter({0})",
    "MONTH": "month({0})",
    "WEEK": "week({0})",  # ISO's
    "DAY": "day({0})",
    "DOY": "dayofyear({0})",
    "DOW": "(dayofweek({0}) + 1)",  # from Sunday = 1
    "ISODOW": "isodow({0})",
    "HOUR": "hour({0})",
    "MINUTE": "minute({0})",
    "SECOND": "second({0})",
    "MILLISECOND": "(millisecond({0}) % 1000)",
    "MICROSECOND": "(microsecond({0}) % 1000000)",
    "NANOSECOND": "(microsecond({0}) % 1000000 * 1000)",
    "EPOCH": "(epoch_ms({0}) // 1000)",
}
_IN_A_DAY = {"HOUR": 3_600_000_000, "MINUTE": 60_000_000, "SECOND": 1_000_000, "MILLISECOND": 1_000}
_FINE = ("MICROSECOND", "NANOSECOND")


def unit_of(e: Expr, units: Collection[str], what: str) -> str:
    """The unit of time that `e` names, one of `units`."""
    if not isinstance(e, Symbol):
        raise BindError(f"{what}: a unit of time is needed, not {e}")
    if e.word not in units:
        raise BindError(f"{what}: {e.word} is not possible", hint=did_you_mean(e.word, units, "units"))
    return e.word


def _timely(t: Type, kinds: tuple[str, ...], what: str) -> Type | None:
    """What an argument is cast to, which must be of one of `kinds`: NULL without a type becomes a timestamp."""
    if t.kind not in (*kinds, "NULL"):
        raise BindError(f"{what} takes {' or '.join(kinds)}, not {t.text()}", hint="CAST the argument")
    return timestamp(3) if t.kind == "NULL" else None


_STAMPS = ("TIMESTAMP", "TIMESTAMP_LTZ")


# ---- EXTRACT


def _extract_rule(args: Sequence[Expr]) -> Typing:
    unit, t = unit_of(args[0], _PARTS, "EXTRACT"), args[1].type
    return Typing((None, _of_part(unit, t, f"EXTRACT({unit} FROM …)")), BIGINT)


def _of_part(unit: str, t: Type, what: str) -> Type | None:
    kinds = ("DATE", *_STAMPS) if unit not in _FINE else _STAMPS
    return _timely(t, ("TIME", *kinds) if unit in _IN_A_DAY else kinds, what)


def _extract(args: list[str], types: list[Type], result: Type) -> str:
    return _part(args[0], args[1], types[1])


def _part(unit: str, value: str, t: Type) -> str:
    if t.kind == "DATE" and unit in _IN_A_DAY:
        return f"({value} - {value})"  # 0, or NULL
    return f"CAST({_PARTS[unit].format(_local(value, t))} AS BIGINT)"


def _local(value: str, t: Type) -> str:
    """An instant as the session's zone shows it."""
    return f"CAST({value} AS TIMESTAMP)" if t.kind == "TIMESTAMP_LTZ" else value


def _part_function(name: str, unit: str) -> ScalarFunction:
    def rule(args: Sequence[Expr]) -> Typing:
        return Typing((_of_part(unit, args[0].type, name),), BIGINT)

    def sql(args: list[str], types: list[Type], result: Type) -> str:
        return _part(unit, args[0], types[0])

    return ScalarFunction(name, rule, sql, 1, 1, example=f"{name}(TIMESTAMP '2024-05-06 07:08:09')")


# ---- CEIL and FLOOR

# The first day of the unit that the date {0} is in.
_FIRST_DAYS = {
    "MILLENNIUM": "make_date((year({0}) + 999) // 1000 * 1000 - 999, 1, 1)",
    "CENTURY": "make_date((year({0}) + 99) // 100 * 100 - 99, 1, 1)",
    "DECADE": "make_date(year({0}) // 10 * 10, 1, 1)",
    "YEAR": "date_trunc('year', {0})",
    "QUARTER": "date_trunc('quarter', {0})",
    "MONTH": "date_trunc('month', {0})",
    "WEEK": "(date_trunc('week', {0} + 1) - INTERVAL 1 DAY)",  # begins on Sunday
}
_MONTHS = {"MILLENNIUM": 12000, "CENTURY": 1200, "DECADE": 120, "YEAR": 12, "QUARTER": 3, "MONTH": 1}
# The next one of these begins after any day, also the first of one.
_ALWAYS_NEXT = ("MILLENNIUM", "CENTURY", "DECADE")


def truncation(name: str, args: Sequence[Expr]) -> Typing:
    """The types of CEIL and FLOOR(time TO unit)."""
    unit, t = unit_of(args[1], (*_FIRST_DAYS, "DAY", *_IN_A_DAY), name), args[0].type
    kinds = ("DATE", *_STAMPS, "TIME") if unit in _IN_A_DAY else ("DATE", *_STAMPS)
    wanted = _timely(t, kinds, f"{name}(… TO {unit})")
    return Typing((wanted, None), wanted or t)


def truncated(x: str, unit: str, t: Type, up: bool) -> str:
    """FLOOR(x TO unit), or CEIL (`up`). Days and what is longer are the session's zone's."""
    if unit in _IN_A_DAY:
        return _to_fraction(x, unit, t, up)
    local = _local(x, t)
    if unit == "DAY":
        if t.kind == "DATE":
            return f"({x} + 1)" if up else x
        if up:
            local = f"({local} + INTERVAL 1 DAY - INTERVAL 1 MICROSECOND)"
        return f"CAST(CAST({local} AS DATE) AS {t.duckdb()})"
    day = local if t.kind == "DATE" else f"CAST({local} AS DATE)"
    if not up:
        return f"CAST({_FIRST_DAYS[unit].format(day)} AS {t.duckdb()})"
    if unit not in _ALWAYS_NEXT:
        day = f"({day} - 1)"
    step = "INTERVAL 7 DAY" if unit == "WEEK" else f"INTERVAL {_MONTHS[unit]} MONTH"
    return f"CAST(CAST({_FIRST_DAYS[unit].format(day)} + {step} AS DATE) AS {t.duckdb()})"


def _to_fraction(x: str, unit: str, t: Type, up: bool) -> str:
    """To a unit that is a part of a day: what is over, by the session's clock, is taken away or made full."""
    if t.kind == "DATE":
        return x
    if t.kind == "TIMESTAMP" and not up:
        return f"date_trunc('{unit.lower()}', {x})"
    size = _IN_A_DAY[unit]
    over = f"epoch_us({_local(x, t)})"
    if up:
        return f"({x} + to_microseconds(({size} - {over} % {size}) % {size}))"
    return f"({x} - to_microseconds(({size} + {over} % {size}) % {size}))"


# ---- TIMESTAMPDIFF and TIMESTAMPADD

_MICROS = {"WEEK": 604_800_000_000, "DAY": 86_400_000_000, **_IN_A_DAY, "MICROSECOND": 1}
_YEARLY = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


def _difference_rule(args: Sequence[Expr]) -> Typing:
    unit_of(args[0], (*_MICROS, *_YEARLY), "TIMESTAMPDIFF")
    return Typing((None, *(_timely(a.type, ("DATE", *_STAMPS), "TIMESTAMPDIFF") for a in args[1:])), INT)


def _difference(args: list[str], types: list[Type], result: Type) -> str:
    """How many whole units from the first to the second. Of instants by UTC: a change of clocks adds nothing."""
    unit, *times = args
    if unit in ("MICROSECOND", "MILLISECOND"):
        a, b = (f"epoch_us({x})" for x in times)
        return f"CAST(({b} - {a}) // {_MICROS[unit]} AS INTEGER)"
    a, b = (f"epoch_ms({x})" for x in times)
    if unit in _MICROS:
        return f"CAST(({b} - {a}) // {_MICROS[unit] // 1000} AS INTEGER)"
    months = f"flink_months(make_timestamp_ms({a}), make_timestamp_ms({b}))"
    return f"CAST({months} // {_YEARLY[unit]} AS INTEGER)"


MACROS = (
    # Whole months between the dates, where the last day of a month may stand for any later one; one less when the
    # dates are just so many months apart and the time of the day is earlier (Java's: also from a later to an earlier).
    """flink_months(a, b) AS date_sub('month', CAST(a AS DATE), CAST(b AS DATE)) - CASE
    WHEN CAST(b AS TIME) < CAST(a AS TIME)
    AND CAST(a AS DATE) + to_months(CAST(date_sub('month', CAST(a AS DATE), CAST(b AS DATE)) AS INTEGER)) = CAST(b AS DATE)
    THEN 1 ELSE 0 END""",
)


def _added_rule(args: Sequence[Expr]) -> Typing:
    unit, n, t = unit_of(args[0], (*_MICROS, *_YEARLY), "TIMESTAMPADD"), args[1].type, args[2].type
    if not n.is_integer and n.kind != "NULL":
        raise BindError(f"TIMESTAMPADD takes a whole number of units, not {n.text()}")
    wanted = _timely(t, ("DATE", *_STAMPS, "TIME"), "TIMESTAMPADD")
    if t.kind == "TIME" and unit not in _IN_A_DAY:
        raise BindError(f"TIMESTAMPADD of TIME takes no {unit}")
    if t.kind == "DATE" and unit in (*_IN_A_DAY, "MICROSECOND"):
        wanted = timestamp(6)
    return Typing((None, BIGINT, wanted), wanted or t)


def _added(args: list[str], types: list[Type], result: Type) -> str:
    unit, n, t = args
    if unit in _MICROS:
        return moved("+", t, f"{n} * {_MICROS[unit]}", result, "microseconds")
    return moved("+", t, f"CAST({n} * {_YEARLY[unit]} AS INTEGER)", result, "months")


# ---- intervals


def interval_text(x: str, t: Type, digits: int) -> str:
    """SQL of Flink's text: +1 02:03:04.000 for days to seconds (`digits`: 3 or 6 of a second), +1-02 for months."""
    sign, size = f"CASE WHEN {x} < 0 THEN '-' ELSE '+' END", f"abs({x})"
    if t.kind == "INTERVAL_MONTH":
        return f"({sign} || format('{{}}-{{:02d}}', {size} // 12, {size} % 12))"
    fraction = 10 ** (6 - digits)
    units = ((86_400_000_000, ""), (3_600_000_000, " % 24"), (60_000_000, " % 60"), (1_000_000, " % 60"))
    parts = [f"{size} // {unit}{rest}" for unit, rest in (*units, (fraction, f" % {10**digits}"))]
    form = f"{{}} {{:02d}}:{{:02d}}:{{:02d}}.{{:0{digits}d}}"
    return f"({sign} || format('{form}', {', '.join(parts)}))"


_S = STRING
_NOW = "date_trunc('milliseconds', now())"
_TIME_NOW = "CAST(date_trunc('second', CAST(now() AS TIMESTAMP)) AS TIME)"


def _now(name: str, t: Type, sql: str, example: str = "") -> ScalarFunction:
    return function(name, (), t, sql, example or name, nulls=Nulls.NEVER, volatile=True)


CURRENT_WATERMARK = "CURRENT_WATERMARK"  # a column of the scan, wherever it can be (`plan/current_watermark.py`)


def _watermark_rule(args: Sequence[Expr]) -> Typing:
    (t,) = (a.type for a in args)
    if not t.is_timestamp:
        raise BindError(
            f"{CURRENT_WATERMARK} takes a column of event time, not {t.text()}",
            hint="one that WATERMARK FOR … AS … is declared for",
        )
    return Typing((None,), timestamp_ltz(3) if t.kind == "TIMESTAMP_LTZ" else timestamp(3))


# Java's (ZoneId.SHORT_IDS).
_SHORT_ZONES = {
    "ACT": "Australia/Darwin", "AET": "Australia/Sydney", "AGT": "America/Argentina/Buenos_Aires", "ART": "Africa/Cairo",
    "AST": "America/Anchorage", "BET": "America/Sao_Paulo", "BST": "Asia/Dhaka", "CAT": "Africa/Harare",
    "CNT": "America/St_Johns", "CST": "America/Chicago", "CTT": "Asia/Shanghai", "EAT": "Africa/Addis_Ababa",
    "ECT": "Europe/Paris", "IET": "America/Indiana/Indianapolis", "IST": "Asia/Kolkata", "JST": "Asia/Tokyo",
    "MIT": "Pacific/Apia", "NET": "Asia/Yerevan", "NST": "Pacific/Auckland", "PLT": "Asia/Karachi",
    "PNT": "America/Phoenix", "PRT": "America/Puerto_Rico", "PST": "America/Los_Angeles", "SST": "Pacific/Guadalcanal",
    "VST": "Asia/Ho_Chi_Minh",
}  # fmt: skip


def _zone(sql: str) -> str:
    if not sql.startswith("'"):
        raise NotSupported("CONVERT_TZ: a zone must be a constant", hint="CONVERT_TZ(x, 'UTC', 'Europe/Berlin')")
    name = _SHORT_ZONES.get(sql[1:-1], sql[1:-1])
    offset = re.fullmatch(r"GMT([+-])(\d{1,2})(?::?(\d\d))?", name)
    if offset is not None:
        hours, minutes = int(offset[2]), int(offset[3] or 0)
        if minutes or hours > 12:
            raise NotSupported(f"CONVERT_TZ: the zone {name}", hint="whole hours up to 12, or a name: 'Asia/Kolkata'")
        name = f"Etc/GMT{'-' if offset[1] == '+' else '+'}{hours}"  # their signs are the other way round
    try:
        return zoneinfo.ZoneInfo(name).key
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return "UTC"


def convert_tz(args: list[str], types: list[Type], result: Type) -> str:
    """Seconds; NULL of what is no time. A zone that is none counts as UTC, as in Java."""
    zones = [_quoted(_zone(a)) for a in args[1:]]
    instant = f"timezone({zones[0]}, {casts.from_text(args[0], timestamp(), True)})"
    return f"strftime(timezone({zones[1]}, {instant}), '%Y-%m-%d %H:%M:%S')"


FUNCTIONS = (
    function("CONVERT_TZ", (STRING, STRING, STRING), STRING, convert_tz, "CONVERT_TZ('1970-01-01 00:00:00', 'UTC', 'Asia/Tokyo')", nulls=Nulls.MAYBE),
    ScalarFunction("EXTRACT", _extract_rule, _extract, 2, 2, example="EXTRACT(DAY FROM DATE '2024-05-06')"),
    *(_part_function(unit, unit) for unit in ("YEAR", "QUARTER", "MONTH", "WEEK", "HOUR", "MINUTE", "SECOND")),
    _part_function("DAYOFYEAR", "DOY"),
    _part_function("DAYOFMONTH", "DAY"),
    _part_function("DAYOFWEEK", "DOW"),
    ScalarFunction("TIMESTAMPDIFF", _difference_rule, _difference, 3, 3,
                   example="TIMESTAMPDIFF(DAY, DATE '2024-05-06', DATE '2024-05-08')"),
    ScalarFunction("TIMESTAMPADD", _added_rule, _added, 3, 3, example="TIMESTAMPADD(MONTH, 1, DATE '2024-01-31')"),
    function("DATE_FORMAT", (None, None), _S, date_format,
             "DATE_FORMAT(TIMESTAMP '2024-05-06 07:08:09', 'yyyy-MM-dd HH:mm')", nulls=Nulls.MAYBE),
    function("TO_TIMESTAMP", (_S, None), timestamp(3), to_timestamp, "TO_TIMESTAMP('2024-05-06 07:08:09')", least=1,
             nulls=Nulls.MAYBE),
    function("TO_TIMESTAMP_LTZ", (BIGINT, INT), timestamp_ltz(3), to_timestamp_ltz,
             "TO_TIMESTAMP_LTZ(1700000000000, 3)", least=1, nulls=Nulls.MAYBE),
    function("TO_DATE", (_S, None), DATE, to_date, "TO_DATE('2024-05-06')", least=1, nulls=Nulls.MAYBE),
    replace(
        function("UNIX_TIMESTAMP", (_S, None), BIGINT, unix_timestamp, "UNIX_TIMESTAMP('2024-05-06 07:08:09')", least=0),
        volatile_alone=True,
    ),
    function("FROM_UNIXTIME", (BIGINT, None), _S, from_unixtime, "FROM_UNIXTIME(1700000000)", least=1),
    _now("CURRENT_TIMESTAMP", timestamp_ltz(3), _NOW),
    _now("NOW", timestamp_ltz(3), _NOW, "NOW()"),
    _now("PROCTIME", timestamp_ltz(3), _NOW, "PROCTIME()"),
    ScalarFunction(
        CURRENT_WATERMARK, _watermark_rule, lambda args, types, result: f"CAST(NULL AS {result.duckdb()})", 1, 1, Nulls.MAYBE,
        volatile=True, example="CURRENT_WATERMARK(ts)",
    ),
    _now("LOCALTIMESTAMP", timestamp(3), "date_trunc('milliseconds', CAST(now() AS TIMESTAMP))"),
    _now("CURRENT_ROW_TIMESTAMP", timestamp_ltz(3), _NOW, "CURRENT_ROW_TIMESTAMP()"),
    _now("CURRENT_DATE", DATE, "CAST(now() AS DATE)"),
    _now("CURRENT_TIME", TIME, _TIME_NOW),
    _now("LOCALTIME", TIME, _TIME_NOW),
)  # fmt: skip
