"""Python scalar functions (CREATE FUNCTION f AS 'module.attribute'): found, typed by their hints, called.

A function is typed by its annotations; `f.result_type = 'DECIMAL(10, 2)'` (an attribute with SQL text) overrides.
`f.deterministic = True` says that equal arguments give equal results; anything else is volatile.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import importlib
import inspect
import types as pytypes
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlstream.errors import BindError, DataError
from sqlstream.types import BIGINT, BOOLEAN, BYTES_TYPE, DATE, DOUBLE, STRING, Type, array, timestamp
from sqlstream.types import decimal as decimal_type

_HINTS: dict[Any, Type] = {
    str: STRING, int: BIGINT, float: DOUBLE, bool: BOOLEAN, bytes: BYTES_TYPE, datetime.datetime: timestamp(6),
    datetime.date: DATE, decimal.Decimal: decimal_type(38, 18),
}  # fmt: skip


@dataclass(frozen=True)
class UserFunction:
    """A resolved function: its path, SQL types, and whether it is deterministic."""

    path: str
    arguments: tuple[Type, ...]
    result: Type
    deterministic: bool

    @property
    def sql_name(self) -> str:
        return "py_udf_" + "".join(c if c.isalnum() else "_" for c in self.path)

    def guarded(self) -> Callable[..., Any]:
        """The callable; what it raises becomes an error that names the function."""
        fn = load(self.path)

        @functools.wraps(fn)  # DuckDB looks at the parameters
        def call(*args: Any) -> Any:
            try:
                return fn(*args)
            except Exception as e:
                raise DataError(f"Python function {self.path}{args!r}: {type(e).__name__}: {e}") from e

        return call


# SQL name -> function, filled when an expression is rendered: so a task that got a pickled plan has what it calls.
REGISTERED: dict[str, UserFunction] = {}


def load(path: str) -> Callable[..., Any]:
    """The object at 'module.attribute'. BindError says what is missing."""
    module, _, attribute = path.rpartition(".")
    if not module:
        raise BindError(f"function path '{path}' is not 'module.attribute'")
    try:
        fn = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as e:
        raise BindError(
            f"function '{path}': no module named '{e.name}'",
            hint="the directory of the SQL file and the working directory are searched, then installed packages",
        ) from None
    except AttributeError:
        raise BindError(f"function '{path}': module '{module}' has no '{attribute}'") from None
    if not callable(fn):
        raise BindError(f"function '{path}' is not callable")
    return typing.cast(Callable[..., Any], fn)


def resolve(path: str) -> UserFunction:
    """Loads the function and reads its SQL types."""
    fn = load(path)
    try:
        hints = typing.get_type_hints(fn)
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, NameError, ValueError) as e:
        raise BindError(f"function '{path}': its type hints cannot be read: {e}") from None
    arguments = []
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY):
            raise BindError(f"function '{path}': parameter '{p.name}' must be positional")
        arguments.append(_type(hints.get(p.name), path, f"parameter '{p.name}'"))
    declared = getattr(fn, "result_type", None)
    if isinstance(declared, str):
        from sqlstream.sql.types import parse_type

        result_type = parse_type(declared)
    else:
        result_type = _type(hints.get("return"), path, "the result")
    return UserFunction(path, tuple(arguments), result_type, bool(getattr(fn, "deterministic", False)))


def _type(hint: Any, path: str, what: str) -> Type:
    if isinstance(hint, pytypes.UnionType) or typing.get_origin(hint) is typing.Union:
        parts = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(parts) == 1:
            return _type(parts[0], path, what)
    if hint in _HINTS:
        return _HINTS[hint]
    if typing.get_origin(hint) is list:
        return array(_type(typing.get_args(hint)[0], path, what))
    raise BindError(
        f"function '{path}': {what} has no type hint that SQL has a type for",
        hint="annotate with str, int, float, bool, bytes, datetime, date, Decimal or list[…], optionally | None",
    )
