"""Functions of JSON. A clause behind the arguments (RETURNING, ON EMPTY, …) is an argument, too: see `plan/json_binder.py`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Expr, Literal, Symbol
from sqlstream.functions import json_rows
from sqlstream.functions.json_paths import ANY_FIELD, ANY_ITEM, JsonPath, parse
from sqlstream.functions.numbers import number_text, once
from sqlstream.functions.regular_expressions import constant
from sqlstream.functions.scalar_function import Nulls, ScalarFunction, Typing, function, takes
from sqlstream.literals import quoted
from sqlstream.types import BOOLEAN, STRING, SYMBOL, Type

# Numbers that DuckDB would write in another way are left to `json_rows`.
_DELICATE = r"[0-9.]{17}|[0-9][eE]|\.[0-9]+0(?:[^0-9]|$)|0\.0000|(?:^|[\[:,\s])-0"
# DuckDB lets this pass; JSON does not.
_LENIENT = r"(?:^|[\[:,])\s*[-+]?(?i:nan|inf)|,\s*[\]}]"


def _read_otherwise(x: str, path: JsonPath | None = None) -> str:
    """SQL of whether DuckDB may read a text `x` otherwise than Flink: for `json_rows` then. NULL or false for NULL.

    It is no JSON to its end; or a key of the path is there twice, of which DuckDB takes the first and Flink the last. What
    is quick to see (the key stands in the text twice) comes before what is exact.
    """
    wrong = f"NOT json_valid({x}) OR regexp_matches({x}, {quoted(_LENIENT)})"
    steps = path.steps if path else ()
    maybe, surely = [], []
    for i, step in enumerate(steps):
        if isinstance(step, int) or step in (ANY_FIELD, ANY_ITEM):
            continue
        key = json_rows.encoded(step[1:])
        if re.search(r"[%_\\]", key):
            maybe.append(f"len(str_split({x}, {quoted(key)})) > 2")
        else:
            maybe.append(f"{x} LIKE {quoted(f'%{key}%{key}%')}")
        within = quoted(JsonPath(True, steps[:i]).duckdb)
        surely.append(f"len(list_filter(json_keys({x}, {within}), lambda k: k = {quoted(step[1:])})) > 1")
    if not maybe:
        return f"({wrong})"
    escaped = f"contains({x}, '\\u')"
    return f"CASE WHEN {wrong} THEN TRUE WHEN {' OR '.join(dict.fromkeys([*maybe, escaped]))} THEN {' OR '.join(surely)} ELSE FALSE END"


def _exists_rule(args: Sequence[Expr]) -> Typing:
    """(text, path), or with what is said ON ERROR."""
    _constant_path("JSON_EXISTS", args[1])
    typing = takes("JSON_EXISTS", (STRING, STRING, SYMBOL), BOOLEAN)(args)
    unknown = isinstance(args[-1], Symbol) and args[-1].word == "UNKNOWN"
    return replace(typing, result=BOOLEAN.null(args[0].type.nullable or unknown))


def _exists(args: list[str], types: list[Type], result: Type) -> str:
    """Of many values: whether there is what they would be in; lax asks only for JSON. JSON's null is nothing."""
    path = parse(constant(args[1]) or "$", "JSON_EXISTS")
    error = args[2] if len(args) > 2 else "FALSE"

    def looked_up(x: str) -> str:
        if path.many:
            first = min(i for i, s in enumerate(path.steps) if s in (ANY_FIELD, ANY_ITEM))
            within = replace(path, steps=path.steps[:first])
            odd = _read_otherwise(x, within)
            if path.lax:
                found = f"CASE WHEN {odd} THEN {json_rows.KINDS.called([x])} IS NOT NULL ELSE TRUE END"
            else:
                kinds = json_rows.EXISTS_WITHIN.called([x, quoted(within.duckdb)])
                found = f"CASE WHEN {odd} THEN {kinds} ELSE json_exists({x}, {quoted(within.duckdb)}) END"
        else:
            there = f"coalesce(json_type({x}, {quoted(path.duckdb)}) <> 'NULL', FALSE)"
            slow = json_rows.EXISTS.called([x, args[1]])
            found = f"CASE WHEN {_read_otherwise(x, path)} THEN {slow} ELSE {there} END"
        found = f"CASE WHEN {x} IS NOT NULL THEN {found} END"
        if path.lax or error == "FALSE":
            return found
        otherwise = {"TRUE": "TRUE", "UNKNOWN": "NULL", "ERROR": _NOTHING}[error]
        return f"CASE WHEN {found} THEN TRUE WHEN {x} IS NOT NULL THEN {otherwise} END"

    return once(args[0], looked_up)


