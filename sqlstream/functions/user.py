"""Python functions (CREATE FUNCTION f AS 'module.attribute'): found, typed by their hints, called. Those whose body stands in SQL
come from `inline.py`, and are the same.

A function is typed by its annotations; the attributes `result_type` and `input_types` (SQL text) override them.
`deterministic` says that equal arguments give equal results; anything else is volatile. `func_type` 'arrow': it takes
and gives whole Arrow arrays. `udf` sets these attributes, under the names of PyFlink's decorator.

A class with a method `eval`, or an object of one, is a function, too (`classes.py`).

A table function gives rows for the values of one: `result_types`, which `udtf` sets, are the types of their columns. Here it is a
function whose value is an ARRAY of such rows, which Unnest then takes apart (`plan/lateral_binder.py`).
"""

from __future__ import annotations

import datetime
import decimal
import functools
import hashlib
import importlib
import inspect
import traceback
import types as pytypes
import typing
import zlib
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never, NoReturn, TypeVar, overload

import pyarrow as pa

from sqlstream.errors import BindError, DataError, UserError, did_you_mean
from sqlstream.functions.classes import TableFunction, is_deterministic, is_function_class, made, opened
from sqlstream.functions.inline import FILE as BODY
from sqlstream.functions.inline import compiled, inline, is_inline
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    STRING,
    Type,
    array,
    map_of,
    rename_array,
    row,
    timestamp,
)
from sqlstream.types import decimal as decimal_type

_HINTS: dict[Any, Type] = {
    str: STRING, int: BIGINT, float: DOUBLE, bool: BOOLEAN, bytes: BYTES_TYPE, datetime.datetime: timestamp(6),
    datetime.date: DATE, decimal.Decimal: decimal_type(38, 18),
}  # fmt: skip


GENERAL, ARROW = "general", "arrow"
FUNC_TYPES = (GENERAL, ARROW)
ANYWHERE = "EXPR$0"  # Flink's name of a column without one
SHOWN = 300  # letters of a row in a message
F = TypeVar("F")


@overload
def udf(
    f: F,
    *,
    input_types: str | Sequence[str] | None = None,
    result_type: str | None = None,
    deterministic: bool | None = None,
    func_type: str = GENERAL,
) -> F: ...


@overload
def udf(
    f: None = None,
    *,
    input_types: str | Sequence[str] | None = None,
    result_type: str | None = None,
    deterministic: bool | None = None,
    func_type: str = GENERAL,
) -> Callable[[F], F]: ...


def udf(
    f: Any = None,
    *,
    input_types: str | Sequence[str] | None = None,
    result_type: str | None = None,
    deterministic: bool | None = None,
    func_type: str = GENERAL,
) -> Any:
    """Decorator of a Python scalar function, or of a class with a method `eval` (see `ScalarFunction`). Types are SQL text, and not needed where type hints say them.

    func_type: 'general', called with the values of a row; 'arrow', with a `pyarrow.Array` of many rows for each
    argument, for an array of as many results: for functions that Arrow, NumPy or the like can do at once.
    deterministic: equal arguments give equal results. None: they do, unless a class has `is_deterministic`.

        @udf(input_types=["STRING", "STRING"], result_type="STRING", func_type="arrow")
        def joined(a, b):
            return pyarrow.compute.binary_join_element_wise(a, b, "-")
    """
    check_func_type(func_type)

    def mark(f: Any) -> Any:
        f.func_type = func_type
        _say_deterministic(f, deterministic)
        if input_types is not None:
            f.input_types = (input_types,) if isinstance(input_types, str) else tuple(input_types)
        if result_type is not None:
            f.result_type = result_type
        return f

    return mark if f is None else mark(f)


def check_func_type(func_type: str) -> None:
    """BindError for a `func_type` that there is not."""
    if func_type not in FUNC_TYPES:
        raise BindError(
            f"func_type '{func_type}' is none of {', '.join(FUNC_TYPES)}",
            hint="an 'arrow' function may call to_pandas() on its arguments" if func_type == "pandas" else None,
        )


def _say_deterministic(f: Any, declared: bool | None) -> None:
    if declared is not None or not is_function_class(f):
        f.deterministic = declared is not False


