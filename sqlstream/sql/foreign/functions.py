"""Functions by their meaning: sqlglot's class of a call, and Flink's text for it."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from sqlstream.sql.foreign import dates, patterns, texts
from sqlstream.sql.foreign.rules import Printer, Rule, form, number, only, operand

# ---- numbers


def _div(printer: Printer, node: exp.Expression) -> str:
    """Flink's quotient of integers is one, as in Postgres, Trino, SQL Server; elsewhere it has decimals."""
    typed, dialect = node.args.get("typed"), printer.dialect_of_query
    if typed and dialect == "postgres" and any(isinstance(e.unnest(), exp.Sum) for e in (node.this, node.expression)):
        raise printer.refused(node, "of a SUM, which is a NUMERIC or a BIGINT there (CAST it)")
    this = node.this
    is_chain = isinstance(this, (exp.Mul, exp.Div, exp.Mod))  # binds from the left
    left = printer.sql(this) if is_chain or not typed else operand(printer, this)
    right = operand(printer, node.expression)
    if node.args.get("safe") and dialect not in ("duckdb", "clickhouse"):  # those give Infinity
        right = f"NULLIF({printer.sql(node.expression)}, 0)"
    return f"{left} / {right}" if typed else f"CAST({left} AS DOUBLE) / {right}"


def _int_div(printer: Printer, node: exp.Expression) -> str:
    this = node.this
    left = printer.sql(this) if isinstance(this, (exp.Mul, exp.Div, exp.Mod)) else operand(printer, this)
    right = operand(printer, node.expression)
    if printer.dialect_of_query in ("mysql", "spark"):
        right = f"NULLIF({printer.sql(node.expression)}, 0)"
    return f"CAST({left} / {right} AS BIGINT)"


def _log(printer: Printer, node: exp.Expression) -> str:
    """Of one number it is of base 10 where sqlglot leaves it a LOG."""
    base, of = node.this, node.expression
    if of is None:
        return _positive(printer, "LOG10", base)
    known = {2: "LOG2", 10: "LOG10"}.get(number(base) or 0)
    return (
        _positive(printer, known, of)
        if known
        else f"({_positive(printer, 'LN', of)} / {_positive(printer, 'LN', base)})"
    )


def _positive(printer: Printer, name: str, of: exp.Expression) -> str:
    """A logarithm: NULL of what has none in MySQL and Spark."""
    x = printer.sql(of)
    if printer.dialect_of_query in ("mysql", "spark") and not number(of):
        return f"CASE WHEN {operand(printer, of)} > 0 THEN {name}({x}) END"
    return f"{name}({x})"


def _sqrt(printer: Printer, node: exp.Expression) -> str:
    x = printer.sql(node, "this")
    if printer.dialect_of_query == "mysql" and number(node.this) is None:
        return f"CASE WHEN {operand(printer, node.this)} >= 0 THEN SQRT({x}) END"
    return f"SQRT({x})"


def _power(printer: Printer, node: exp.Expression) -> str:
    """POWER; in SQL Server a number of the base's type."""
    base = node.this
    if printer.dialect_of_query == "tsql" and not (isinstance(base, exp.Cast) and base.is_type("double")):
        raise printer.refused(node, "of what is not CAST to FLOAT")
    return f"POWER({printer.sql(base)}, {printer.sql(node, 'expression')})"


def _extreme(name: str) -> Rule:
    def rule(printer: Printer, node: exp.Expression) -> str:
        items = [printer.sql(e) for e in (node.this, *node.expressions)]
        if node.args.get("ignore_nulls") and len(items) > 1:  # Flink's give NULL where one is NULL
            items = [f"COALESCE({', '.join([x, *(y for y in items if y is not x)])})" for x in items]
        return f"{name}({', '.join(items)})"

    return rule


def _ceil_floor(name: str) -> Rule:
    def rule(printer: Printer, node: exp.Expression) -> str:
        if node.args.get("to") is not None or node.args.get("decimals") is not None:
            raise printer.refused(node, "with digits or a unit")
        return f"{name}({printer.sql(node, 'this')})"

    return rule


# ---- conditions


