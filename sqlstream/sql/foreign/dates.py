"""Functions of dates and times by their meaning."""

from __future__ import annotations

from sqlglot import exp

from sqlstream.sql.foreign.formats import java_pattern, of_to_char
from sqlstream.sql.foreign.rules import Printer, Rule, number, only

_UNITS = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")
# whose weeks, and numbers of weeks, are others than those of ISO
_OWN_WEEKS = ("bigquery", "mysql", "tsql")
_PARTS = {
    "ISOWEEK": "WEEK",
    "WEEKISO": "WEEK",
    "ISO_WEEK": "WEEK",
    "DAYOFWEEK": "DOW",
    "DAYOFYEAR": "DOY",
    "WEEKDAY": "DOW",
    "DAYOFMONTH": "DAY",
    "DAYOFWEEKISO": "ISODOW",
}


def _unit(printer: Printer, node: exp.Expression, default: str = "DAY") -> str:
    unit = node.args.get("unit")
    if isinstance(unit, exp.WeekStart):
        return "WEEK"
    name = default if unit is None else str(unit.name).upper()
    if name not in _UNITS:
        raise printer.refused(node, f"by {name}")
    return name


def floor(printer: Printer, node: exp.Expression) -> str:
    """DATE_TRUNC and its like."""
    if node.args.get("zone") is not None:
        raise printer.refused(node, "in a zone")
    return _floor_text(printer, node, printer.sql(node, "this"))


def _floor_text(printer: Printer, node: exp.Expression, text: str) -> str:
    """The beginning of the unit of `node`. Flink's weeks begin on Sunday, as BigQuery's; most others on Monday."""
    unit, start = _unit(printer, node), node.args.get("unit")
    day = str(start.name).upper() if isinstance(start, exp.WeekStart) else ""
    if day not in ("", "SUNDAY", "MONDAY"):
        raise printer.refused(node, f"by weeks that begin on {day}")
    sunday = day == "SUNDAY" or (not day and printer.dialect_of_query in ("bigquery", "tsql", "mysql"))
    if unit == "WEEK" and not sunday:
        return f"(FLOOR(({text} - INTERVAL '1' DAY) TO WEEK) + INTERVAL '1' DAY)"
    return f"FLOOR({text} TO {unit})"


def shifted(sign: str) -> Rule:
    """DATE_ADD and its like."""

    def rule(printer: Printer, node: exp.Expression) -> str:
        amount = node.expression
        unit = _unit(printer, node)
        if isinstance(amount, exp.Interval):
            unit, amount = str(amount.args["unit"].name).upper(), amount.this
        if isinstance(amount, exp.Literal) and amount.is_string:
            amount = exp.Literal.number(amount.this)
        text = printer.sql(amount)
        if sign == "-":
            text = f"-{text}" if isinstance(amount, exp.Literal) else f"-({text})"
        if unit not in _UNITS:
            raise printer.refused(node, f"by {unit}")
        start = _instant(printer, node.this)
        if printer.dialect_of_query == "spark" and isinstance(node, exp.TsOrDsAdd):  # its dates have no time
            start = f"CAST({printer.sql(node.this)} AS DATE)"
        return f"TIMESTAMPADD({unit}, {text}, {start})"

    return rule


def _instant(printer: Printer, node: exp.Expression) -> str:
    """A date or time; a string stands for one in many dialects."""
    if isinstance(node, exp.Literal) and node.is_string:
        return f"{'TIMESTAMP' if ':' in str(node.this) else 'DATE'} {printer.sql(node)}"
    return printer.sql(node)


def difference(printer: Printer, node: exp.Expression) -> str:
    """Whole units in MySQL, Trino and Spark; boundaries that were crossed elsewhere. Days of dates are the same."""
    only(printer, node, "this", "expression", "unit", "date_part_boundary")
    unit = _unit(printer, node)
    later, earlier = _instant(printer, node.this), _instant(printer, node.expression)
    whole = isinstance(node, exp.TimestampDiff) or printer.dialect_of_query in ("trino", "spark")
    if unit == "DAY" and isinstance(node, exp.DateDiff) and printer.dialect_of_query in ("mysql", "spark"):
        later, earlier = f"CAST({later} AS DATE)", f"CAST({earlier} AS DATE)"
    elif not whole:
        later, earlier = (f"CAST({_floor_text(printer, node, x)} AS TIMESTAMP(6))" for x in (later, earlier))
    return f"TIMESTAMPDIFF({unit}, {earlier}, {later})"


def extract(printer: Printer, node: exp.Expression) -> str:
    """EXTRACT. Flink's weeks are those of ISO, its days of the week begin with Sunday as 1."""
    part = str(node.this.name).upper()
    value = printer.sql(node, "expression")
    name = _PARTS.get(part, part)
    if part == "WEEK" and (isinstance(node.this, exp.WeekStart) or printer.dialect_of_query in _OWN_WEEKS):
        raise printer.refused(node, "of weeks that are not those of ISO")
    if name in ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "DOY", "ISODOW"):
        return f"EXTRACT({name} FROM {value})"
    if name == "SECOND" and printer.dialect_of_query not in ("postgres", "snowflake", "spark"):
        return f"EXTRACT(SECOND FROM {value})"
    if name == "DOW":
        return _day_of_week(printer, value)
    raise printer.refused(node, f"of {part}")