@overload
def udtf(
    f: F,
    *,
    result_types: str | Sequence[str],
    input_types: str | Sequence[str] | None = None,
    deterministic: bool | None = None,
) -> F: ...


@overload
def udtf(
    f: None = None,
    *,
    result_types: str | Sequence[str],
    input_types: str | Sequence[str] | None = None,
    deterministic: bool | None = None,
) -> Callable[[F], F]: ...


@overload
def udtf(f: Any) -> Never: ...


def udtf(
    f: Any = None,
    *,
    result_types: str | Sequence[str] | None = None,
    input_types: str | Sequence[str] | None = None,
    deterministic: bool | None = None,
) -> Any:
    """Decorator of a Python table function, or of a class with such a method `eval` (see `TableFunction`): it yields any number of
    rows for the values of one.

    result_types: the types of their columns, as SQL text; or one type, which names them where it is a ROW.
    A row is a tuple; of one column also its value. Instead of yielding, a list or an iterator may be returned.

        @udtf(result_types=["STRING", "INT"])
        def words(text: str):
            for word in text.split():
                yield word, len(word)
    """
    if result_types is None:
        raise BindError("udtf needs result_types", hint="@sqlstream.udtf(result_types=['STRING', 'INT'])")

    def mark(f: Any) -> Any:
        if not (callable(f) or is_function_class(f)):
            raise BindError(
                f"udtf takes a function, not {type(f).__name__}",
                hint="or a class with a method eval, or an object of it",
            )
        _say_deterministic(f, deterministic)
        f.result_types = result_types if isinstance(result_types, str) else tuple(result_types)
        if input_types is not None:
            f.input_types = (input_types,) if isinstance(input_types, str) else tuple(input_types)
        return f

    return mark if f is None else mark(f)


@dataclass(frozen=True)
class UserFunction:
    """A resolved function: its path, SQL types, whether it is deterministic, whether it takes Arrow arrays, whether it is
    a table function, whose result is an ARRAY of ROWs, and whether an aggregate function, whose argument is one."""

    path: str
    arguments: tuple[Type, ...]
    result: Type
    deterministic: bool
    arrow: bool = False
    table: bool = False
    aggregate: bool = False

    @property
    def in_arrays(self) -> bool:
        """Whether DuckDB calls it with many rows at once. Of one that takes or gives a ROW the fields so have their names."""
        return self.arrow or self.table or self.aggregate or any(_has_row(t) for t in (*self.arguments, self.result))

    @property
    def parameters(self) -> tuple[Type, ...]:
        """Its arguments as DuckDB knows them: by one that says nothing, what is called with many rows and takes none learns how
        many there are."""
        return self.arguments or ((BOOLEAN,) if self.in_arrays else ())

    @property
    def sql_name(self) -> str:
        """The path as one word, and one that no other path has."""
        words = "".join(c if c.isalnum() else "_" for c in self.shown)
        if is_inline(self.path):
            return f"py_udf_{words}_{hashlib.sha256(self.path.encode()).hexdigest()}"
        return f"py_udf_{words}_{zlib.crc32(self.path.encode()):08x}"

    @property
    def shown(self) -> str:
        """What messages call it."""
        return inline(self.path).name if is_inline(self.path) else self.path

    def called(self, args: list[str]) -> str:
        """SQL of a call. Who runs it prepares the connection (`duck.prepare_functions`)."""
        return f"{self.sql_name}({', '.join(args or ['TRUE' for _ in self.parameters])})"

    @functools.cache  # noqa: B019
    def guarded(self) -> Callable[..., Any]:
        """The callable; what it raises becomes an error that names the function.

        It is kept for good: DuckDB calls it for as long as the database lives, but keeps it alive only as long as the
        connection on which it was registered.
        """
        if self.aggregate:
            from sqlstream.functions import user_aggregates

            f = user_aggregates.resolve(self.path)
            return functools.partial(user_aggregates.over_lists, f, f.made())
        found, what = load(self.path), f"Python function {self.shown}"
        fn = opened(made(found, what), what).eval if is_function_class(found) else found
        if self.in_arrays:
            many = _on_arrays if self.arrow else _rows if self.table else _values
            if not self.arguments:
                return lambda some: many(self, fn, some)
            return functools.wraps(fn)(functools.partial(many, self, fn))

        nullable = self.result.nullable

        @functools.wraps(fn)  # DuckDB looks at the parameters
        def call(*args: Any) -> Any:
            try:
                made = fn(*args)
            except Exception as e:
                raise DataError(f"Python function {self.shown}{args!r}: {type(e).__name__}: {e}{place_of(e)}") from e
            if made is None and not nullable:
                raise DataError(f"Python function {self.shown}{args!r}: None is no {self.result}")
            return made

        return call