def _if(printer: Printer, node: exp.Expression) -> str:
    otherwise = node.args.get("false")
    tail = "" if otherwise is None else f" ELSE {printer.sql(otherwise)}"
    return f"CASE WHEN {printer.sql(node.this)} THEN {printer.sql(node, 'true')}{tail} END"


def _nvl2(printer: Printer, node: exp.Expression) -> str:
    otherwise = node.args.get("false")
    tail = "" if otherwise is None else f" ELSE {printer.sql(otherwise)}"
    return f"CASE WHEN {printer.sql(node, 'this')} IS NOT NULL THEN {printer.sql(node, 'true')}{tail} END"


def _decode(printer: Printer, node: exp.Expression) -> str:
    """DECODE(x, a, b, …, otherwise): NULL meets NULL."""
    this, *rest = (printer.sql(e) for e in node.expressions)
    branches = [f"WHEN {this} IS NOT DISTINCT FROM {a} THEN {b}" for a, b in zip(rest[::2], rest[1::2], strict=False)]
    tail = f" ELSE {rest[-1]}" if len(rest) % 2 else ""
    return f"CASE {' '.join(branches)}{tail} END"


def _safe_divide(printer: Printer, node: exp.Expression) -> str:
    return f"(CAST({printer.sql(node, 'this')} AS DOUBLE) / NULLIF({printer.sql(node, 'expression')}, 0))"


def _xor(printer: Printer, node: exp.Expression) -> str:
    return f"(({printer.sql(node, 'this')}) <> ({printer.sql(node, 'expression')}))"


# ---- aggregates


def _over_expressions(name: str) -> Rule:
    """A call whose argument may be DISTINCT."""
    return lambda printer, node: f"{name}({printer.sql(node, 'this')})"


def _of_doubles(name: str, but_in: str | None = None) -> Rule:
    """A mean or deviation: of integers it is one in Flink; elsewhere it has decimals, `but_in` one dialect."""

    def rule(printer: Printer, node: exp.Expression) -> str:
        this = node.this
        distinct = isinstance(this, exp.Distinct)
        text = ", ".join(printer.sql(e) for e in (this.expressions if distinct else [this]))
        if printer.dialect_of_query != but_in:
            text = f"CAST({text} AS DOUBLE)"
        return f"{name}({'DISTINCT ' if distinct else ''}{text})"

    return rule


def _count(printer: Printer, node: exp.Expression) -> str:
    this = node.this
    if this is None:
        return "COUNT(*)"
    items = [this, *node.expressions] if not isinstance(this, exp.Distinct) else [this]
    return f"COUNT({', '.join(printer.sql(e) for e in items)})"


def _count_if(printer: Printer, node: exp.Expression) -> str:
    return f"COUNT(CASE WHEN {printer.sql(node.this)} THEN 1 END)"


def _all_or_any(name: str) -> Rule:
    def rule(printer: Printer, node: exp.Expression) -> str:
        c = printer.sql(node.this)
        return f"({name}(CASE WHEN {c} THEN 1 WHEN NOT ({c}) THEN 0 END) = 1)"

    return rule


def _list_agg(printer: Printer, node: exp.Expression) -> str:
    this, separator = node.this, node.args.get("separator")
    if isinstance(this, exp.Order) or this.find(exp.Order):
        raise printer.refused(node, "with an order")
    only(printer, node, "this", "separator")
    between = "''" if printer.dialect_of_query in ("clickhouse", "spark", "trino", "snowflake") else "','"
    return f"LISTAGG({printer.sql(this)}, {between if separator is None else printer.sql(separator)})"


def _combined(printer: Printer, node: exp.Expression) -> str:
    """ClickHouse's sumIf(x, condition) and its like."""
    name, args = str(node.name).lower(), node.expressions
    base = {"sumif": "SUM", "avgif": "AVG", "minif": "MIN", "maxif": "MAX", "anyif": "MIN"}.get(name)
    if base is not None and len(args) == 2:
        value = f"CASE WHEN {printer.sql(args[1])} THEN {printer.sql(args[0])} END"
        return f"AVG(CAST({value} AS DOUBLE))" if base == "AVG" else f"{base}({value})"
    raise printer.refused(node)