def part(name: str) -> Rule:
    """YEAR(d) and its like."""
    return lambda printer, node: f"EXTRACT({name} FROM {printer.sql(_bare(node.this))})"


def day_of_week(printer: Printer, node: exp.Expression) -> str:
    """The day of the week as a number."""
    return _day_of_week(printer, printer.sql(_bare(node.this)))


def _day_of_week(printer: Printer, value: str) -> str:
    """Sunday is 1 in Flink, BigQuery, MySQL, SQL Server, Spark; 0 in Postgres, DuckDB, Snowflake; 7 in Trino."""
    if printer.dialect_of_query == "trino":
        return f"EXTRACT(ISODOW FROM {value})"
    text = f"EXTRACT(DOW FROM {value})"
    return f"({text} - 1)" if printer.dialect_of_query in ("postgres", "duckdb", "snowflake") else text


def week(printer: Printer, node: exp.Expression) -> str:
    """WEEK(d); MySQL's mode 3 is the week of ISO."""
    mode = node.args.get("mode")
    if printer.dialect_of_query in _OWN_WEEKS and (mode is None or number(mode) != 3):
        raise printer.refused(node, "of weeks that are not those of ISO")
    return f"EXTRACT(WEEK FROM {printer.sql(_bare(node.this))})"


def add_months(printer: Printer, node: exp.Expression) -> str:
    """ADD_MONTHS."""
    only(printer, node, "this", "expression")
    this = (
        f"CAST({printer.sql(node, 'this')} AS DATE)"
        if printer.dialect_of_query == "spark"
        else _instant(printer, node.this)
    )
    return f"TIMESTAMPADD(MONTH, {printer.sql(node, 'expression')}, {this})"


def from_unix(printer: Printer, node: exp.Expression) -> str:
    """An instant by its seconds, or milliseconds, since 1970."""
    only(printer, node, "this", "scale")
    scale = number(node.args["scale"]) if node.args.get("scale") is not None else 0
    if scale not in (0, 3):
        raise printer.refused(node, "in smaller parts of a second")
    if printer.dialect_of_query == "snowflake" or (printer.dialect_of_query == "duckdb" and scale):
        if scale:
            raise printer.refused(node, "without a zone")
        return f"TIMESTAMPADD(SECOND, {printer.sql(node, 'this')}, TIMESTAMP '1970-01-01 00:00:00')"
    return f"TO_TIMESTAMP_LTZ({printer.sql(node, 'this')}, {scale})"


def _bare(node: exp.Expression) -> exp.Expression:
    """Without the cast to a date that sqlglot puts around what may be text."""
    return node.this if isinstance(node, exp.TsOrDsToDate) and not isinstance(node.this, exp.Literal) else node


def to_date(printer: Printer, node: exp.Expression) -> str:
    """Text, or a time, as a date."""
    only(printer, node, "this", "format", "default_year")
    pattern = node.args.get("format")
    if pattern is None:
        return f"CAST({printer.sql(node, 'this')} AS DATE)"
    return f"CAST(TO_TIMESTAMP({printer.sql(node, 'this')}, {_pattern(printer, node, pattern)}) AS DATE)"


def to_timestamp(printer: Printer, node: exp.Expression) -> str:
    """Text by a pattern."""
    only(printer, node, "this", "format", "target_type", "default_year")
    return f"TO_TIMESTAMP({printer.sql(node, 'this')}, {_pattern(printer, node, node.args['format'])})"


def date_format(printer: Printer, node: exp.Expression) -> str:
    """A date or time by a pattern."""
    only(printer, node, "this", "format")
    this = node.this
    while isinstance(this, (exp.TimeStrToTime, exp.TsOrDsToDate, exp.TsOrDsToTimestamp)):
        this = this.this
    if isinstance(this, exp.Cast) and this.is_type("timestamp", "date") and isinstance(this.this, exp.Column):
        this = this.this
    return f"DATE_FORMAT({_instant(printer, this)}, {_pattern(printer, node, node.args['format'])})"


def to_char(printer: Printer, node: exp.Expression) -> str:
    """TO_CHAR of a date or time."""
    only(printer, node, "this", "format")
    pattern = node.args.get("format")
    if pattern is None:
        return f"CAST({printer.sql(node, 'this')} AS STRING)"
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        raise printer.refused(node, "with a pattern that is computed")
    try:
        return f"DATE_FORMAT({printer.sql(node, 'this')}, {printer.sql(exp.Literal.string(of_to_char(str(pattern.this))))})"
    except ValueError as e:
        raise printer.refused(node, f"with {e}") from None


# where letters are codes, and what stands around those that are none; in the others codes begin with %
_QUOTES = {"postgres": '"', "snowflake": '"', "spark": "'", "tsql": "'"}


def _pattern(printer: Printer, node: exp.Expression, pattern: exp.Expression) -> str:
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        raise printer.refused(node, "with a pattern that is computed")
    try:
        return printer.sql(exp.Literal.string(java_pattern(str(pattern.this), _QUOTES.get(printer.dialect_of_query))))
    except ValueError as e:
        raise printer.refused(node, f"with {e}") from None