def place_of(e: BaseException) -> str:
    """Where a user's code raised it, in parentheses: the line of a body in SQL, else the innermost that is not ours."""
    ours = Path(__file__).parents[1]
    frames = [f for f in traceback.extract_tb(e.__traceback__) if ours not in Path(f.filename).parents]
    for f in reversed(frames):
        if f.filename.startswith(BODY):
            return f" (line {f.lineno} of its body: {f.line})"
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _raised_in(e: Exception) -> str:
    """Where an import failed, in parentheses."""
    if isinstance(e, SyntaxError):  # which has its line in it
        return f" ({e.filename}:{e.lineno})" if e.filename and e.filename not in str(e) else ""
    return place_of(e)


def _has_row(t: Type) -> bool:
    return t.kind == "ROW" or any(_has_row(f.type) for f in t.fields)


def _calls(f: UserFunction, args: tuple[pa.ChunkedArray, ...]) -> list[tuple[Any, ...]]:
    """The values of each row."""
    from sqlstream.python_values import python_values

    columns = [python_values(a.combine_chunks(), t) for a, t in zip(args, f.arguments, strict=False)]
    return list(zip(*columns, strict=True)) if columns else [()] * len(args[0])


def _values(f: UserFunction, fn: Callable[..., Any], *args: pa.ChunkedArray) -> pa.Array:
    """What a function gives for each of many rows."""
    from sqlstream.python_values import ValueMismatch, arrow_values

    made: list[Any] = []
    calls = _calls(f, args)
    for values in calls:
        try:
            made.append(fn(*values))
        except Exception as e:
            message = f"{type(e).__name__}: {e}{place_of(e)}"
            raise DataError(f"Python function {f.shown}{shortened(repr(values))}: {message}") from e
    try:
        return arrow_values(made, f.result)
    except ValueMismatch as e:
        raise DataError(f"Python function {f.shown}{shortened(repr(calls[e.at]))}: {e}") from None


def _rows(f: UserFunction, fn: Callable[..., Any], *args: pa.ChunkedArray) -> pa.Array:
    """What a table function gives for each of many rows, as lists of rows."""
    from sqlstream.python_values import ValueMismatch, arrow_values

    element = f.result.element
    alone = len(element.fields) == 1
    made: list[Any] = []
    offsets = [0]
    calls = _calls(f, args)

    def refuse(message: str, values: tuple[Any, ...], e: Exception | None = None) -> NoReturn:
        raise DataError(f"Python table function {f.path}{shortened(repr(values))}: {message}") from e

    for values in calls:
        try:
            given = fn(*values)
            if isinstance(given, (list, range, Iterator)):
                made += given
            elif given is not None:  # as in PyFlink: a row that is returned is the only one
                made.append(given)
        except Exception as e:
            refuse(f"{type(e).__name__}: {e}{place_of(e)}", values, e)
        offsets.append(len(made))
    if alone:
        made = [v if isinstance(v, tuple) else (v,) for v in made]
    try:
        rows = arrow_values(made, element)
    except ValueMismatch as e:
        owner = calls[bisect_right(offsets, e.at) - 1]
        refuse(f"{e}; its result_types are {', '.join(str(t.type) for t in element.fields)}", owner, e)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), rows, type=f.result.arrow())


