"""JSON_QUERY and JSON_VALUE with ON EMPTY, ON ERROR and wrappers, text by text; how they answer is Calcite's.

A path that leads nowhere is an error in strict mode, which is the usual one, and empty in lax mode; so is what is no JSON.
JSON's null is empty. JSON_VALUE takes scalars, JSON_QUERY arrays and objects: another one is an error, in lax mode empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

from sqlstream.errors import DataError
from sqlstream.functions import user
from sqlstream.functions.json_paths import ANY_FIELD, ANY_ITEM, JsonPath, parse
from sqlstream.types import BOOLEAN, STRING

NOTHING = object()


class Number(str):
    """A number as it is written: 2.50 stays so."""


class _Wrong(Exception):
    """What ON ERROR is for."""


def _refused(constant: str) -> Any:
    raise ValueError(constant)


_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_refused)


def decoded(text: str) -> Any:
    """The value of a text; ValueError of what is no JSON. Numbers are `Number`."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def encoded(value: Any) -> str:
    """The text of a value, without blanks."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{encoded(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(encoded, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _found(value: Any, path: JsonPath) -> Any:
    """What a path leads to; a list of all, where it stands for many. NOTHING where one leads nowhere."""
    here = [value]
    for step in path.steps:
        here = [v for x in here for v in _step(x, step)]
    if path.many:
        return here
    return here[0] if here else NOTHING


def _step(x: Any, step: str | int) -> Iterable[Any]:
    if step == ANY_FIELD:
        return x.values() if isinstance(x, dict) else x if isinstance(x, list) else ()
    if step == ANY_ITEM:
        return x if isinstance(x, list) else x.values() if isinstance(x, dict) else ()
    if isinstance(step, int):
        return (x[step],) if isinstance(x, list) and step < len(x) else ()
    return (x[step[1:]],) if isinstance(x, dict) and step[1:] in x else ()


def _looked_up(text: str, path: JsonPath) -> Any:
    """The value at a path; None where it is empty. Raises _Wrong."""
    try:
        found = _found(decoded(text), path)
    except ValueError:
        if path.lax:
            return None
        raise _Wrong("it is no JSON") from None
    if found is NOTHING:
        if path.lax:
            return None
        raise _Wrong("there is nothing at the path")
    return found


def _whole(text: str | None) -> str | None:
    """Half of a surrogate pair, which no text can have, becomes a question mark, as in Java."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def _answers(texts: pa.Array, paths: pa.Array, answer: Callable[[str, JsonPath], str | None]) -> pa.Array:
    out = [
        None if t is None or p is None else _whole(answer(t, parse(p, "JSON")))
        for t, p in zip(texts.to_pylist(), paths.to_pylist(), strict=True)
    ]
    return pa.array(out, pa.string())


def _otherwise(what: str, how: str, given: str | None, why: str, text: str) -> str | None:
    """What ON EMPTY or ON ERROR says: NULL, ERROR, EMPTY_ARRAY, EMPTY_OBJECT, DEFAULT."""
    if how == "ERROR":
        shown = text if len(text) <= 100 else text[:99] + "…"
        raise DataError(f"{what}: {why}: {shown}", hint=f"NULL or DEFAULT … ON {'EMPTY' if why == EMPTY else 'ERROR'}")
    return {"EMPTY_ARRAY": "[]", "EMPTY_OBJECT": "{}", "DEFAULT": given}.get(how)


EMPTY = "nothing was found"


def query(texts: pa.Array, paths: pa.Array, wrapper: pa.Array, on_empty: pa.Array, on_error: pa.Array) -> pa.Array:
    """JSON_QUERY. The last three are the same in all rows."""
    if not len(texts):
        return pa.array([], pa.string())
    wrap, empty, error = (c[0].as_py() for c in (wrapper, on_empty, on_error))

    def answer(text: str, path: JsonPath) -> str | None:
        try:
            value = _looked_up(text, path)
            if value is not None and (wrap == "UNCONDITIONAL" or wrap == "CONDITIONAL" and not isinstance(value, list)):
                value = [value]
            scalar = not isinstance(value, dict | list)
            if value is None or path.lax and scalar:
                return _otherwise("JSON_QUERY", empty, None, EMPTY, text)
            if scalar:
                raise _Wrong("what was found is no array and no object")
            return encoded(value)
        except _Wrong as e:
            return _otherwise("JSON_QUERY", error, None, str(e), text)

    return _answers(texts, paths, answer)


def value(
    texts: pa.Array, paths: pa.Array, kind: pa.Array, on_empty: pa.Array, default_empty: pa.Array, on_error: pa.Array,
    default_error: pa.Array,
) -> pa.Array:  # fmt: skip
    """JSON_VALUE, as text that `kind` (STRING, INT, DOUBLE, BOOLEAN) is made of. Defaults are texts, too."""
    if not len(texts):
        return pa.array([], pa.string())
    wanted, empty, error = (c[0].as_py() for c in (kind, on_empty, on_error))
    by_empty, by_error = default_empty[0].as_py(), default_error[0].as_py()

    def answer(text: str, path: JsonPath) -> str | None:
        try:
            found = _looked_up(text, path)
            if found is None or path.lax and isinstance(found, dict | list):
                return _otherwise("JSON_VALUE", empty, by_empty, EMPTY, text)
            return _scalar(found, wanted)
        except _Wrong as e:
            return _otherwise("JSON_VALUE", error, by_error, str(e), text)

    return _answers(texts, paths, answer)


def _scalar(found: Any, wanted: str) -> str:
    if isinstance(found, dict | list):
        raise _Wrong("what was found is no scalar")
    text = str(found).lower() if isinstance(found, bool) else str(found)
    if wanted == "BOOLEAN" and not isinstance(found, bool):
        raise _Wrong(f"'{text}' is no BOOLEAN")
    if wanted == "DOUBLE" and not isinstance(found, Number):
        raise _Wrong(f"'{text}' is no DOUBLE")
    if wanted == "INT" and not (
        isinstance(found, Number) and text.lstrip("-").isdigit() and -(2**31) <= int(text) < 2**31
    ):
        raise _Wrong(f"'{text}' is no INT")
    return text


def is_json(texts: pa.Array) -> pa.Array:
    """Whether each is JSON to the letter; DuckDB lets NaN, comments and commas before a closing bracket pass."""

    def right(text: str) -> bool:
        try:
            decoded(text)
        except ValueError:
            return False
        return True

    return pa.array([None if t is None else right(t) for t in texts.to_pylist()], pa.bool_())


def unquoted(texts: pa.Array) -> pa.Array:
    """JSON_UNQUOTE: the text that a string of JSON stands for; anything else as it is."""

    def plain(text: str) -> str:
        if len(text) < 2 or text[0] != '"' or text[-1] != '"':
            return text
        try:
            return str(decoded(text))
        except ValueError:
            return text

    return pa.array([None if t is None else _whole(plain(t)) for t in texts.to_pylist()], pa.string())


def _function(name: str, arguments: int, gives: Any = STRING) -> user.UserFunction:
    path = f"sqlstream.functions.json_rows.{name}"
    return user.UserFunction(path, (STRING,) * arguments, gives, deterministic=True, arrow=True)


QUERY = _function("query", 5)
VALUE = _function("value", 7)
IS_JSON = _function("is_json", 1, BOOLEAN)
UNQUOTED = _function("unquoted", 1)