_NOTHING = "error('JSON_EXISTS: it is no JSON, or there is nothing at the path')"


# ---- JSON_VALUE, JSON_QUERY with clauses


def _constant_path(name: str, e: Expr) -> None:
    if not isinstance(e, Literal) or e.value is None:
        raise NotSupported(f"{name}: the path must be a constant", hint=f"{name}(x, '$.a')")
    parse(e.value, name)


def _query_rule(args: Sequence[Expr]) -> Typing:
    """(text, path), or with the wrapper, ON EMPTY, ON ERROR and a NULL of the type RETURNING."""
    typing = takes("JSON_QUERY", (STRING, STRING, SYMBOL, SYMBOL, SYMBOL, None), STRING)(args)
    _constant_path("JSON_QUERY", args[1])
    return typing if len(args) < 6 else replace(typing, result=args[5].type)


def _query(args: list[str], types: list[Type], result: Type) -> str:
    wrapper, empty, error = args[2:5] if len(args) > 2 else ("WITHOUT", "NULL", "NULL")
    path = parse(constant(args[1]) or "$", "JSON_QUERY")
    asked = json_rows.QUERY
    if result.kind == "ARRAY":
        asked = json_rows.QUERY_ARRAY
        empty, error = (w.replace("EMPTY_ARRAY", "EMPTY_LIST") for w in (empty, error))

    def looked_up(x: str) -> str:
        slow = asked.called([x, args[1], quoted(wrapper), quoted(empty), quoted(error)])
        if result.kind == "ARRAY" or path.many or (wrapper, empty, error) != ("WITHOUT", "NULL", "NULL"):
            return slow
        found = f"json_extract({x}, {quoted(path.duckdb)})"
        quick = f"CASE WHEN json_type({found}) IN ('ARRAY', 'OBJECT') THEN CAST({found} AS VARCHAR) END"
        # without a name there is nothing to put in order
        quick = once(
            quick, lambda y: f"CASE WHEN contains({y}, '\":') THEN {json_rows.ORDERED.called([y])} ELSE {y} END"
        )
        delicate = f"regexp_matches({x}, {quoted(_DELICATE)})"
        return f"CASE WHEN {_read_otherwise(x, path)} OR {delicate} THEN {slow} ELSE {quick} END"

    return once(args[0], looked_up)


_KINDS = ("VARCHAR", "INT", "DOUBLE", "BOOLEAN")


def _value_rule(args: Sequence[Expr]) -> Typing:
    """(text, path), or with a NULL of the type RETURNING, ON EMPTY and its default, ON ERROR and its default."""
    wanted = (STRING, STRING, None, SYMBOL, None, SYMBOL, None)
    typing = takes("JSON_VALUE", wanted, STRING)(args)
    _constant_path("JSON_VALUE", args[1])
    if len(args) == 2:
        return typing
    t = args[2].type
    if t.kind not in _KINDS:
        raise NotSupported(f"JSON_VALUE RETURNING {t.text()}", hint="STRING, INT, DOUBLE or BOOLEAN; then CAST")
    return Typing((STRING, STRING, t, None, t, None, t), t)


