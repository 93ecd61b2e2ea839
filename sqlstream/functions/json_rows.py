"""JSON_QUERY and JSON_VALUE with ON EMPTY, ON ERROR and wrappers, and what DuckDB reads otherwise than Flink, text by text.

How they answer is Calcite's. A path that leads nowhere, or to JSON's null, is an error in strict mode, which is the usual
one, and empty in lax mode; so is what is no JSON. JSON_VALUE takes scalars, JSON_QUERY arrays and objects: another one is
an error, in lax mode empty. Texts are read as Jackson reads them: the first value is all, whatever stands behind it, of a
key that comes twice the last value is meant, and numbers are written as Java's BigDecimal writes them. The keys of an
object are written in order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sqlstream.errors import DataError
from sqlstream.functions import user
from sqlstream.functions.json_paths import ANY_FIELD, ANY_ITEM, JsonPath, parse
from sqlstream.types import BOOLEAN, STRING, array

NOTHING = object()


class Number(str):
    """A number as BigDecimal writes it: 2.50 stays so, 1e5 is 1E+5."""


def _number(text: str) -> Number:
    """The number that is written so. Python's Decimal and Java's have the same form, but for zero with a sign."""
    if not text.lstrip("-").isdecimal():
        text = str(Decimal(text))
    return Number(text[1:] if text[0] == "-" and not text.strip("-0.") else text)


class _Wrong(Exception):
    """What ON ERROR is for."""


def _refused(constant: str) -> Any:
    raise ValueError(constant)


_DECODER = json.JSONDecoder(parse_int=_number, parse_float=_number, parse_constant=_refused)
_BLANKS = " \t\n\r"


def decoded(text: str) -> Any:
    """The first value of a text; ValueError of what begins with none. Numbers are `Number`."""
    text = text.lstrip(_BLANKS)
    try:
        value, end = _DECODER.raw_decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    # what stands directly behind a number or a word belongs to it
    if end < len(text) and (text[end - 1].isalnum() or text[end - 1] == "."):
        behind = text[end]
        if behind not in _BLANKS and (isinstance(value, Number) or behind.isalnum() or behind in "_$"):
            raise ValueError(f"{behind} behind a value")
    return value


_CONTROL = re.compile(r"\\u00[01][0-9a-f]")


def _quoted(text: str) -> str:
    """A text as JSON; digits of escapes are in capitals."""
    made = json.dumps(text, ensure_ascii=False)
    return _CONTROL.sub(lambda m: r"\u" + m[0][2:].upper(), made) if "\\u00" in made else made


def in_order(key: str) -> bytes:
    """By this texts are in the order that Java's have, which is that of their UTF-16."""
    return key.encode("utf-16-be", "surrogatepass")


def encoded(value: Any) -> str:
    """The text of a value, without blanks, keys in order."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        names = sorted(value, key=in_order)
        return "{" + ",".join(f"{_quoted(k)}:{encoded(value[k])}" for k in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(encoded, value)) + "]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


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
    if found is NOTHING or found is None:
        if path.lax:
            return None
        raise _Wrong("there is nothing at the path")
    return found


def _whole(text: str | None) -> str | None:
    """Half of a surrogate pair, which no text can have, becomes a question mark, as in Java."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def _answers(texts: pa.Array, paths: pa.Array, answer: Callable[[str, JsonPath], Any], gives: pa.DataType) -> pa.Array:
    out = [
        None if t is None or p is None else answer(t, parse(p, "JSON"))
        for t, p in zip(texts.to_pylist(), paths.to_pylist(), strict=True)
    ]
    return pa.array(out, gives)


def _otherwise(what: str, how: str, given: str | None, why: str, text: str) -> Any:
    """What ON EMPTY or ON ERROR says: NULL, ERROR, EMPTY_ARRAY, EMPTY_OBJECT, DEFAULT, and EMPTY_LIST for an ARRAY."""
    if how == "ERROR":
        shown = text if len(text) <= 100 else text[:99] + "…"
        raise DataError(f"{what}: {why}: {shown}", hint=f"NULL or DEFAULT … ON {'EMPTY' if why == EMPTY else 'ERROR'}")
    return {"EMPTY_ARRAY": "[]", "EMPTY_LIST": [], "EMPTY_OBJECT": "{}", "DEFAULT": given}.get(how)


EMPTY = "nothing was found"


def _queried(given: tuple[pa.Array, ...], made: Callable[[Any, str, JsonPath], Any], gives: pa.DataType) -> pa.Array:
    """JSON_QUERY over texts, paths, and (the same in all rows) the wrapper and what ON EMPTY and ON ERROR say; `made` makes the
    answer of what was found, a list or a dictionary, or of "[]" or "{}", which stand for an empty one."""
    texts, paths, *said = given
    if not len(texts):
        return pa.array([], gives)
    wrap, empty, error = (c[0].as_py() for c in said)

    def answer(text: str, path: JsonPath) -> Any:
        try:
            value = _looked_up(text, path)
            if value is not None and (wrap == "UNCONDITIONAL" or wrap == "CONDITIONAL" and not isinstance(value, list)):
                value = [value]
            scalar = not isinstance(value, dict | list)
            if value is None or path.lax and scalar:
                return _otherwise("JSON_QUERY", empty, None, EMPTY, text)
            if scalar:
                raise _Wrong("what was found is no array and no object")
            return made(value, text, path)
        except _Wrong as e:
            return _otherwise("JSON_QUERY", error, None, str(e), text)

    return _answers(texts, paths, answer, gives)


