"""Functions of strings by their meaning."""

from __future__ import annotations

from sqlglot import exp

from sqlstream.sql.foreign.rules import Printer, Rule, number, only, operand

# what TRIM takes away where nothing is said
_WHITE = " \t\n\x0b\f\r\x85\u1680\u2028\u2029\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_TRIMMED = {"bigquery": _WHITE + "\xa0\u202f", "trino": _WHITE}


def of_characters(rule: Rule, name: str) -> Rule:
    """The rule, but for ClickHouse, whose function is one of bytes; `name` is the one of characters."""

    def checked(printer: Printer, node: exp.Expression) -> str:
        if printer.dialect_of_query == "clickhouse":
            raise printer.refused(node, f"by bytes ({name} is by characters)")
        return rule(printer, node)

    return checked


def concat(printer: Printer, node: exp.Expression) -> str:
    """CONCAT of any types; in some dialects NULL counts as nothing."""
    parts = [_text(printer, p) for p in node.expressions]
    if node.args.get("coalesce"):
        parts = [p if p.startswith("'") else f"COALESCE({p}, '')" for p in parts]
    return f"CONCAT({', '.join(parts)})"


def _text(printer: Printer, node: exp.Expression) -> str:
    """An argument of CONCAT: any type elsewhere, a string in Flink."""
    plain = isinstance(node, exp.Cast) and node.is_type(*exp.DataType.TEXT_TYPES)
    plain = plain or (isinstance(node, exp.Literal) and node.is_string) or isinstance(node, exp.Coalesce)
    return printer.sql(node) if plain else f"CAST({printer.sql(node)} AS STRING)"


def concat_ws(printer: Printer, node: exp.Expression) -> str:
    """CONCAT_WS; Snowflake's and ClickHouse's give NULL where one is NULL."""
    separator, *rest = node.expressions
    between, parts = printer.sql(separator), [_text(printer, e) for e in rest]
    if printer.dialect_of_query in ("snowflake", "clickhouse"):
        return f"CONCAT({f', {between}, '.join(parts)})"
    return f"CONCAT_WS({', '.join([between, *parts])})"


def trim(printer: Printer, node: exp.Expression) -> str:
    """TRIM of characters; MySQL takes away a whole text, again and again."""
    only(printer, node, "this", "expression", "position")
    side = node.args.get("position") or "BOTH"
    what = node.args.get("expression")
    if what is None:
        characters = printer.sql(exp.Literal.string(_TRIMMED.get(printer.dialect_of_query, " ")))
    elif printer.dialect_of_query == "mysql" and not (isinstance(what, exp.Literal) and len(str(what.this)) == 1):
        raise printer.refused(node, "of a text of several characters")
    else:
        characters = printer.sql(what)
    return f"TRIM({side} {characters} FROM {printer.sql(node, 'this')})"


def pad(printer: Printer, node: exp.Expression) -> str:
    """LPAD, RPAD."""
    fill = node.args.get("fill_pattern")
    if isinstance(fill, exp.Literal) and not fill.this:
        raise printer.refused(node, "with nothing")
    name = "LPAD" if node.args.get("is_left") else "RPAD"
    parts = [printer.sql(node, "this"), printer.sql(node, "expression"), "' '" if fill is None else printer.sql(fill)]
    return f"{name}({', '.join(parts)})"


def length(printer: Printer, node: exp.Expression) -> str:
    """LENGTH: of bytes in MySQL and ClickHouse, without the spaces at the end in SQL Server."""
    only(printer, node, "this", "binary")
    this = node.this
    if printer.dialect_of_query == "tsql":
        return f"CHAR_LENGTH(RTRIM({printer.sql(this.this if isinstance(this, exp.Cast) else this)}))"
    of_bytes = node.args.get("binary") and printer.dialect_of_query in ("mysql", "clickhouse")
    return f"{'OCTET_LENGTH' if of_bytes else 'CHAR_LENGTH'}({printer.sql(this)})"


def substring(printer: Printer, node: exp.Expression) -> str:
    """SUBSTRING. Where it begins at 0 or before the text, every dialect has an answer of its own."""
    only(printer, node, "this", "start", "length")
    x, start, count = printer.sql(node, "this"), node.args.get("start"), node.args.get("length")
    if isinstance(start, exp.Literal) and start.is_string:
        raise printer.refused(node, "by a pattern")
    n = 1 if start is None else number(start)
    s = "1" if start is None else operand(printer, start)
    tail = "" if count is None else f", {printer.sql(count)}"
    plain = f"SUBSTRING({x}, {s}{tail})"
    if n is not None and n > 0:
        return plain
    dialect = printer.dialect_of_query
    if dialect in ("postgres", "tsql"):  # places before the text count
        if count is None:
            return f"SUBSTRING({x}, GREATEST({s}, 1))"
        return f"SUBSTRING({x}, GREATEST({s}, 1), GREATEST({s} + {operand(printer, count)} - GREATEST({s}, 1), 0))"
    if dialect in ("mysql", "trino"):  # there is no place 0
        return plain if n else f"CASE WHEN {s} = 0 AND {x} IS NOT NULL THEN '' ELSE {plain} END"
    before = f"{s} < -CHAR_LENGTH({x})"
    if dialect == "bigquery":
        return f"SUBSTRING({x}, CASE WHEN {before} THEN 1 ELSE {s} END{tail})"
    if dialect in ("spark", "duckdb"):
        if count is None:
            return f"SUBSTRING({x}, CASE WHEN {before} THEN 1 ELSE {s} END)"
        cut = f"SUBSTRING({x}, 1, GREATEST(CHAR_LENGTH({x}) + {s} + {operand(printer, count)}, 0))"
        zero = f" WHEN {s} = 0 THEN SUBSTRING({x}, 1, GREATEST({operand(printer, count)} - 1, 0))"
        return f"CASE WHEN {before} THEN {cut}{zero if dialect == 'duckdb' else ''} ELSE {plain} END"
    return plain