def _value(args: list[str], types: list[Type], result: Type) -> str:
    if len(args) == 2:
        path = parse(constant(args[1]) or "$", "JSON_VALUE")
        if path.many:  # several values are no scalar
            return f"CASE WHEN FALSE THEN {args[0]} END"
        return once(args[0], lambda x: _scalar(x, path, args[1]))
    text, at, _, empty, by_empty, error, by_error = args
    kind = "STRING" if result.kind == "VARCHAR" else result.kind
    defaults = [f"CAST({d} AS VARCHAR)" for d in (by_empty, by_error)]
    found = json_rows.VALUE.called([text, at, quoted(kind), quoted(empty), defaults[0], quoted(error), defaults[1]])
    return found if kind == "STRING" else f"CAST({found} AS {result.duckdb()})"


def _scalar(x: str, path: JsonPath, at: str) -> str:
    """JSON_VALUE without clauses."""
    slow = json_rows.VALUE.called([x, at, "'STRING'", "'NULL'", "NULL", "'NULL'", "NULL"])
    kind = f"json_type({x}, {quoted(path.duckdb)})"
    delicate = f"{kind} = 'DOUBLE' AND regexp_matches({x}, {quoted(_DELICATE)})"
    quick = f"CASE WHEN {kind} NOT IN ('ARRAY', 'OBJECT') THEN json_extract_string({x}, {quoted(path.duckdb)}) END"
    return f"CASE WHEN {_read_otherwise(x, path)} OR {delicate} THEN {slow} ELSE {quick} END"


# ---- what makes JSON


def json_text(x: str, t: Type) -> str:
    """SQL of a value as JSON; NULL for NULL. BindError of a type that has no form in JSON, as in Flink."""
    if t.kind == "NULL":
        return "CAST(NULL AS VARCHAR)"
    if t.is_string:
        return f"CAST(to_json({x}) AS VARCHAR)"
    if t.is_integer or t.kind == "BOOLEAN":
        return f"CAST({x} AS VARCHAR)"
    if t.kind == "DECIMAL":
        return number_text(x, t)
    if t.kind in ("FLOAT", "DOUBLE"):
        return once(number_text(x, t), _decimal_text)
    if t.is_timestamp:
        places = t.precision or 0
        fraction = f" || '.' || left(strftime({x}, '%f'), {places})" if places else ""
        zone = " || 'Z'" if t.kind == "TIMESTAMP_LTZ" else ""
        return f"('\"' || strftime({x}, '%Y-%m-%dT%H:%M:%S'){fraction}{zone} || '\"')"
    if t.kind == "VARBINARY":
        return f"('\"' || to_base64({x}) || '\"')"
    if t.kind == "ARRAY":
        return _listed(f"list_transform({x}, lambda e: coalesce({json_text('e', t.element)}, 'null'))", "[", "]")
    if t.kind == "MAP" and t.fields[0].type.is_string:
        value = json_text("e.value", t.fields[1].type)
        entry = f"CAST(to_json(e.key) AS VARCHAR) || ':' || coalesce({value}, 'null')"
        by = f"struct_pack(o := {_in_order('e.key')}, key := e.key, value := e.value)"
        entries = f"list_sort(list_transform(map_entries({x}), lambda e: {by}))"
        return _listed(f"list_transform({entries}, lambda e: {entry})", "{", "}")
    if t.kind == "ROW":
        fields = " || ',' || ".join(
            f"{quoted(_name(f.name))} || ':' || coalesce({json_text(f'{x}.f{i}', f.type)}, 'null')"
            for i, f in sorted(enumerate(t.fields), key=lambda field: json_rows.in_order(field[1].name))
        )
        return f"CASE WHEN {x} IS NOT NULL THEN '{{' || {fields} || '}}' END"
    raise BindError(f"{t.text()} has no form in JSON", hint="CAST it to STRING")


