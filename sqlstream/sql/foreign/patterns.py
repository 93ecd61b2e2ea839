"""LIKE, SIMILAR TO and regular expressions by their meaning."""

from __future__ import annotations

from sqlglot import exp

from sqlstream.sql.foreign.rules import Printer, number, only, operand

# where \ escapes % and _ without being told to
_ESCAPING = ("postgres", "mysql", "bigquery", "spark", "clickhouse")


def like(printer: Printer, node: exp.Expression, escape: str | None = None) -> str:
    """[NOT] LIKE and ILIKE. `escape`: the character behind ESCAPE."""
    pattern = node.expression
    if isinstance(pattern.unnest(), (exp.Any, exp.All, exp.Tuple, exp.Array)):
        raise printer.refused(node, "with several patterns")
    if escape is None and printer.dialect_of_query in _ESCAPING:
        escape = "\\"
    if printer.dialect_of_query == "tsql" and (not isinstance(pattern, exp.Literal) or "[" in str(pattern.this)):
        raise printer.refused(node, "with a pattern that may have [ ]")
    tail = f" ESCAPE '{escape}'" if escape else ""
    if isinstance(pattern, exp.Literal) and escape:
        text, escapes = _escaped(printer, node, str(pattern.this), escape)
        pattern, tail = exp.Literal.string(text), " ESCAPE '\\'" if escapes else ""
    left, right = operand(printer, node.this), operand(printer, pattern)
    if isinstance(node, exp.ILike):
        left, right = f"LOWER({printer.sql(node.this)})", f"LOWER({printer.sql(pattern)})"
    return f"{left} {'NOT ' if node.args.get('negate') else ''}LIKE {right}{tail}"


def escaped_like(printer: Printer, node: exp.Expression) -> str:
    """`a LIKE b ESCAPE c`."""
    inner, escape = node.this, node.expression
    if isinstance(inner, (exp.Like, exp.ILike)) and isinstance(escape, exp.Literal) and len(str(escape.this)) <= 1:
        return like(printer, inner, str(escape.this))
    if isinstance(inner, exp.SimilarTo):
        return f"{printer.sql(inner)} ESCAPE {printer.sql(escape)}"
    raise printer.refused(node)


def _escaped(printer: Printer, node: exp.Expression, pattern: str, escape: str) -> tuple[str, bool]:
    """The pattern with \\ before what stands for itself; whether it has such. Flink takes it before %, _ and \\ alone."""
    out, at, needed = [], 0, False
    while at < len(pattern):
        c, own = pattern[at], False
        if c == escape:
            at += 1
            if at == len(pattern):
                raise printer.refused(node, f"with {escape} at its end")
            c, own = pattern[at], pattern[at] in "%_"
        needed = needed or own
        out.append((c, own))
        at += 1
    return "".join(f"\\{c}" if own or (needed and c == "\\") else c for c, own in out), needed


def similar_to(printer: Printer, node: exp.Expression) -> str:
    """SIMILAR TO: SQL's in Postgres, a whole regular expression in DuckDB."""
    this, pattern = operand(printer, node.this), node.expression
    if printer.dialect_of_query == "duckdb":
        return f"REGEXP({printer.sql(node.this)}, {_whole(printer, node, pattern)})"
    if not isinstance(pattern, exp.Literal) or "\\" in str(pattern.this):
        raise printer.refused(node, "with a pattern that may escape")
    return f"{this} SIMILAR TO {printer.sql(pattern)}"


def _whole(printer: Printer, node: exp.Expression, pattern: exp.Expression) -> str:
    if not isinstance(pattern, exp.Literal):
        raise printer.refused(node, "with a pattern that is computed")
    return printer.sql(exp.Literal.string(f"^(?:{pattern.this})$"))


def regexp_like(printer: Printer, node: exp.Expression) -> str:
    """Whether a part matches; in Snowflake the whole."""
    only(printer, node, "this", "expression", "full_match")
    whole = printer.dialect_of_query == "snowflake" or node.args.get("full_match")
    pattern = _whole(printer, node, node.expression) if whole else printer.sql(node.expression)
    return f"REGEXP({printer.sql(node, 'this')}, {pattern})"


def regexp_extract(printer: Printer, node: exp.Expression) -> str:
    """A group of the first match. Without a match it is '' in Spark and DuckDB."""
    for key in ("position", "occurrence", "parameters"):
        value = node.args.get(key)
        if value is not None and number(value) != 1:
            raise printer.refused(node, f"with {key}")
    group = node.args.get("group")
    this = printer.sql(node, "this")
    at = "0" if group is None else printer.sql(group)
    text = f"REGEXP_EXTRACT({this}, {printer.sql(node, 'expression')}, {at})"
    if printer.dialect_of_query in ("spark", "duckdb", "clickhouse"):
        return f"CASE WHEN {this} IS NOT NULL THEN COALESCE({text}, '') END"
    return text


def regexp_replace(printer: Printer, node: exp.Expression) -> str:
    """Flink replaces every match; groups are `$1` there, `\\1` in most dialects."""
    only(printer, node, "this", "expression", "replacement", "modifiers", "position", "occurrence", "single_replace")
    flags = node.args.get("modifiers")
    text = "" if flags is None else str(flags.this)
    if set(text) - {"g"}:
        raise printer.refused(node, f"with the flags '{text}'")
    if printer.dialect_of_query in ("postgres", "duckdb") and "g" not in text:
        raise printer.refused(node, "of the first match only (without the flag 'g')")
    for key, all_of_them in (("position", 1), ("occurrence", 0)):
        value = node.args.get(key)
        if value is not None and number(value) != all_of_them:
            raise printer.refused(node, f"with {key}")
    new = node.args.get("replacement")
    if new is not None and printer.dialect_of_query not in ("spark", "trino", "mysql"):
        if not isinstance(new, exp.Literal):
            raise printer.refused(node, "with a replacement that is computed")
        new = exp.Literal.string(_java_groups(str(new.this)))
    replacement = "''" if new is None else printer.sql(new)
    return f"REGEXP_REPLACE({printer.sql(node, 'this')}, {printer.sql(node, 'expression')}, {replacement})"


def _java_groups(text: str) -> str:
    out, at = [], 0
    while at < len(text):
        c = text[at]
        if c == "\\" and at + 1 < len(text):
            following = text[at + 1]
            out.append(f"${following}" if following.isdigit() else "$0" if following == "&" else f"\\{following}")
            at += 2
            continue
        out.append("\\$" if c == "$" else c)
        at += 1
    return "".join(out)