def side(name: str) -> Rule:
    """LEFT, RIGHT; all but as many in Postgres and DuckDB where the number is below 0."""

    def rule(printer: Printer, node: exp.Expression) -> str:
        only(printer, node, "this", "expression")
        x, n = printer.sql(node, "this"), operand(printer, node.expression)
        known = number(node.expression)
        if printer.dialect_of_query in ("postgres", "duckdb") and (known is None or known < 0):
            n = f"CASE WHEN {n} < 0 THEN GREATEST(CHAR_LENGTH({x}) + {n}, 0) ELSE {n} END"
        return f"{name}({x}, {n})"

    return rule


def initcap(printer: Printer, node: exp.Expression) -> str:
    """INITCAP: in some dialects, of words that end elsewhere."""
    if node.args.get("expression") is not None or printer.dialect_of_query in ("spark", "bigquery", "snowflake"):
        raise printer.refused(node, "whose words end elsewhere")
    return f"INITCAP({printer.sql(node, 'this')})"


def replace(printer: Printer, node: exp.Expression) -> str:
    """REPLACE; of nothing it changes nothing, which Flink's does."""
    only(printer, node, "this", "expression", "replacement")
    x, sought = printer.sql(node, "this"), node.expression
    new = "''" if node.args.get("replacement") is None else printer.sql(node, "replacement")
    if isinstance(sought, exp.Literal):
        return f"REPLACE({x}, {printer.sql(sought)}, {new})" if sought.this else x
    what = operand(printer, sought)
    return f"CASE WHEN {what} = '' THEN {x} ELSE REPLACE({x}, {what}, {new}) END"


def split_part(printer: Printer, node: exp.Expression) -> str:
    """SPLIT_PART: a part that is not there is '', in Trino NULL."""
    n = number(node.args["part_index"])
    delimiter = node.args["delimiter"]
    if n is None or n < 1:
        raise printer.refused(node, "with a part that is computed" if n is None else "that counts from the end")
    if isinstance(delimiter, exp.Literal) and not delimiter.this:
        raise printer.refused(node, "by nothing")
    x = printer.sql(node, "this")
    part = f"SPLIT_INDEX({x}, {printer.sql(delimiter)}, {n - 1})"
    if printer.dialect_of_query == "trino" and n > 1:
        return part
    return f"CASE WHEN {x} IS NOT NULL THEN COALESCE({part}, '') END"


def position(printer: Printer, node: exp.Expression) -> str:
    """POSITION, LOCATE, INSTR."""
    only(printer, node, "this", "substr", "position", "clamp_position")
    this, sought = printer.sql(node, "this"), printer.sql(node, "substr")
    start = node.args.get("position")
    return f"POSITION({sought} IN {this})" if start is None else f"LOCATE({sought}, {this}, {printer.sql(start)})"


def contains(printer: Printer, node: exp.Expression) -> str:
    """CONTAINS of strings."""
    only(printer, node, "this", "expression")
    return f"(POSITION({printer.sql(node, 'expression')} IN {printer.sql(node, 'this')}) > 0)"


def character(printer: Printer, node: exp.Expression) -> str:
    """CHR of ASCII: beyond it is a character of Unicode, a byte, or one of a code page."""
    code = number(node.expressions[0])
    if len(node.expressions) != 1 or node.args.get("charset") or code is None or not 0 < code < 128:
        raise printer.refused(node, "of more than one known character of ASCII")
    return f"CHR({code})"


def element(printer: Printer, node: exp.Expression) -> str:
    """`x[n]`. `split(a, '/')[0]` is one function in Flink; elements of arrays count from 1.

    In sqlglot's trees numbers count from 0, unless the node says `offset` 1; what is computed counts as it was written.
    """
    (index,) = node.expressions
    inner = node.this
    from_one = node.args.get("offset") == 1
    n = number(index)
    if n is not None:
        n = n - 1 if from_one else n
        if n < 0:
            raise printer.refused(node, "of a place before the first")
    if isinstance(inner, (exp.Split, exp.RegexpSplit)):
        separator = inner.expression
        if n is None or (isinstance(inner, exp.RegexpSplit) and not _plain(separator)):
            raise printer.refused(inner)
        return f"SPLIT_INDEX({printer.sql(inner, 'this')}, {printer.sql(separator)}, {n})"
    if n is not None:
        return f"{operand(printer, inner)}[{n + 1}]"
    if isinstance(index, exp.Literal):
        return f"{operand(printer, inner)}[{printer.sql(index)}]"
    if from_one or (isinstance(index, exp.Column) and printer.dialect_of_query in _FROM_ONE):
        return f"{operand(printer, inner)}[{printer.sql(index)}]"
    if printer.dialect_of_query != "bigquery":  # may be a key of a map
        raise printer.refused(node, "with a place that is computed")
    return f"{operand(printer, inner)}[{operand(printer, index)} + 1]"


_FROM_ONE = ("postgres", "duckdb", "trino", "clickhouse")


def _plain(pattern: exp.Expression) -> bool:
    """Whether a regular expression stands for itself."""
    return isinstance(pattern, exp.Literal) and not set(str(pattern.this)) & set(r"\^$.|?*+()[]{}")
