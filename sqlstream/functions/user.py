"""Python scalar functions (CREATE FUNCTION f AS 'module.attribute'): found, typed by their hints, called.

A function is typed by its annotations; the attributes `result_type` and `input_types` (SQL text) override them.
`deterministic` says that equal arguments give equal results; anything else is volatile. `func_type` 'arrow': it takes
and gives whole Arrow arrays. `udf` sets these attributes, under the names of PyFlink's decorator.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import importlib
import inspect
import sys
import types as pytypes
import typing
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

import pyarrow as pa

from sqlstream.errors import BindError, DataError, UserError, did_you_mean
from sqlstream.types import BIGINT, BOOLEAN, BYTES_TYPE, DATE, DOUBLE, STRING, Type, array, rename_array, timestamp
from sqlstream.types import decimal as decimal_type

_HINTS: dict[Any, Type] = {
    str: STRING, int: BIGINT, float: DOUBLE, bool: BOOLEAN, bytes: BYTES_TYPE, datetime.datetime: timestamp(6),
    datetime.date: DATE, decimal.Decimal: decimal_type(38, 18),
}  # fmt: skip


GENERAL, ARROW = "general", "arrow"
FUNC_TYPES = (GENERAL, ARROW)
F = TypeVar("F", bound=Callable[..., Any])


@overload
def udf(f: F) -> F: ...


@overload
def udf(
    f: None = None,
    *,
    input_types: str | Sequence[str] | None = None,
    result_type: str | None = None,
    deterministic: bool = True,
    func_type: str = GENERAL,
) -> Callable[[F], F]: ...


def udf(
    f: Callable[..., Any] | None = None,
    *,
    input_types: str | Sequence[str] | None = None,
    result_type: str | None = None,
    deterministic: bool = True,
    func_type: str = GENERAL,
) -> Any:
    """Decorator of a Python scalar function. Types are SQL text, and not needed where type hints say them.

    func_type: 'general', called with the values of a row; 'arrow', with a `pyarrow.Array` of many rows for each
    argument, for an array of as many results: for functions that Arrow, NumPy or the like can do at once.
    deterministic: equal arguments give equal results.

        @udf(input_types=["STRING", "STRING"], result_type="STRING", func_type="arrow")
        def joined(a, b):
            return pyarrow.compute.binary_join_element_wise(a, b, "-")
    """
    if func_type not in FUNC_TYPES:
        raise BindError(
            f"func_type '{func_type}' is none of {', '.join(FUNC_TYPES)}",
            hint="an 'arrow' function may call to_pandas() on its arguments" if func_type == "pandas" else None,
        )

    def mark(f: Any) -> Any:
        f.func_type, f.deterministic = func_type, deterministic
        if input_types is not None:
            f.input_types = (input_types,) if isinstance(input_types, str) else tuple(input_types)
        if result_type is not None:
            f.result_type = result_type
        return f

    return mark if f is None else mark(f)


@dataclass(frozen=True)
class UserFunction:
    """A resolved function: its path, SQL types, whether it is deterministic, and whether it takes Arrow arrays."""

    path: str
    arguments: tuple[Type, ...]
    result: Type
    deterministic: bool
    arrow: bool = False

    @property
    def sql_name(self) -> str:
        """The path as one word, and one that no other path has."""
        words = "".join(c if c.isalnum() else "_" for c in self.path)
        return f"py_udf_{words}_{zlib.crc32(self.path.encode()):08x}"

    def called(self, args: list[str]) -> str:
        """SQL of a call. Who runs it prepares the connection (`duck.prepare_functions`)."""
        return f"{self.sql_name}({', '.join(args)})"

    @functools.cache  # noqa: B019
    def guarded(self) -> Callable[..., Any]:
        """The callable; what it raises becomes an error that names the function.

        It is kept for good: DuckDB calls it for as long as the database lives, but keeps it alive only as long as the
        connection on which it was registered.
        """
        fn = load(self.path)
        if self.arrow:
            return functools.wraps(fn)(functools.partial(_on_arrays, self, fn))

        @functools.wraps(fn)  # DuckDB looks at the parameters
        def call(*args: Any) -> Any:
            try:
                return fn(*args)
            except Exception as e:
                raise DataError(f"Python function {self.path}{args!r}: {type(e).__name__}: {e}") from e

        return call


def _on_arrays(f: UserFunction, fn: Callable[..., Any], *args: pa.ChunkedArray) -> pa.Array:
    """The result of an 'arrow' function, checked. It sees fields of a ROW under their names."""
    n, want = len(args[0]), f.result.arrow_outside()
    given = [rename_array(a.combine_chunks(), t.arrow_outside()) for a, t in zip(args, f.arguments, strict=True)]
    try:
        out = fn(*given)
        if isinstance(out, pa.ChunkedArray):
            out = out.combine_chunks()
        if not isinstance(out, pa.Array):
            out = pa.array(out, want)
        _check_fields(out.type, want)
        out = out.cast(want)
    except DataError:
        raise
    except Exception as e:
        raise DataError(f"Python function {f.path}: {type(e).__name__}: {e}") from e
    if len(out) != n:
        raise DataError(f"Python function {f.path} gave {len(out)} values for {n} rows")
    return rename_array(out, f.result.arrow())


def _check_fields(have: pa.DataType, want: pa.DataType) -> None:
    """TypeError where rows in a type have other fields than wanted: Arrow would cast them to NULLs."""
    if pa.types.is_null(have):
        return
    if pa.types.is_struct(want) and pa.types.is_struct(have):
        names = [[t.field(i).name for i in range(t.num_fields)] for t in (have, want)]
        if names[0] != names[1]:
            raise TypeError(f"fields {', '.join(names[0]) or '(none)'} instead of {', '.join(names[1])}")
    if have.num_fields == want.num_fields:
        for i in range(want.num_fields):
            _check_fields(have.field(i).type, want.field(i).type)


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
        there = [n for n in vars(sys.modules[module]) if not n.startswith("_")] if module in sys.modules else []
        raise BindError(
            f"function '{path}': module '{module}' has no '{attribute}'",
            hint=did_you_mean(attribute, there, "functions"),
            subject=path,
        ) from None
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
    func_type = getattr(fn, "func_type", GENERAL)
    if func_type not in FUNC_TYPES:
        raise BindError(f"function '{path}': func_type '{func_type}' is none of {', '.join(FUNC_TYPES)}")
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY):
            raise BindError(f"function '{path}': parameter '{p.name}' must be positional")
    arrow = func_type == ARROW
    if arrow and not parameters:
        raise BindError(f"function '{path}': an 'arrow' function needs an argument, to know how many rows there are")
    declared = getattr(fn, "input_types", None)
    if declared is None:
        arguments = [hinted_type(hints.get(p.name), path, f"parameter '{p.name}'", arrow) for p in parameters]
    elif len(declared) != len(parameters):
        raise BindError(f"function '{path}': {len(declared)} input_types for {len(parameters)} parameters")
    else:
        arguments = [_sql_type(t, path, f"parameter '{p.name}'") for t, p in zip(declared, parameters, strict=True)]
    declared = getattr(fn, "result_type", None)
    if declared is None:
        result = hinted_type(hints.get("return"), path, "the result", arrow)
    else:
        result = _sql_type(declared, path, "the result")
    return UserFunction(path, tuple(arguments), result, bool(getattr(fn, "deterministic", False)), arrow)


def _sql_type(text: Any, path: str, what: str) -> Type:
    from sqlstream.sql.types import parse_type

    if not isinstance(text, str):
        raise BindError(f"function '{path}': the type of {what} is {text!r}, not SQL text", hint="for example 'BIGINT'")
    try:
        return parse_type(text)
    except UserError as e:
        raise BindError(f"function '{path}': '{text}' is no type for {what}: {e.message}") from None


def hinted_type(hint: Any, path: str, what: str, arrow: bool = False) -> Type:
    """The SQL type of a type hint of the function at `path`; BindError, with `what` it is of, when it has none."""
    if arrow:
        raise BindError(
            f"function '{path}': the type of {what} is not known",
            hint="@sqlstream.udf(input_types=['STRING'], result_type='BIGINT', func_type='arrow')",
        )
    if isinstance(hint, pytypes.UnionType) or typing.get_origin(hint) is typing.Union:
        parts = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(parts) == 1:
            return hinted_type(parts[0], path, what)
    if hint in _HINTS:
        return _HINTS[hint]
    if typing.get_origin(hint) is list:
        return array(hinted_type(typing.get_args(hint)[0], path, what))
    raise BindError(
        f"function '{path}': {what} has no type hint that SQL has a type for",
        hint="annotate with str, int, float, bool, bytes, datetime, date, Decimal or list[…], optionally | None",
    )