FUNCTIONS: dict[type[exp.Expression], Rule] = {
    # strings
    exp.Lower: texts.of_characters(form("LOWER({this})"), "lowerUTF8"),
    exp.Upper: texts.of_characters(form("UPPER({this})"), "upperUTF8"),
    exp.Length: texts.length,
    exp.Trim: texts.trim,
    exp.Substring: texts.of_characters(texts.substring, "substringUTF8"),
    exp.Left: texts.of_characters(texts.side("LEFT"), "leftUTF8"),
    exp.Right: texts.of_characters(texts.side("RIGHT"), "rightUTF8"),
    exp.Concat: texts.concat,
    exp.ConcatWs: texts.concat_ws,
    exp.Replace: texts.replace,
    exp.StrPosition: texts.of_characters(texts.position, "positionUTF8"),
    exp.Reverse: texts.of_characters(form("REVERSE({this})"), "reverseUTF8"),
    exp.Repeat: form("REPEAT({this}, {times})"),
    exp.Pad: texts.of_characters(texts.pad, "leftPadUTF8"),
    exp.Initcap: texts.initcap,
    exp.SplitPart: texts.split_part,
    exp.Contains: texts.contains,
    exp.StartsWith: form("STARTSWITH({this}, {expression})"),
    exp.EndsWith: form("ENDSWITH({this}, {expression})"),
    exp.Chr: texts.character,
    exp.MD5: form("MD5({this})"),
    exp.Like: patterns.like,
    exp.ILike: patterns.like,
    exp.Escape: patterns.escaped_like,
    exp.SimilarTo: patterns.similar_to,
    exp.RegexpLike: patterns.regexp_like,
    exp.RegexpExtract: patterns.regexp_extract,
    exp.RegexpReplace: patterns.regexp_replace,
    # numbers
    exp.Abs: form("ABS({this})"),
    exp.Ceil: _ceil_floor("CEIL"),
    exp.Floor: _ceil_floor("FLOOR"),
    exp.Round: form("ROUND({this}, {decimals})", "ROUND({this})"),
    exp.Sign: form("SIGN({this})"),
    exp.Pow: _power,
    exp.Sqrt: _sqrt,
    exp.Ln: lambda p, n: _positive(p, "LN", n.this),
    exp.Log: _log,
    exp.Exp: form("EXP({this})"),
    exp.Sin: form("SIN({this})"),
    exp.Cos: form("COS({this})"),
    exp.Tan: form("TAN({this})"),
    exp.Pi: lambda p, n: "PI()",
    exp.Rand: form("RAND()"),
    exp.Uuid: form("UUID()"),
    exp.Greatest: _extreme("GREATEST"),
    exp.Least: _extreme("LEAST"),
    exp.IntDiv: _int_div,
    exp.Div: _div,
    # conditions
    exp.If: _if,
    exp.Coalesce: lambda p, n: f"COALESCE({', '.join(p.sql(e) for e in (n.this, *n.expressions))})",
    exp.Nullif: form("NULLIF({this}, {expression})"),
    exp.Nvl2: _nvl2,
    exp.DecodeCase: _decode,
    exp.SafeDivide: _safe_divide,
    exp.Xor: _xor,
    # dates
    exp.CurrentDatabase: form("CURRENT_DATABASE()"),
    exp.CurrentDate: form("CURRENT_DATE"),
    exp.CurrentTimestamp: form("CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP({this})"),
    exp.CurrentTime: form("LOCALTIME"),
    exp.CurrentDatetime: form("LOCALTIMESTAMP"),
    exp.DateTrunc: dates.floor,
    exp.TimestampTrunc: dates.floor,
    exp.DatetimeTrunc: dates.floor,
    exp.DateAdd: dates.shifted("+"),
    exp.DatetimeAdd: dates.shifted("+"),
    exp.TimestampAdd: dates.shifted("+"),
    exp.TsOrDsAdd: dates.shifted("+"),
    exp.DateSub: dates.shifted("-"),
    exp.DatetimeSub: dates.shifted("-"),
    exp.TimestampSub: dates.shifted("-"),
    exp.AddMonths: dates.add_months,
    exp.DateDiff: dates.difference,
    exp.DatetimeDiff: dates.difference,
    exp.TimestampDiff: dates.difference,
    exp.TsOrDsDiff: dates.difference,
    exp.Extract: dates.extract,
    exp.Year: dates.part("YEAR"),
    exp.Quarter: dates.part("QUARTER"),
    exp.Month: dates.part("MONTH"),
    exp.Week: dates.week,
    exp.WeekOfYear: dates.part("WEEK"),
    exp.Day: dates.part("DAY"),
    exp.DayOfMonth: dates.part("DAY"),
    exp.DayOfYear: dates.part("DOY"),
    exp.DayOfWeek: dates.day_of_week,
    exp.DayOfWeekIso: dates.part("ISODOW"),
    exp.Hour: dates.part("HOUR"),
    exp.Minute: dates.part("MINUTE"),
    exp.Second: dates.part("SECOND"),
    exp.Date: form("CAST({this} AS DATE)"),
    exp.TsOrDsToDate: dates.to_date,
    exp.TsOrDsToTimestamp: form("CAST({this} AS TIMESTAMP(6))"),
    exp.TimeStrToTime: form("CAST({this} AS TIMESTAMP(6))"),
    exp.StrToDate: dates.to_date,
    exp.StrToTime: dates.to_timestamp,
    exp.TimeToStr: dates.date_format,
    exp.ToChar: dates.to_char,
    exp.UnixToTime: dates.from_unix,
    # arrays, JSON
    exp.ArraySize: form("CARDINALITY({this})"),
    exp.ArrayContains: form("ARRAY_CONTAINS({this}, {expression})"),
    exp.JSONExtractScalar: lambda p, n: f"JSON_VALUE({p.sql(n, 'this')}, {p.json_path(n)})",
    # aggregates
    exp.Count: _count,
    exp.CountIf: _count_if,
    exp.Sum: _over_expressions("SUM"),
    exp.Avg: _of_doubles("AVG", but_in="tsql"),
    exp.Min: form("MIN({this})"),
    exp.Max: form("MAX({this})"),
    exp.AnyValue: form("MIN({this})"),
    exp.Stddev: _of_doubles("STDDEV_SAMP"),
    exp.StddevSamp: _of_doubles("STDDEV_SAMP"),
    exp.StddevPop: _of_doubles("STDDEV_POP"),
    exp.Variance: _of_doubles("VAR_SAMP"),
    exp.VariancePop: _of_doubles("VAR_POP"),
    exp.ApproxDistinct: form("APPROX_COUNT_DISTINCT({this})"),
    exp.Median: form("MEDIAN({this})"),
    exp.BitwiseAndAgg: form("BIT_AND({this})"),
    exp.BitwiseOrAgg: form("BIT_OR({this})"),
    exp.BitwiseXorAgg: form("BIT_XOR({this})"),
    exp.LogicalAnd: _all_or_any("MIN"),
    exp.LogicalOr: _all_or_any("MAX"),
    exp.GroupConcat: _list_agg,
    exp.CombinedAggFunc: _combined,
    # windows
    exp.RowNumber: lambda p, n: "ROW_NUMBER()",
    exp.Rank: lambda p, n: "RANK()",
    exp.DenseRank: lambda p, n: "DENSE_RANK()",
    exp.PercentRank: lambda p, n: "PERCENT_RANK()",
    exp.CumeDist: lambda p, n: "CUME_DIST()",
    exp.Ntile: form("NTILE({this})"),
    exp.Lag: form("LAG({this}, {offset}, {default})", "LAG({this}, {offset})", "LAG({this})"),
    exp.Lead: form("LEAD({this}, {offset}, {default})", "LEAD({this}, {offset})", "LEAD({this})"),
    exp.NthValue: form("NTH_VALUE({this}, {offset})"),
    exp.FirstValue: form("FIRST_VALUE({this})"),
    exp.LastValue: form("LAST_VALUE({this})"),
}


