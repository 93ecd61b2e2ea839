"""Flink SQL text of a tree of another dialect. What is listed neither here nor in `functions.py` is refused."""

from __future__ import annotations

from typing import Any

from sqlglot import exp
from sqlglot.errors import UnsupportedError

from sqlstream.errors import NotSupported
from sqlstream.sql.foreign.functions import FUNCTIONS, NAMED
from sqlstream.sql.foreign.rules import number, operand
from sqlstream.sql.foreign.texts import element
from sqlstream.sql.printing import FlinkText

_T = exp.DataType.Type
_TYPES: dict[Any, str] = {
    _T.BOOLEAN: "BOOLEAN", _T.BIT: "BOOLEAN",
    _T.TINYINT: "TINYINT", _T.SMALLINT: "SMALLINT", _T.INT: "INT", _T.BIGINT: "BIGINT",
    _T.FLOAT: "FLOAT", _T.DOUBLE: "DOUBLE",
    _T.TEXT: "STRING", _T.VARCHAR: "STRING", _T.NVARCHAR: "STRING", _T.CHAR: "STRING", _T.NCHAR: "STRING",
    _T.BINARY: "BYTES", _T.VARBINARY: "BYTES",
    _T.DATE: "DATE", _T.DATE32: "DATE", _T.TIME: "TIME(0)",
    _T.TIMESTAMP: "TIMESTAMP(6)", _T.TIMESTAMPNTZ: "TIMESTAMP(6)", _T.DATETIME: "TIMESTAMP(6)",
    _T.DATETIME2: "TIMESTAMP(6)", _T.TIMESTAMPTZ: "TIMESTAMP_LTZ(6)", _T.TIMESTAMPLTZ: "TIMESTAMP_LTZ(6)",
}  # fmt: skip
_INTEGERS = (_T.TINYINT, _T.SMALLINT, _T.INT, _T.BIGINT)
_TEXTS = (_T.VARCHAR, _T.NVARCHAR, _T.CHAR, _T.NCHAR)
_LOCAL_TIMES = (_T.TIMESTAMP, _T.TIMESTAMPNTZ, _T.DATETIME, _T.DATETIME2)
# a DECIMAL whose size is left out; Postgres's has any number of digits
_DECIMALS = {
    "bigquery": "DECIMAL(38, 9)",
    "duckdb": "DECIMAL(18, 3)",
    "mysql": "DECIMAL(10, 0)",
    "snowflake": "DECIMAL(38, 0)",
    "spark": "DECIMAL(10, 0)",
    "trino": "DECIMAL(38, 0)",
    "tsql": "DECIMAL(18, 0)",
}
# whose casts to integers round
_ROUNDING = ("bigquery", "duckdb", "mysql", "postgres", "snowflake", "trino")
# what gives whole numbers, or text, of which casts in those dialects take whole numbers alone
_WHOLE = (exp.Count, exp.CountIf, exp.Length, exp.Extract, exp.StrPosition, exp.DateDiff, exp.IntDiv, exp.RowNumber)

# Nodes that mean in Flink what they mean elsewhere, and that our own dialect prints.
_SHARED = (
    exp.Select, exp.From, exp.Join, exp.Table, exp.TableAlias, exp.Subquery, exp.With, exp.CTE, exp.Union, exp.Except,
    exp.Intersect, exp.Values, exp.Tuple, exp.Where, exp.Having, exp.Qualify, exp.Group, exp.GroupingSets, exp.Rollup,
    exp.Cube, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Fetch, exp.Distinct, exp.Alias, exp.Star, exp.Column,
    exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.Case, exp.Cast, exp.TryCast, exp.DataType,
    exp.DataTypeParam, exp.Interval, exp.Var, exp.And, exp.Or, exp.Not, exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Mod,
    exp.DPipe, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.Between,
    exp.In, exp.Exists, exp.Any, exp.All, exp.Window, exp.WindowSpec, exp.Filter,
    exp.Array, exp.Dot, exp.Unnest, exp.HexString, exp.WeekStart, exp.JSONPath, exp.JSONPathRoot, exp.JSONPathKey,
    exp.JSONPathSubscript, exp.LimitOptions, exp.Bracket, exp.Placeholder, exp.IntervalSpan,
)  # fmt: skip
_KNOWN = frozenset({*_SHARED, *FUNCTIONS, exp.Anonymous, exp.AnonymousAggFunc, exp.Split, exp.RegexpSplit})
# Parts of such nodes that have no equal.
_UNUSED = {
    exp.Select: (
        "kind", "into", "match", "laterals", "pivots", "sample", "prewhere", "cluster", "distribute", "sort", "connect",
        "settings", "format", "locks", "options", "exclude", "operation_modifiers",
    ),
    exp.Table: (
        "pivots", "joins", "laterals", "only", "when", "rows_from", "sample", "ordinality", "version", "changes", "partition",
    ),
    exp.Unnest: ("offset",),
    exp.Star: ("except_", "except", "replace", "rename"),
    exp.Union: ("by_name", "on", "kind"),
    exp.Ordered: ("with_fill",),
    exp.Join: ("global_", "global", "hint", "directed"),
    exp.LimitOptions: ("percent", "with_ties"),
    exp.Limit: ("expressions",),
    exp.In: ("unnest", "field", "is_global"),
    exp.Group: ("all", "totals"),
    exp.Distinct: ("on",),
}  # fmt: skip

