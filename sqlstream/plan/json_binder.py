"""The clauses of JSON functions (RETURNING, WITH WRAPPER, … ON EMPTY), as arguments of what `functions/json.py` has."""

from __future__ import annotations

from collections.abc import Callable

from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Call, Expr, Literal, symbol
from sqlstream.sql.ast import exp, position_of
from sqlstream.sql.types import to_type
from sqlstream.types import STRING, Type

MAKERS = ("JSON_OBJECT", "JSON_ARRAY")
PLAIN = "JSON"
AGGREGATING = ("JSON_OBJECTAGG", "JSON_ARRAYAGG")
# The clauses that each takes, and the words in them.
_TAKEN: dict[str, dict[str, tuple[str, ...]]] = {
    "JSON_VALUE": {"RETURNING": (), "ON_EMPTY": ("NULL", "ERROR"), "ON_ERROR": ("NULL", "ERROR")},
    "JSON_EXISTS": {"ON_ERROR": ("TRUE", "FALSE", "UNKNOWN", "ERROR")},
    "JSON_QUERY": {
        "RETURNING": (),
        "WRAPPER": ("WITHOUT", "CONDITIONAL", "UNCONDITIONAL"),
        "ON_EMPTY": ("NULL", "ERROR", "EMPTY_ARRAY", "EMPTY_OBJECT"),
        "ON_ERROR": ("NULL", "ERROR", "EMPTY_ARRAY", "EMPTY_OBJECT"),
    },
    "JSON_OBJECT": {"ON_NULL": ("NULL", "ABSENT")},
    "JSON_ARRAY": {"ON_NULL": ("NULL", "ABSENT")},
    "JSON_OBJECTAGG": {"ON_NULL": ("NULL", "ABSENT")},
    "JSON_ARRAYAGG": {"ON_NULL": ("NULL", "ABSENT")},
}
Clauses = dict[str, exp.Expression]


def takes_clauses(name: str, node: exp.Expression) -> bool:
    """Whether a call is bound here: one that makes JSON, or one with a clause."""
    return name in MAKERS or name.startswith("JSON_") and any(isinstance(a, exp.Kwarg) for a in node.expressions)


def json_arguments(
    name: str,
    node: exp.Expression,
    bind: Callable[[exp.Expression], Expr],
    call: Callable[[str, list[Expr]], Expr],
) -> list[Expr]:
    """The arguments of a call with its clauses; `bind` is for those that are expressions, `call` for JSON(…) among them."""
    clauses = _clauses(name, node.expressions)
    given = [a for a in node.expressions if not isinstance(a, exp.Kwarg)]
    if name in MAKERS:
        bound = [call(PLAIN, [bind(x) for x in a.expressions]) if is_plain(a) else bind(a) for a in given]
        return _made(name, bound, clauses)
    plain = [bind(a) for a in given]
    if name == "JSON_EXISTS":
        return [*plain, _word(clauses, "ON_ERROR", "FALSE")]
    return [*plain, *(_value(clauses, bind) if name == "JSON_VALUE" else _query(clauses))]


def is_plain(node: exp.Expression) -> bool:
    """Whether it is JSON(…), which stands in what makes JSON alone."""
    return isinstance(node, exp.Anonymous) and node.name.upper() == PLAIN


def aggregated_json(
    name: str,
    args: list[exp.Expression],
    bind: Callable[[exp.Expression], Expr],
    call: Callable[[str, list[Expr]], Expr],
) -> tuple[Expr, ...]:
    """The arguments of one of `AGGREGATING` as JSON; what is NULL there is left out."""
    clauses = _clauses(name, args)
    *keys, value = [bind(a) for a in args if not isinstance(a, exp.Kwarg)]
    text = value if isinstance(value, Call) and value.function in MAKERS else call("JSON_STRING", [value])
    usual = "NULL" if name == "JSON_OBJECTAGG" else "ABSENT"
    if (clauses["ON_NULL"].name if "ON_NULL" in clauses else usual) == "NULL":
        text = call("COALESCE", [text, Literal(STRING.null(False), "null")])
    for k in keys:
        if not k.type.is_string:
            raise BindError(f"JSON_OBJECTAGG: a key is a text, not {k.type.text()}", hint="CAST the key to STRING")
    return (*(call("JSON_STRING", [k]) for k in keys), text)


def _clauses(name: str, args: list[exp.Expression]) -> Clauses:
    taken = _TAKEN.get(name, {})
    clauses: Clauses = {}
    for clause in args:
        if not isinstance(clause, exp.Kwarg):
            continue
        kind, value = clause.this.name, clause.expression
        word = value.name if isinstance(value, exp.Var) else None
        if kind not in taken or word is not None and word not in taken[kind]:
            said = f"{(word or '…').replace('_', ' ')} {kind.replace('_', ' ')}" if kind.startswith("ON") else kind
            raise NotSupported(f"{name} takes no {said}", position=position_of(clause))
        if kind in clauses:
            raise BindError(f"{name}: {kind.replace('_', ' ')} twice", position=position_of(clause))
        clauses[kind] = value
    return clauses


def _word(clauses: Clauses, kind: str, usual: str) -> Expr:
    value = clauses.get(kind)
    return symbol(usual if value is None else value.name)


def _made(name: str, plain: list[Expr], clauses: Clauses) -> list[Expr]:
    """JSON in JSON stays as it is."""
    out: list[Expr] = [_word(clauses, "ON_NULL", "NULL" if name == "JSON_OBJECT" else "ABSENT")]
    for i, e in enumerate(plain):
        out.append(e)
        if name == "JSON_ARRAY" or i % 2:
            out.append(symbol("RAW" if isinstance(e, Call) and e.function in (*MAKERS, PLAIN) else "VALUE"))
    return out


def _returning(clauses: Clauses) -> Type:
    return to_type(clauses["RETURNING"]).null() if "RETURNING" in clauses else STRING


def _query(clauses: Clauses) -> list[Expr]:
    t = _returning(clauses)
    if not t.is_string and not (t.kind == "ARRAY" and t.element.is_string):
        raise NotSupported(
            f"JSON_QUERY RETURNING {t.text()}",
            position=position_of(clauses["RETURNING"]),
            hint="it gives a STRING or an ARRAY<STRING>; then CAST",
        )
    said = [
        _word(clauses, kind, usual)
        for kind, usual in (("WRAPPER", "WITHOUT"), ("ON_EMPTY", "NULL"), ("ON_ERROR", "NULL"))
    ]
    if t.is_string:
        return said
    for kind in ("ON_EMPTY", "ON_ERROR"):
        if kind in clauses and clauses[kind].name == "EMPTY_OBJECT":
            raise BindError(
                f"JSON_QUERY RETURNING {t.text()}: an object is no array",
                position=position_of(clauses[kind]),
                hint=f"EMPTY ARRAY {kind.replace('_', ' ')}",
            )
    return [*said, Literal(t, None)]


def _value(clauses: Clauses, bind: Callable[[exp.Expression], Expr]) -> list[Expr]:
    t = _returning(clauses)
    out: list[Expr] = [Literal(t, None)]
    for kind in ("ON_EMPTY", "ON_ERROR"):
        value = clauses.get(kind)
        if value is None or isinstance(value, exp.Var):
            out += [_word(clauses, kind, "NULL"), Literal(t, None)]
        else:
            default = bind(value)
            if not isinstance(default, Literal):
                raise NotSupported("DEFAULT … must be a constant", position=position_of(value))
            out += [symbol("DEFAULT"), default]
    return out