def query(texts: pa.Array, paths: pa.Array, wrapper: pa.Array, on_empty: pa.Array, on_error: pa.Array) -> pa.Array:
    """JSON_QUERY. The last three are the same in all rows."""
    given = (texts, paths, wrapper, on_empty, on_error)
    return _queried(given, lambda value, text, path: _whole(encoded(value)), pa.string())


def query_array(
    texts: pa.Array, paths: pa.Array, wrapper: pa.Array, on_empty: pa.Array, on_error: pa.Array
) -> pa.Array:
    """JSON_QUERY RETURNING ARRAY<STRING>: strings as they are, other elements as JSON, null as NULL."""

    def elements(value: Any, text: str, path: JsonPath) -> list[str | None]:
        if not isinstance(value, list):
            raise _Wrong("what was found is no array")
        return [_element(v) for v in value]

    return _queried((texts, paths, wrapper, on_empty, on_error), elements, pa.list_(pa.string()))


def _element(value: Any) -> str | None:
    if value is None:
        return None
    return _whole(str(value) if isinstance(value, str) else encoded(value))


def value(
    texts: pa.Array, paths: pa.Array, kind: pa.Array, on_empty: pa.Array, default_empty: pa.Array, on_error: pa.Array,
    default_error: pa.Array,
) -> pa.Array:  # fmt: skip
    """JSON_VALUE, as text that `kind` (STRING, INT, DOUBLE, BOOLEAN) is made of. Defaults are texts, too."""
    if not len(texts):
        return pa.array([], pa.string())
    wanted, empty, error = (c[0].as_py() for c in (kind, on_empty, on_error))
    by_empty, by_error = default_empty[0].as_py(), default_error[0].as_py()

    def answer(text: str, path: JsonPath) -> Any:
        try:
            found = _looked_up(text, path)
            if found is None or path.lax and isinstance(found, dict | list):
                return _otherwise("JSON_VALUE", empty, by_empty, EMPTY, text)
            return _whole(_scalar(found, wanted))
        except _Wrong as e:
            return _otherwise("JSON_VALUE", error, by_error, str(e), text)

    return _answers(texts, paths, answer, pa.string())


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


def kinds(texts: pa.Array) -> pa.Array:
    """Of each text what its first value is: ARRAY, OBJECT, SCALAR; NULL of what begins with none."""

    def kind(text: str) -> str | None:
        try:
            value = decoded(text)
        except ValueError:
            return None
        return "ARRAY" if isinstance(value, list) else "OBJECT" if isinstance(value, dict) else "SCALAR"

    return pa.array([None if t is None else kind(t) for t in texts.to_pylist()], pa.string())


def exists(texts: pa.Array, paths: pa.Array) -> pa.Array:
    """Whether a path, which stands for one value, leads to something that is not JSON's null."""

    def there(text: str, path: JsonPath) -> bool:
        try:
            return _looked_up(text, path) is not None
        except _Wrong:
            return False

    return _answers(texts, paths, there, pa.bool_())


def exists_within(texts: pa.Array, paths: pa.Array) -> pa.Array:
    """Whether a path leads to anything, be it null."""

    def there(text: str, path: JsonPath) -> bool:
        try:
            return _found(decoded(text), path) is not NOTHING
        except ValueError:
            return False

    return _answers(texts, paths, there, pa.bool_())


def plain(texts: pa.Array) -> pa.Array:
    """JSON(text): the text of the value without blanks; NULL of an empty text. DataError of what is no JSON."""

    def read(text: str) -> str | None:
        if not text.strip(_BLANKS):
            return None
        try:
            return _whole(encoded(decoded(text)))
        except ValueError:
            raise DataError(
                f"JSON: it is no JSON: {text[:100]}", hint="JSON_STRING(text) makes JSON of a text"
            ) from None

    return pa.array([None if t is None else read(t) for t in texts.to_pylist()], pa.string())


_ORDERED = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def ordered(texts: pa.Array) -> pa.Array:
    """Texts of arrays and objects with the keys in order; of a key that comes twice the last value. Numbers are such as
    Python writes as they stand there. Several times as fast as `encoded`."""

    def one(text: str) -> str | None:
        try:
            if "\\u" in text or not text.isascii() and max(text) > "\uffff":
                return encoded(decoded(text))
            return _ORDERED(json.loads(text))
        except (RecursionError, ValueError):  # it is nested too deeply, for Jackson too
            return None

    return pa.array([None if t is None else one(t) for t in texts.to_pylist()], pa.string())


def unquoted(texts: pa.Array) -> pa.Array:
    """JSON_UNQUOTE: the text that a string of JSON stands for; anything else as it is."""

    def unquote(text: str) -> str:
        if len(text) < 2 or text[0] != '"' or text[-1] != '"':
            return text
        try:
            return str(decoded(text))
        except ValueError:
            return text

    return pa.array([None if t is None else _whole(unquote(t)) for t in texts.to_pylist()], pa.string())


def _function(name: str, arguments: int, gives: Any = STRING) -> user.UserFunction:
    path = f"sqlstream.functions.json_rows.{name}"
    return user.UserFunction(path, (STRING,) * arguments, gives, deterministic=True, arrow=True)


QUERY = _function("query", 5)
QUERY_ARRAY = _function("query_array", 5, array(STRING))
VALUE = _function("value", 7)
EXISTS = _function("exists", 2, BOOLEAN)
EXISTS_WITHIN = _function("exists_within", 2, BOOLEAN)
KINDS = _function("kinds", 1)
ORDERED = _function("ordered", 1)
PLAIN = _function("plain", 1)
UNQUOTED = _function("unquoted", 1)
