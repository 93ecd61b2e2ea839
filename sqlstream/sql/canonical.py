"""Trees for those who use sqlglot: functions that it has classes for become these.

Our own stages keep every call as it is written (`ast.py`). `sqlglot.parse_one(text, read="flink")` gives what sqlglot's
users look for, `exp.Sum` and not a call named SUM, so that its optimizer and its other dialects understand the tree.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

Build = Callable[[list[exp.Expression]], exp.Expression | None]


def _of(node: type[exp.Expression], *keys: str, least: int | None = None) -> Build:
    """The class whose arguments `keys` are the call's, in order; `least` of them at the fewest."""

    def build(args: list[exp.Expression]) -> exp.Expression | None:
        fewest = len(keys) if least is None else least
        if not fewest <= len(args) <= len(keys) or any(isinstance(a, (exp.Var, exp.Kwarg)) for a in args):
            return None
        return node(**dict(zip(keys, args, strict=False)))

    return build


def _count(args: list[exp.Expression]) -> exp.Expression | None:
    return exp.Count(this=args[0], expressions=args[1:], big_int=True) if args else None


def _many(node: type[exp.Expression]) -> Build:
    """`this` and the rest."""
    return lambda args: node(this=args[0], expressions=args[1:]) if args else None


def _extract(args: list[exp.Expression]) -> exp.Expression | None:
    return exp.Extract(this=args[0], expression=args[1]) if len(args) == 2 else None


_FUNCTIONS: dict[str, Build] = {
    "COUNT": _count,
    "SUM": _of(exp.Sum, "this"),
    "AVG": _of(exp.Avg, "this"),
    "MIN": _of(exp.Min, "this"),
    "MAX": _of(exp.Max, "this"),
    "STDDEV_POP": _of(exp.StddevPop, "this"),
    "STDDEV_SAMP": _of(exp.StddevSamp, "this"),
    "VAR_POP": _of(exp.VariancePop, "this"),
    "VAR_SAMP": _of(exp.Variance, "this"),
    "LISTAGG": _of(exp.GroupConcat, "this", "separator", least=1),
    "MEDIAN": _of(exp.Median, "this"),
    "BOOL_AND": _of(exp.LogicalAnd, "this"),
    "BOOL_OR": _of(exp.LogicalOr, "this"),
    "BIT_AND": _of(exp.BitwiseAndAgg, "this"),
    "BIT_OR": _of(exp.BitwiseOrAgg, "this"),
    "BIT_XOR": _of(exp.BitwiseXorAgg, "this"),
    "APPROX_COUNT_DISTINCT": _of(exp.ApproxDistinct, "this"),
    "FIRST_VALUE": _of(exp.FirstValue, "this"),
    "LAST_VALUE": _of(exp.LastValue, "this"),
    "LAG": _of(exp.Lag, "this", "offset", "default", least=1),
    "LEAD": _of(exp.Lead, "this", "offset", "default", least=1),
    "NTH_VALUE": _of(exp.NthValue, "this", "offset"),
    "ROW_NUMBER": _of(exp.RowNumber),
    "RANK": _of(exp.Rank),
    "DENSE_RANK": _of(exp.DenseRank),
    "PERCENT_RANK": _of(exp.PercentRank),
    "CUME_DIST": _of(exp.CumeDist),
    "NTILE": _of(exp.Ntile, "this"),
    "UPPER": _of(exp.Upper, "this"),
    "LOWER": _of(exp.Lower, "this"),
    "CHAR_LENGTH": _of(exp.Length, "this"),
    "SUBSTRING": _of(exp.Substring, "this", "start", "length", least=2),
    "REPLACE": _of(exp.Replace, "this", "expression", "replacement"),
    "LEFT": _of(exp.Left, "this", "expression"),
    "RIGHT": _of(exp.Right, "this", "expression"),
    "REPEAT": _of(exp.Repeat, "this", "times"),
    "REVERSE": _of(exp.Reverse, "this"),
    "COALESCE": _many(exp.Coalesce),
    "NULLIF": _of(exp.Nullif, "this", "expression"),
    "GREATEST": _many(exp.Greatest),
    "LEAST": _many(exp.Least),
    "ABS": _of(exp.Abs, "this"),
    "CEIL": _of(exp.Ceil, "this"),
    "FLOOR": _of(exp.Floor, "this"),
    "ROUND": _of(exp.Round, "this", "decimals", least=1),
    "SIGN": _of(exp.Sign, "this"),
    "POWER": _of(exp.Pow, "this", "expression"),
    "SQRT": _of(exp.Sqrt, "this"),
    "LN": _of(exp.Ln, "this"),
    "EXP": _of(exp.Exp, "this"),
    "EXTRACT": _extract,
    "CURRENT_DATE": _of(exp.CurrentDate),
    "CURRENT_TIMESTAMP": _of(exp.CurrentTimestamp),
    "CARDINALITY": _of(exp.ArraySize, "this"),
}


def canonical(tree: exp.Expression) -> exp.Expression:
    """A copy of `tree` with sqlglot's classes, and with what its divisions mean: of integers they are whole."""

    def one(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Anonymous) and not isinstance(node.parent, exp.Hint):
            build = _FUNCTIONS.get(str(node.this).upper())
            made = None if build is None else build(list(node.expressions))
            if made is not None:
                made.meta.update(node.meta)
                return made
        if isinstance(node, exp.Div):
            node.set("typed", True)
            node.set("safe", False)
        return node

    return tree.transform(one)