_JOINS = {
    "method": ("", "NATURAL", "ASOF"), "side": ("", "LEFT", "RIGHT", "FULL"), "kind": ("", "INNER", "OUTER", "CROSS"),
}  # fmt: skip


class MeaningPrinter(FlinkText.Generator):
    """Prints sqlglot's functions by their meaning, and all else as it stands."""

    dialect_of_query = ""  # where a tree came from, if not from Flink
    reads_own_trees = True  # whose divisions say nothing of what they mean: it is Flink's meaning

    def sql(self, expression: Any, key: str | None = None, comment: bool = True) -> str:
        """The text of a node, or of its part `key`: sqlglot's functions by their meaning."""
        node = expression.args.get(key) if key and isinstance(expression, exp.Expression) else expression
        rule = FUNCTIONS.get(type(node))
        own = self.reads_own_trees and isinstance(node, exp.Div) and "typed" not in node.args
        return str(super().sql(expression, key, comment) if rule is None or own else rule(self, node))

    def refused(self, node: exp.Expression, how: str = "") -> Any:
        """The error to raise where Flink has nothing that means `node`."""
        return UnsupportedError(f"{node.sql_name() if isinstance(node, exp.Func) else node.key} {how}".strip())

    def argument(self, value: Any) -> str:
        """An argument of a call as text."""
        return ", ".join(self.sql(v) for v in value) if isinstance(value, list) else self.sql(value)