def _one(template: str) -> Callable[[list[str]], str | None]:
    n = template.count("{")
    return lambda args: template.format(*args) if len(args) == n else None


NAMED: dict[tuple[str, str], Callable[[list[str]], str | None]] = {
    # Functions that sqlglot keeps by their name: (dialect, name in capitals).
    ("mysql", "WEEKDAY"): _one("(EXTRACT(ISODOW FROM {}) - 1)"),
    ("mysql", "UNIX_TIMESTAMP"): _one("UNIX_TIMESTAMP(CAST(CAST({} AS TIMESTAMP(0)) AS STRING))"),
    ("duckdb", "ISODOW"): _one("EXTRACT(ISODOW FROM {})"),
    ("clickhouse", "TODATE"): _one("CAST({} AS DATE)"),
    ("clickhouse", "TODATETIME"): _one("CAST({} AS TIMESTAMP(0))"),
    ("clickhouse", "TOSTRING"): _one("CAST({} AS STRING)"),
    ("clickhouse", "TOINT32"): _one("CAST({} AS INT)"),
    ("clickhouse", "TOINT64"): _one("CAST({} AS BIGINT)"),
    ("clickhouse", "TOFLOAT64"): _one("CAST({} AS DOUBLE)"),
    ("clickhouse", "TOYEAR"): _one("EXTRACT(YEAR FROM {})"),
    ("clickhouse", "TOMONTH"): _one("EXTRACT(MONTH FROM {})"),
    ("clickhouse", "TODAYOFMONTH"): _one("EXTRACT(DAY FROM {})"),
    ("clickhouse", "TOHOUR"): _one("EXTRACT(HOUR FROM {})"),
    ("clickhouse", "TOMINUTE"): _one("EXTRACT(MINUTE FROM {})"),
    ("clickhouse", "TODAYOFWEEK"): _one("EXTRACT(ISODOW FROM {})"),
    ("clickhouse", "TOSTARTOFYEAR"): _one("CAST(FLOOR({} TO YEAR) AS DATE)"),
    ("clickhouse", "ADDDAYS"): lambda a: f"TIMESTAMPADD(DAY, {a[1]}, {a[0]})" if len(a) == 2 else None,
    ("clickhouse", "ADDHOURS"): lambda a: f"TIMESTAMPADD(HOUR, {a[1]}, {a[0]})" if len(a) == 2 else None,
    ("clickhouse", "ADDMONTHS"): lambda a: f"TIMESTAMPADD(MONTH, {a[1]}, {a[0]})" if len(a) == 2 else None,
    ("clickhouse", "SUBTRACTDAYS"): lambda a: f"TIMESTAMPADD(DAY, -({a[1]}), {a[0]})" if len(a) == 2 else None,
    ("clickhouse", "INTDIV"): lambda a: f"CAST(({a[0]}) / ({a[1]}) AS BIGINT)" if len(a) == 2 else None,
    ("clickhouse", "NOTEMPTY"): _one("({} <> '')"),
    ("clickhouse", "EMPTY"): _one("({} = '')"),
    ("clickhouse", "LOWERUTF8"): _one("LOWER({})"),
    ("clickhouse", "UPPERUTF8"): _one("UPPER({})"),
    ("clickhouse", "LENGTHUTF8"): _one("CHAR_LENGTH({})"),
    ("clickhouse", "REVERSEUTF8"): _one("REVERSE({})"),
    ("clickhouse", "POSITIONUTF8"): lambda a: f"POSITION({a[1]} IN {a[0]})" if len(a) == 2 else None,
    ("clickhouse", "UNIQEXACT"): _one("COUNT(DISTINCT {})"),
    ("clickhouse", "MULTIIF"): lambda a: (
        f"CASE {' '.join(f'WHEN {c} THEN {v}' for c, v in zip(a[:-1:2], a[1:-1:2], strict=True))} ELSE {a[-1]} END"
        if len(a) % 2 and len(a) > 1
        else None
    ),
    ("spark", "ISNULL"): _one("({} IS NULL)"),
    ("spark", "ISNOTNULL"): _one("({} IS NOT NULL)"),
}  # fmt: skip
