"""Trees as Flink SQL text: for messages, EXPLAIN and what the catalog keeps. Printed text reads back as the same tree.

Comments, and the quotes around names that need none, are lost. sqlglot's dialect is `dialect.py`.
"""

from __future__ import annotations

from sqlglot import exp, generator, tokens
from sqlglot.dialects.dialect import Dialect, NormalizationStrategy

from sqlstream.sql.ast import Descriptor, JoinGroup, Pivoted, TableArgument, TableFunction, TypedLiteral, Unpivoted
from sqlstream.sql.cursor import needs_quotes
from sqlstream.sql.words import BARE, CALLABLE

_T = exp.DataType.Type
# where a short tuple needs no ROW before it
_TUPLES = (exp.Values, exp.Group, exp.GroupingSets, exp.Rollup, exp.Cube, Pivoted, Unpivoted)


def sql_of(node: exp.Expression) -> str:
    """The node as Flink SQL."""
    return str(node.sql(dialect=FlinkText))


class FlinkText(Dialect):  # type: ignore[misc]  # sqlglot is untyped to mypy
    """What printing needs of a dialect."""

    NORMALIZATION_STRATEGY = NormalizationStrategy.CASE_SENSITIVE
    NORMALIZE_FUNCTIONS = False

    class Tokenizer(tokens.Tokenizer):  # type: ignore[misc]
        """Only the quotes, which the generator takes from here."""

        IDENTIFIERS = ["`"]
        QUOTES = ["'"]

    class Generator(generator.Generator):  # type: ignore[misc]
        """How nodes are written, ours among them, where that is not sqlglot's own way."""

        QUERY_HINTS = True
        TABLE_HINTS = True
        SUPPORTS_BETWEEN_FLAGS = True
        TYPE_MAPPING = {
            **generator.Generator.TYPE_MAPPING,
            **dict.fromkeys((_T.TEXT, _T.NVARCHAR), "STRING"),
            **dict.fromkeys((_T.DATETIME, _T.DATETIME2, _T.TIMESTAMPNTZ), "TIMESTAMP"),
            **dict.fromkeys((_T.TIMESTAMPTZ, _T.TIMESTAMPLTZ), "TIMESTAMP_LTZ"),
            _T.VARBINARY: "BYTES",
        }
        WRAP_DERIVED_VALUES = False
        TRANSFORMS = {
            **generator.Generator.TRANSFORMS,
            Descriptor: lambda self, node: self.descriptor_text(node),
            JoinGroup: lambda self, node: self.joingroup_text(node),
            Pivoted: lambda self, node: self.pivoted_text(node),
            TableArgument: lambda self, node: self.tableargument_text(node),
            TableFunction: lambda self, node: self.tablefunction_text(node),
            TypedLiteral: lambda self, node: self.typedliteral_text(node),
            Unpivoted: lambda self, node: self.unpivoted_text(node),
        }

        def anonymous_sql(self, node: exp.Expression) -> str:
            if isinstance(node.parent, exp.Hint) and not node.expressions:
                return str(node.this)
            special = _SPECIAL.get(str(node.this).upper())
            text = special(self, node.expressions) if special else None
            if text is None:
                if not node.expressions and node.this.upper() in BARE:
                    return str(node.this)
                text = ", ".join(self.sql(e) for e in node.expressions)
            return f"{'.'.join(_name(part) for part in node.this.split('.'))}({text})"

        def not_sql(self, node: exp.Expression) -> str:
            """`a NOT IN (…)`: NOT before the operand would bind less tightly than an operator around it."""
            this = node.this
            escape = ""
            if isinstance(this, exp.Escape):
                escape = f" ESCAPE {self.sql(this, 'expression')}"
                this = this.this
            if isinstance(this, (exp.In, exp.Like, exp.SimilarTo, exp.Between)):
                operand = self.sql(this, "this")
                rest = self.sql(this)[len(operand) :]
                return f"{operand} NOT{rest}{escape}"
            if isinstance(this, exp.Is):
                return f"{self.sql(this, 'this')} IS NOT {self.sql(this, 'expression')}"
            return f"NOT {self.sql(node, 'this')}"

        def ordered_sql(self, node: exp.Expression) -> str:
            nulls = {None: "", True: " NULLS FIRST", False: " NULLS LAST"}[node.args.get("nulls_first")]
            return f"{self.sql(node, 'this')}{' DESC' if node.args.get('desc') else ''}{nulls}"

        def table_sql(self, node: exp.Expression, sep: str = " AS ") -> str:
            parts = [self.table_parts(node), *(self.sql(h).strip() for h in node.args.get("hints") or ())]
            if version := node.args.get("version"):
                parts.append(f"FOR SYSTEM_TIME AS OF {self.sql(version, 'expression')}")
            return " ".join(parts) + self._alias(node)

        def tuple_sql(self, node: exp.Expression) -> str:
            items = ", ".join(self.sql(e) for e in node.expressions)
            plain = len(node.expressions) > 1 or isinstance(node.parent, _TUPLES)
            return f"{'' if plain else 'ROW'}({items})"

        def array_sql(self, node: exp.Expression) -> str:
            return f"ARRAY[{', '.join(self.sql(e) for e in node.expressions)}]"

        def map_sql(self, node: exp.Expression) -> str:
            pairs = zip(node.args["keys"].expressions, node.args["values"].expressions, strict=True)
            return f"MAP[{', '.join(f'{self.sql(k)}, {self.sql(v)}' for k, v in pairs)}]"

        def hexstring_sql(self, node: exp.Expression, binary_function_repr: str | None = None) -> str:
            return f"X'{node.this}'"

        def placeholder_sql(self, node: exp.Expression) -> str:
            return "?"

        def propertyeq_sql(self, node: exp.Expression) -> str:
            return f"{self.sql(node, 'this')} = {self.sql(node, 'expression')}"

        def values_sql(self, node: exp.Expression, values_as_table: bool = True) -> str:
            rows = f"VALUES {', '.join(self.sql(e) for e in node.expressions)}"
            return str(self.query_modifiers(node, rows))

        def after_limit_modifiers(self, expression: exp.Expression) -> list[str]:
            emit = expression.args.get("emit")
            return [*super().after_limit_modifiers(expression), *([] if emit is None else [f" EMIT {emit.this}"])]

        def unnest_sql(self, node: exp.Expression) -> str:
            ordinality = " WITH ORDINALITY" if node.args.get("offset") else ""
            return f"UNNEST({self.sql(node.expressions[0])}){ordinality}{self._alias(node)}"

        def lateral_sql(self, node: exp.Expression) -> str:
            return f"LATERAL {self.sql(node, 'this')}"

        def tablefunction_text(self, node: exp.Expression) -> str:
            items = ", ".join(self.sql(e) for e in node.expressions)
            name = ".".join(_name(part) for part in node.this.split("."))
            lateral = "LATERAL " if node.args.get("lateral") else ""
            hints = "".join(f" {self.sql(h).strip()}" for h in node.args.get("hints") or ())
            return f"{lateral}TABLE({name}({items})){hints}{self._alias(node)}"

        def tableargument_text(self, node: exp.Expression) -> str:
            text = f"TABLE {self.sql(node, 'this')}"
            if partition := node.args.get("partition_by"):
                text += f" PARTITION BY ({', '.join(self.sql(e) for e in partition)})"
            if order := node.args.get("order"):
                text += f" {self.sql(order).strip()}"
            return text

        def descriptor_text(self, node: exp.Expression) -> str:
            return f"DESCRIPTOR({', '.join(self.sql(e) for e in node.expressions)})"

        def joingroup_text(self, node: exp.Expression) -> str:
            return f"({self.sql(node, 'this')}{''.join(self.sql(j) for j in node.args['joins'])})"

        def pivoted_text(self, node: exp.Expression) -> str:
            calls, values = (", ".join(self.sql(e) for e in node.args[k]) for k in ("expressions", "values"))
            columns = ", ".join(self.sql(c) for c in node.args["columns"])
            columns = f"({columns})" if len(node.args["columns"]) > 1 else columns
            return f"{self.sql(node, 'this')} PIVOT ({calls} FOR {columns} IN ({values})){self._alias(node)}"

        def unpivoted_text(self, node: exp.Expression) -> str:
            nulls = " INCLUDE NULLS" if node.args.get("nulls") else ""
            values = ", ".join(self.sql(v) for v in node.args["values"])
            values = f"({values})" if len(node.args["values"]) > 1 else values
            columns = ", ".join(self.sql(e) for e in node.expressions)
            text = f"{values} FOR {self.sql(node, 'name')} IN ({columns})"
            return f"{self.sql(node, 'this')} UNPIVOT{nulls} ({text}){self._alias(node)}"

        def typedliteral_text(self, node: exp.Expression) -> str:
            return f"{node.args['kind']} {self.sql(node, 'this')}"

        def _alias(self, node: exp.Expression) -> str:
            alias = self.sql(node, "alias")
            return f" AS {alias}" if alias else ""