def _in_order(x: str) -> str:
    """SQL of a text by which DuckDB sorts as Java does: with what is above surrogates in UTF-16, and below in UTF-8, put last."""
    moved = f"regexp_replace({x}, '([\\x{{E000}}-\\x{{FFFF}}])', chr(1114111) || '\\1', 'g')"
    return f"CASE WHEN strlen({x}) = length({x}) THEN {x} ELSE {moved} END"


def _name(text: str) -> str:
    return json_rows.encoded(text)


def _listed(items: str, begin: str, end: str) -> str:
    return once(
        items,
        lambda x: f"CASE WHEN {x} IS NOT NULL THEN '{begin}' || coalesce(array_to_string({x}, ','), '') || '{end}' END",
    )


def _decimal_text(text: str) -> str:
    """A double's text as Java's BigDecimal has it: with an exponent from 10^7 on (1.0E+7), and below 10^-6."""
    digits = rf"replace(regexp_extract({text}, '([0-9.]+)E', 1), '.', '')"
    exponent = rf"CAST(regexp_extract({text}, 'E-([0-9]+)', 1) AS INTEGER)"
    sign = f"CASE WHEN {text}[1] = '-' THEN '-' ELSE '' END"
    return (
        f"CASE WHEN NOT contains({text}, 'E') THEN {text} WHEN NOT contains({text}, 'E-') THEN replace({text}, 'E', 'E+') "
        f"WHEN {exponent} > 6 THEN {text} ELSE {sign} || '0.' || repeat('0', {exponent} - 1) || {digits} END"
    )


def _object_rule(args: Sequence[Expr]) -> Typing:
    """What is NULL (NULL, ABSENT), then key, value, whether the value is JSON already (RAW, VALUE), …"""
    for key in args[1::3]:
        if not isinstance(key, Literal) or key.value is None or not key.type.is_string:
            raise BindError("JSON_OBJECT: a key must be a constant text", hint="JSON_OBJECT('a' VALUE x)")
    return _json_typing(args, args[2::3])


def _array_rule(args: Sequence[Expr]) -> Typing:
    """What is NULL, then value, whether it is JSON already, …"""
    return _json_typing(args, args[1::2])


def _json_typing(args: Sequence[Expr], values: Sequence[Expr]) -> Typing:
    for v in values:
        json_text("x", v.type)
    return Typing((None,) * len(args), STRING.null(False))


def _object(args: list[str], types: list[Type], result: Type) -> str:
    """In the order of the keys, as Java has it; of a key that comes twice the last value."""
    pairs = {}
    for i in range(1, len(args), 3):
        key, value, raw = args[i : i + 3]
        pairs[constant(key) or ""] = value if raw == "RAW" else json_text(value, types[i + 1])
    ordered = sorted(pairs.items(), key=lambda pair: json_rows.in_order(pair[0]))
    return _together(args[0], [(quoted(_name(key) + ":"), text) for key, text in ordered], "{", "}")


def _array(args: list[str], types: list[Type], result: Type) -> str:
    values = [("''", args[i] if args[i + 1] == "RAW" else json_text(args[i], types[i])) for i in range(1, len(args), 2)]
    return _together(args[0], values, "[", "]")


def _together(on_null: str, parts: list[tuple[str, str]], begin: str, end: str) -> str:
    if not parts:
        return f"'{begin}{end}'"
    if on_null == "NULL":
        inside = " || ',' || ".join(f"{name} || coalesce({text}, 'null')" for name, text in parts)
    else:  # NULLs fall out of what concat_ws joins
        inside = f"concat_ws(',', {', '.join(f'({name} || {text})' for name, text in parts)})"
    return f"('{begin}' || {inside} || '{end}')"


def _string_rule(args: Sequence[Expr]) -> Typing:
    json_text("x", args[0].type)
    return Typing((None,), STRING)


_ESCAPED = (
    ("\\", r"\\"),
    ('"', r"\""),
    ("/", r"\/"),
    ("\b", r"\b"),
    ("\f", r"\f"),
    ("\n", r"\n"),
    ("\r", r"\r"),
    ("\t", r"\t"),
)