class Printer(MeaningPrinter):
    """Prints one query; `dialect_of_query` is where it came from."""

    LIMIT_FETCH = "LIMIT"
    reads_own_trees = False

    def refused(self, node: exp.Expression, how: str = "") -> NotSupported:
        """The error to raise where Flink has nothing that means `node`."""
        return NotSupported(
            f"{_name_of(node)}{' ' + how if how else ''} of {self.dialect_of_query} has no equal in Flink SQL",
            hint="write the query in Flink SQL: SET 'table.sql-dialect' = 'default'",
        )

    def check(self, tree: exp.Expression) -> None:
        """NotSupported for the first node, or part of one, that has no equal."""
        for node in tree.walk():
            if type(node) not in _KNOWN:
                raise self.refused(node)
            for key in _UNUSED.get(type(node), ()):
                if node.args.get(key):
                    raise self.refused(node, f"with {key.rstrip('_').replace('_', ' ').upper()}")
            if isinstance(node, exp.Join):
                for part, known in _JOINS.items():
                    if (text := str(node.args.get(part) or "").upper()) not in known:
                        raise self.refused(node, f"of the kind {text}")
            if isinstance(node, exp.Unnest) and len(node.expressions) > 1:
                raise self.refused(node, "of several arrays")
            if isinstance(node, exp.WindowSpec) and node.args.get("exclude"):
                raise self.refused(node, "with EXCLUDE")

    # ---- nodes that Flink writes in another way

    def datatype_sql(self, node: exp.Expression) -> str:
        """Flink's name of a type; sizes that were left out are the other dialect's."""
        kind, params = node.this, [self.sql(p) for p in node.expressions]
        if kind in (_T.DECIMAL, _T.BIGDECIMAL):
            sized = f"DECIMAL({', '.join(params)})" if params else _DECIMALS.get(self.dialect_of_query)
            if sized is None:
                raise self.refused(node, "without a size")
            return sized
        if kind in _TEXTS:
            return self._text_type(node, kind in (_T.CHAR, _T.NCHAR), params[0] if params else "")
        if kind in _LOCAL_TIMES and params:
            return f"TIMESTAMP({params[0]})"
        if kind == _T.ARRAY and len(params) == 1:
            return f"ARRAY<{params[0]}>"
        if kind == _T.TIMESTAMPTZ and self.dialect_of_query == "mysql":
            return "TIMESTAMP(6)"  # its literals and values are times of the wall clock
        name = _TYPES.get(kind)
        if name is None:
            raise self.refused(node)
        return name

    def _text_type(self, node: exp.Expression, padded: bool, length: str) -> str:
        """A text's type. DuckDB's lengths say nothing; those of Snowflake and BigQuery cut nothing, either."""
        dialect = self.dialect_of_query
        if padded and dialect in ("postgres", "snowflake", "trino", "tsql"):
            raise self.refused(node, "that is padded or of one character")
        if not length.isdigit() or dialect in ("duckdb", "snowflake", "bigquery"):
            return "VARCHAR(30)" if dialect == "tsql" and not length else "STRING"
        return f"VARCHAR({length})"

    def cast_sql(self, node: exp.Expression, safe_prefix: str | None = None) -> str:
        """A cast to whole numbers rounds in most dialects; Flink's cuts, but for one to a DECIMAL."""
        this, text = node.this, str(super().cast_sql(node, safe_prefix))
        whole = isinstance(this, _WHOLE) or (isinstance(this, exp.Literal) and str(this.this).lstrip("+-").isdigit())
        whole = whole or number(this) is not None or (isinstance(this, exp.Cast) and this.is_type(*_INTEGERS))
        if self.dialect_of_query not in _ROUNDING or not node.is_type(*_INTEGERS) or whole:
            return text
        name = f"{safe_prefix or ''}CAST"
        return f"{name}({name}({self.sql(this)} AS DECIMAL(38, 0)) AS {self.sql(node, 'to')})"

    def not_sql(self, node: exp.Expression) -> str:
        """NOT before LIKE binds less tightly than it, as written: `a NOT LIKE b` is no NOT in these trees."""
        if isinstance(node.this, (exp.Like, exp.ILike, exp.Escape, exp.SimilarTo)):
            return f"NOT {self.sql(node, 'this')}"
        return str(super().not_sql(node))

    def anonymous_sql(self, node: exp.Expression) -> str:
        """A function that sqlglot knows by name only: Flink's, where `NAMED` has it for the dialect."""
        rule = NAMED.get((self.dialect_of_query, str(node.this).upper()))
        text = rule([self.sql(e) for e in node.expressions]) if rule is not None else None
        if text is None:
            raise self.refused(node)
        return text

    def anonymousaggfunc_sql(self, node: exp.Expression) -> str:
        """An aggregate that sqlglot does not know: by its name, as any such function."""
        return self.anonymous_sql(node)

    def bracket_sql(self, node: exp.Expression) -> str:
        """`x[n]`, elements counted from 1."""
        return element(self, node)

    def split_sql(self, node: exp.Expression) -> str:
        """An array of parts has no equal; one part of it has."""
        raise self.refused(node, "without [n] behind it")

    regexpsplit_sql = split_sql

    def values_sql(self, node: exp.Expression, values_as_table: bool = True) -> str:
        """VALUES, in parentheses where it has an alias."""
        rows = f"VALUES {', '.join(self.sql(e) for e in node.expressions)}"
        return f"({rows}){self._alias(node)}" if node.args.get("alias") else str(self.query_modifiers(node, rows))

    def interval_sql(self, node: exp.Expression) -> str:
        """A constant number of one unit."""
        unit = node.args.get("unit")
        value = node.this
        if unit is None or not isinstance(value, exp.Literal):
            raise self.refused(node, "of a computed length")
        return f"INTERVAL '{value.this}' {self.sql(unit).upper().removesuffix('S')}"

    def dpipe_sql(self, node: exp.Expression) -> str:
        """Elsewhere it binds less tightly than + and -."""
        left = self.sql(node, "this") if isinstance(node.this, exp.DPipe) else operand(self, node.this)
        return f"{left} || {operand(self, node.expression)}"

    def ordered_sql(self, node: exp.Expression) -> str:
        """NULLs come first ascending and last descending where nothing else is said, as in Flink."""
        descending = bool(node.args.get("desc"))
        first = node.args.get("nulls_first")
        nulls = "" if first is None or bool(first) is not descending else f" NULLS {'FIRST' if first else 'LAST'}"
        return f"{self.sql(node, 'this')}{' DESC' if descending else ''}{nulls}"

    def json_path(self, node: exp.Expression) -> str:
        """A path of keys and places, as Flink writes it."""
        path = node.expression
        if isinstance(path, exp.Literal):
            if not str(path.this).startswith("$"):
                raise self.refused(node, "with this path")
            return self.sql(path)
        text = "$"
        for part in path.expressions:
            if isinstance(part, exp.JSONPathKey) and isinstance(part.this, str):
                text += f".{part.this}" if part.this.isidentifier() else f"['{part.this}']"
            elif isinstance(part, exp.JSONPathSubscript) and isinstance(part.this, int):
                text += f"[{part.this}]"
            elif not isinstance(part, exp.JSONPathRoot):
                raise self.refused(node, "with this path")
        return self.sql(exp.Literal.string(text))


def _name_of(node: exp.Expression) -> str:
    if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc, exp.CombinedAggFunc)):
        return f"the function {node.name}"
    if isinstance(node, exp.DataType):
        return f"the type {node.sql()}"
    if isinstance(node, exp.Func):
        return f"the function {node.sql_name()}"
    return str(node.key).upper()