def _name(part: str) -> str:
    return f"`{part.replace('`', '``')}`" if needs_quotes(part) and part.upper() not in CALLABLE | BARE else part


# ---- functions with a syntax of their own: their arguments as text, None for the plain form


def _extract(printer: generator.Generator, args: list[exp.Expression]) -> str | None:
    unit, this = args
    return f"{unit.name} FROM {printer.sql(this)}"


def _rounding(printer: generator.Generator, args: list[exp.Expression]) -> str | None:
    return f"{printer.sql(args[0])} TO {args[1].name}" if isinstance(args[-1], exp.Var) else None


def _trim(printer: generator.Generator, args: list[exp.Expression]) -> str | None:
    if not isinstance(args[-1], exp.Var):
        return None
    this, characters, side = args
    return f"{side.name} {printer.sql(characters)} FROM {printer.sql(this)}"


def _json(printer: generator.Generator, args: list[exp.Expression]) -> str | None:
    plain = [printer.sql(a) for a in args if not isinstance(a, exp.Kwarg)]
    clauses = [_json_clause(printer, a) for a in args if isinstance(a, exp.Kwarg)]
    return " ".join([", ".join(plain), *clauses]).strip()


def _json_object(printer: generator.Generator, args: list[exp.Expression]) -> str | None:
    plain = [printer.sql(a) for a in args if not isinstance(a, exp.Kwarg)]
    pairs = ", ".join(f"KEY {k} VALUE {v}" for k, v in zip(plain[::2], plain[1::2], strict=True))
    clauses = [_json_clause(printer, a) for a in args if isinstance(a, exp.Kwarg)]
    return " ".join([pairs, *clauses]).strip()


def _json_clause(printer: generator.Generator, clause: exp.Expression) -> str:
    name, value = clause.this.name, clause.expression
    if name == "RETURNING":
        return f"RETURNING {printer.sql(value)}"
    if name == "WRAPPER":
        return "WITHOUT WRAPPER" if value.name == "WITHOUT" else f"WITH {value.name} WRAPPER"
    text = value.name.replace("_", " ") if isinstance(value, exp.Var) else f"DEFAULT {printer.sql(value)}"
    return f"{text} {name.replace('_', ' ')}"


_SPECIAL = {
    "EXTRACT": _extract,
    "CEIL": _rounding,
    "CEILING": _rounding,
    "FLOOR": _rounding,
    "TRIM": _trim,
    "JSON_VALUE": _json,
    "JSON_QUERY": _json,
    "JSON_EXISTS": _json,
    "JSON_ARRAY": _json,
    "JSON_ARRAYAGG": _json,
    "JSON_OBJECT": _json_object,
    "JSON_OBJECTAGG": _json_object,
}