def shortened(text: str) -> str:
    """A text for a message."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


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
    if out.null_count and not f.result.nullable:
        raise DataError(f"Python function {f.path} gave NULL, which is no {f.result}")
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
    """The object at 'module.attribute' (a function, or what has the methods of one), or the function that a path holds. BindError says what is missing."""
    if is_inline(path):
        return compiled(path)
    module, _, attribute = path.rpartition(".")
    if not module:
        raise BindError(f"function path '{path}' is not 'module.attribute'")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as e:
        raise BindError(
            f"function '{path}': no module named '{e.name}'",
            hint="the directory of the SQL file and the working directory are searched, then installed packages",
        ) from None
    except Exception as e:  # what it does as it is imported is the user's
        raise BindError(f"function '{path}': its module raised {type(e).__name__}: {e}{_raised_in(e)}") from e
    fn = getattr(found, attribute, None)
    if fn is None:
        there = [n for n in vars(found) if not n.startswith("_")]
        raise BindError(
            f"function '{path}': module '{module}' has no '{attribute}'",
            hint=did_you_mean(attribute, there, "functions"),
            subject=path,
        )
    if not (callable(fn) or is_function_class(fn) or callable(getattr(fn, "accumulate", None))):
        raise BindError(f"function '{path}' is not callable")
    return typing.cast(Callable[..., Any], fn)


def is_table_function(path: str) -> bool:
    """Whether the object at 'module.attribute' is a table function. BindError when there is none."""
    found: Any = load(path)
    return hasattr(found, "result_types") or issubclass(found if inspect.isclass(found) else type(found), TableFunction)


def resolve(path: str) -> UserFunction:
    """Loads the function and reads its SQL types."""
    fn: Any = load(path)
    certain = bool(getattr(fn, "deterministic", False))
    takes = fn
    if is_function_class(fn):
        fn = made(fn, f"function '{path}'")
        takes, certain = fn.eval, is_deterministic(fn)
    elif inspect.isclass(fn):
        raise BindError(
            f"function '{path}' is a class without a method eval",
            hint="a function is made by sqlstream.udf, or udtf for rows of its values; a class that takes tables derives from "
            "sqlstream.ProcessTableFunction",
        )
    columns = getattr(fn, "result_types", None)
    if columns is None and isinstance(fn, TableFunction):
        raise BindError(
            f"function '{path}' has no result_types", hint="result_types = ['STRING', 'INT'], or by sqlstream.udtf"
        )
    try:
        hints = typing.get_type_hints(takes)
        parameters = list(inspect.signature(takes).parameters.values())
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
        arguments = [sql_type(t, path, f"parameter '{p.name}'") for t, p in zip(declared, parameters, strict=True)]
    if columns is not None:
        result = array(_columns(columns, path)).null(False)
        return UserFunction(path, tuple(arguments), result, certain, table=True)
    declared = getattr(fn, "result_type", None)
    if declared is None:
        result = hinted_type(hints.get("return"), path, "the result", arrow)
    else:
        result = sql_type(declared, path, "the result")
    return UserFunction(path, tuple(arguments), result, certain, arrow)


def _columns(declared: Any, path: str) -> Type:
    """The ROW that a table function gives: a type for each column, or one for all."""
    types = [declared] if isinstance(declared, str) else list(declared)
    found = [sql_type(t, path, f"result column {i + 1}") for i, t in enumerate(types)]
    if not found:
        raise BindError(f"function '{path}': result_types are none", hint="a table function gives a column at least")
    if isinstance(declared, str) and found[0].kind == "ROW":
        return found[0].null(False)
    names = [ANYWHERE] if len(found) == 1 else [f"f{i}" for i in range(len(found))]
    return row(*zip(names, found, strict=True)).null(False)


def sql_type(text: Any, path: str, what: str) -> Type:
    """The type that SQL text names, of `what` the function at `path` has; BindError when it names none."""
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
    found = known_type(hint, path)
    if found is not None:
        return found
    raise BindError(
        f"function '{path}': {what} has no type hint that SQL has a type for",
        hint="annotate with str, int, float, bool, bytes, datetime, date, Decimal or list[…], dict[…], optionally | None",
    )


def known_type(hint: Any, path: str) -> Type | None:
    """The SQL type of a type hint, or None."""
    args, origin = typing.get_args(hint), typing.get_origin(hint)
    if isinstance(hint, pytypes.UnionType) or origin is typing.Union:
        parts = [a for a in args if a is not type(None)]
        return known_type(parts[0], path) if len(parts) == 1 else None
    if isinstance(hint, Hashable) and hint in _HINTS:
        return _HINTS[hint]
    inner = [known_type(a, path) for a in args]
    if origin is list and inner[0] is not None:
        return array(inner[0])
    if origin is dict and inner[0] is not None and inner[1] is not None:
        return map_of(inner[0], inner[1])
    return None