def _quote(args: list[str], types: list[Type], result: Type) -> str:
    """What is not ASCII is escaped, and so is a slash; other control characters stay as they are."""
    letters = (
        "list_transform(string_split({0}, ''), lambda c: CASE WHEN unicode(c) < 128 THEN c "
        "WHEN unicode(c) < 65536 THEN printf('\\u%04x', unicode(c)) "
        "ELSE printf('\\u%04x\\u%04x', 55296 + ((unicode(c) - 65536) >> 10), 56320 + ((unicode(c) - 65536) & 1023)) END)"
    )

    def made(x: str) -> str:
        plain = x
        for letter, escaped in _ESCAPED:
            plain = f"replace({plain}, {quoted(letter)}, {quoted(escaped)})"
        all_of = (
            f"CASE WHEN strlen({x}) = length({x}) THEN {plain} ELSE array_to_string({letters.format(plain)}, '') END"
        )
        return f"('\"' || {all_of} || '\"')"

    return once(args[0], made)


# ---- IS JSON

_IS_KIND = {
    "SCALAR": "{0} NOT IN ('ARRAY', 'OBJECT')",
    "ARRAY": "{0} = 'ARRAY'",
    "OBJECT": "{0} = 'OBJECT'",
}


def _is_json(args: list[str], types: list[Type], result: Type) -> str:
    def asked(x: str) -> str:
        exact = json_rows.KINDS.called([x])
        kind = f"CASE WHEN {_read_otherwise(x)} THEN {exact} ELSE json_type({x}) END"
        if args[1] == "VALUE":
            return f"({kind} IS NOT NULL)"
        return f"coalesce({_IS_KIND[args[1]].format(kind)}, FALSE)"

    return once(args[0], asked)


_S = STRING

FUNCTIONS = (
    ScalarFunction("JSON_VALUE", _value_rule, _value, 2, 7, Nulls.MAYBE, example="JSON_VALUE('{\"a\": 1}', '$.a')", python=(json_rows.VALUE,)),
    ScalarFunction("JSON_QUERY", _query_rule, _query, 2, 6, Nulls.MAYBE, example="JSON_QUERY('{\"a\": [1, 2]}', '$.a')", python=(json_rows.QUERY, json_rows.QUERY_ARRAY, json_rows.ORDERED)),
    ScalarFunction("JSON_EXISTS", _exists_rule, _exists, 2, 3, Nulls.RULE, example="JSON_EXISTS('{\"a\": 1}', '$.a')",
                   python=(json_rows.EXISTS, json_rows.EXISTS_WITHIN, json_rows.KINDS)),
    ScalarFunction("JSON_OBJECT", _object_rule, _object, 1, None, Nulls.NEVER, example="JSON_OBJECT('a' VALUE 1)"),
    ScalarFunction("JSON_ARRAY", _array_rule, _array, 1, None, Nulls.NEVER, example="JSON_ARRAY(1, 'a')"),
    ScalarFunction("JSON_STRING", _string_rule, lambda a, t, r: json_text(a[0], t[0]), 1, 1, example="JSON_STRING(ARRAY[1, 2])"),
    function("JSON_QUOTE", (_S,), _S, _quote, "JSON_QUOTE('say \"hi\"')"),
    function("JSON_UNQUOTE", (_S,), _S, lambda a, t, r: json_rows.UNQUOTED.called(a), "JSON_UNQUOTE('\"hi\"')", python=(json_rows.UNQUOTED,)),
    function("JSON", (_S,), _S, lambda a, t, r: json_rows.PLAIN.called(a), "JSON_OBJECT('a' VALUE JSON('[1, 2]'))", nulls=Nulls.MAYBE, python=(json_rows.PLAIN,)),
    function("IS JSON", (_S, SYMBOL), BOOLEAN, _is_json, "'{}' IS JSON", nulls=Nulls.NEVER, operator=True, python=(json_rows.KINDS,)),
)  # fmt: skip
