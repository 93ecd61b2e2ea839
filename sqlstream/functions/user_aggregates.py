"""Python aggregate functions: one value of the rows of a group. PyFlink's AggregateFunction, as a class that has its methods:

    create_accumulator()            an accumulator of no rows
    accumulate(acc, x, …)           a row more
    retract(acc, x, …)              a row less; may be left out
    merge(acc, accumulators)        the rows of others, too; may be left out
    get_value(acc)                  the value

or (`func_type` 'arrow') a function of a `pyarrow.Array` for each argument, of all rows of a group, which gives its value.

Where the type of accumulators is known, one is kept a group and goes on from epoch to epoch: as a value of that type, so that it
is read from a checkpoint as it was written. Else, and where rows go that `retract` would be needed for, the rows are kept, and the
value is made of them again (`aggregates/streaming/user.py`). Batch has DuckDB list the rows of each group.
"""

from __future__ import annotations

import datetime
import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from sqlstream.errors import BindError, DataError
from sqlstream.functions import classes, user
from sqlstream.functions.inline import inline, is_inline
from sqlstream.python_values import ValueMismatch, arrow_values, python_values
from sqlstream.types import Type, array, rename_array, row

_METHODS = ("create_accumulator", "accumulate", "get_value")
_EXAMPLE = "class Mean: create_accumulator(self), accumulate(self, acc, x), get_value(self, acc)"
AGGREGATE = "aggregates"  # the attribute that marks a function over arrays


def udaf(
    f: Any = None,
    *,
    input_types: str | Sequence[str] | None = None,
    result_type: str | None = None,
    accumulator_type: str | None = None,
    deterministic: bool = True,
    func_type: str = user.GENERAL,
) -> Any:
    """Decorator of a Python aggregate function: a class (or an object of one) with the methods that this module names, or a
    function over arrays. Types are SQL text, and not needed where type hints say them; a class may also have attributes of
    these names, or PyFlink's methods get_result_type and get_accumulator_type.

    func_type: 'general', a class; 'arrow', a function that takes a `pyarrow.Array` of the rows of a group for each argument,
    and gives one value.
    accumulator_type: what is kept of a group between epochs. Without it its rows are kept.
    deterministic: must be; equal rows in equal order give an equal value.

        @udaf(accumulator_type="ROW<total BIGINT, rows BIGINT>")
        class Mean:
            def create_accumulator(self):
                return [0, 0]

            def accumulate(self, acc, x: int | None):
                if x is not None:
                    acc[0] += x
                    acc[1] += 1

            def get_value(self, acc) -> float | None:
                return acc[0] / acc[1] if acc[1] else None
    """
    user.check_func_type(func_type)

    def mark(f: Any) -> Any:
        if func_type == user.GENERAL and not all(callable(getattr(f, m, None)) for m in _METHODS):
            missing = [m for m in _METHODS if not callable(getattr(f, m, None))]
            raise BindError(f"udaf: {_named(f)} has no method {', '.join(missing)}", hint=_EXAMPLE)
        if func_type == user.ARROW and not callable(f):
            raise BindError(f"udaf: {_named(f)} is no function of arrays")
        f.func_type, f.deterministic = func_type, deterministic
        setattr(f, AGGREGATE, True)
        if input_types is not None:
            f.input_types = (input_types,) if isinstance(input_types, str) else tuple(input_types)
        if result_type is not None:
            f.result_type = result_type
        if accumulator_type is not None:
            f.accumulator_type = accumulator_type
        return f

    return mark if f is None else mark(f)


@dataclass(frozen=True)
class UserAggregate:
    """A resolved function: its path and SQL types. accumulator: None where it is not known, or there are none. retracts, merges:
    whether it has these methods."""

    path: str
    arguments: tuple[Type, ...]
    result: Type
    accumulator: Type | None
    arrow: bool
    retracts: bool
    merges: bool

    @property
    def shown(self) -> str:
        """What messages call it."""
        return inline(self.path).name if is_inline(self.path) else self.path

    @property
    def rows(self) -> Type:
        """The type of the rows of a group, as batch has them."""
        return array(row(*((f"a{i}", t.null()) for i, t in enumerate(self.arguments))))

    @property
    def over_lists(self) -> user.UserFunction:
        """The function of such rows, which DuckDB calls."""
        return user.UserFunction(self.path, (self.rows,), self.result, True, aggregate=True)

    def made(self) -> Folding | Callable[..., Any]:
        """A new object to call."""
        return user.load(self.path) if self.arrow else self.folding()

    def folding(self) -> Folding:
        """A new object with accumulators."""
        found: Any = user.load(self.path)
        return Folding(self, classes.made(found, f"aggregate function '{self.shown}'"))

    def values(self, made: Folding | Callable[..., Any], offsets: Sequence[int], columns: list[pa.Array]) -> pa.Array:
        """The value of each group: rows offsets[i] to offsets[i + 1] of the columns are those of group i, in their order."""
        if isinstance(made, Folding):
            return made.folded(offsets, columns)
        columns = [rename_array(c, t.arrow_outside()) for c, t in zip(columns, self.arguments, strict=True)]
        found = []
        for i in range(len(offsets) - 1):
            rows = [c.slice(offsets[i], offsets[i + 1] - offsets[i]) for c in columns]
            try:
                found.append(_python(made(*rows), self.result))
            except Exception as e:
                place = user.place_of(e)
                raise DataError(
                    f"Python aggregate function {self.shown} of {len(rows[0])} rows: {type(e).__name__}: {e}{place}"
                ) from e
        return self.checked(found)

    def checked(self, values: list[Any]) -> pa.Array:
        """What it gave for groups as a column. DataError for what is not of its type."""
        try:
            return arrow_values(values, self.result)
        except ValueMismatch as e:
            raise DataError(f"Python aggregate function {self.shown}: {e}") from None


class Folding:
    """An object of a class with accumulators, and what is done with them."""

    def __init__(self, function: UserAggregate, made: Any) -> None:
        self.function, self._object = function, made
        self._open = False
        self._empty: pa.Array | None = None

    @property
    def _made(self) -> Any:
        """The object, open: it is before its first call, and not when a plan is made."""
        if not self._open:
            self._open = True
            classes.opened(self._object, f"Python aggregate function {self.function.shown}")
        return self._object

    # --- accumulators as values of their type -------------------------------------------------------------

    def empty(self, n: int) -> pa.Array:
        """Accumulators of no rows."""
        if self._empty is None:
            self._sample = self._called("create_accumulator")
            self._empty = self.stored([self._sample])
        return self._empty.take(pa.array(np.zeros(n, np.int64)))

    def stored(self, accumulators: list[Any]) -> pa.Array:
        """Accumulators as a column of their type."""
        t = self.function.accumulator
        assert t is not None
        if t.kind == "ROW":
            names = [f.name for f in t.fields]
            accumulators = [_values(a, names) for a in accumulators]
        try:
            return arrow_values(accumulators, t)
        except ValueMismatch as e:
            what = f"Python aggregate function {self.function.shown}: as an accumulator ({t.text()})"
            raise DataError(f"{what} {e}") from None

    def taken(self, column: pa.Array) -> list[Any]:
        """The accumulators again, each a new object. A ROW is of the class that create_accumulator gives."""
        t = self.function.accumulator
        assert t is not None
        self.empty(0)
        if t.kind != "ROW":
            return python_values(column, t)
        parts = [python_values(c, f.type) for c, f in zip(column.flatten(), t.fields, strict=True)]
        rows, kind = zip(*parts, strict=True), type(self._sample)
        if kind is list:
            return [list(r) for r in rows]
        if kind is dict:
            names = [f.name for f in t.fields]
            return [dict(zip(names, r, strict=True)) for r in rows]
        return [kind(*r) for r in rows]

    # --- the function's methods ---------------------------------------------------------------------------

    def take(
        self, accumulators: list[Any], at: Sequence[int], signs: Sequence[int] | None, columns: list[pa.Array]
    ) -> None:
        """Each row into, or where its sign is below 0 out of, the accumulator `at` which it says."""
        f = self.function
        add, back = self._made.accumulate, getattr(self._made, "retract", None)
        rows = list(zip(*(python_values(c, t) for c, t in zip(columns, f.arguments, strict=True)), strict=True))
        rows = rows or [()] * len(at)
        which, i = "accumulate", 0
        try:
            if signs is None:
                for i, values in enumerate(rows):
                    add(accumulators[at[i]], *values)
            else:
                assert back is not None
                for i, values in enumerate(rows):
                    if signs[i] < 0:
                        which = "retract"
                        back(accumulators[at[i]], *values)
                    else:
                        which = "accumulate"
                        add(accumulators[at[i]], *values)
        except Exception as e:
            self._raise(e, f"{which}{user.shortened(repr(rows[i]))}")

    def merge(self, accumulator: Any, others: list[Any]) -> None:
        """The rows of others into one."""
        self._called("merge", accumulator, others)

    def value(self, accumulators: Iterable[Any]) -> pa.Array:
        """The value of each accumulator."""
        return self.function.checked([self._called("get_value", a) for a in accumulators])

    def folded(self, offsets: Sequence[int], columns: list[pa.Array]) -> pa.Array:
        """The value of each group of rows."""
        n = len(offsets) - 1
        if self.function.accumulator is not None:
            accumulators = self.taken(self.empty(n))
        else:
            accumulators = [self._called("create_accumulator") for _ in range(n)]
        self.take(accumulators, np.repeat(np.arange(n), np.diff(offsets)).tolist(), None, columns)
        if self.function.accumulator is not None:
            self.stored(accumulators)  # what could not be kept of a stream is no accumulator here either
        return self.value(accumulators)

    def _called(self, method: str, *args: Any) -> Any:
        try:
            return getattr(self._made, method)(*args)
        except Exception as e:
            self._raise(e, method)

    def _raise(self, e: Exception, where: str) -> NoReturn:
        text = f"Python aggregate function {self.function.shown}, {where}: {type(e).__name__}: {e}{user.place_of(e)}"
        raise DataError(text) from e


def _values(accumulator: Any, names: list[str]) -> Any:
    """An accumulator of type ROW as one that `arrow_values` takes: of a class of its own by its attributes, or as it counts."""
    if accumulator is None or isinstance(accumulator, dict | list | tuple):
        return accumulator
    if all(hasattr(accumulator, n) for n in names):
        return [getattr(accumulator, n) for n in names]
    return list(accumulator) if isinstance(accumulator, Iterable) else accumulator


def _python(value: Any, t: Type) -> Any:
    """What a function over arrays gave, as a Python value."""
    if not isinstance(value, pa.Scalar):
        return value
    made = value.as_py(maps_as_pydicts="lossy")
    return datetime.timedelta(microseconds=made) if t.kind == "INTERVAL_DAY" and isinstance(made, int) else made


def over_lists(f: UserAggregate, made: Folding | Callable[..., Any], rows: pa.ChunkedArray) -> pa.Array:
    """The value of each list of rows; NULL is none. What DuckDB calls."""
    given = rows.combine_chunks()
    sizes = given.value_lengths().fill_null(0).to_numpy()
    columns = given.flatten().flatten()
    return f.values(made, np.concatenate([[0], np.cumsum(sizes)]).tolist(), columns)


def is_aggregate(path: str) -> bool:
    """Whether the object at 'module.attribute' is an aggregate function. BindError when there is none."""
    found = user.load(path)
    return hasattr(found, AGGREGATE) or callable(getattr(found, "accumulate", None))


def resolve(path: str) -> UserAggregate:
    """Loads the function and reads its SQL types. BindError says what is wrong with it."""
    found: Any = user.load(path)
    key = (path, id(found))
    if key not in _resolved:
        _resolved[key] = (_read(path, found), found)
    return _resolved[key][0]


_resolved: dict[tuple[str, int], tuple[UserAggregate, Any]] = {}


def _read(path: str, found: Any) -> UserAggregate:
    what = f"aggregate function '{inline(path).name if is_inline(path) else path}'"
    if not getattr(found, "deterministic", True) or _says_otherwise(found):
        raise BindError(
            f"{what} is not deterministic",
            hint="what a stream takes back it computes again, so that it must come to the same",
        )
    if getattr(found, "func_type", user.GENERAL) == user.ARROW:
        return UserAggregate(path, *_types(path, what, found, found, found, True), None, True, False, False)
    missing = [m for m in _METHODS if not callable(getattr(found, m, None))]
    if missing:
        raise BindError(f"{what} has no method {', '.join(missing)}", hint=_EXAMPLE)
    made: Any = classes.made(found, what)
    arguments, result = _types(path, what, made, made.accumulate, made.get_value, False)
    accumulator = _declared(made, "accumulator_type", "get_accumulator_type", path, "accumulators")
    if accumulator is None:
        hint = typing.get_type_hints(made.create_accumulator).get("return")
        accumulator = user.known_type(hint, path)
    retracts, merges = (callable(getattr(made, m, None)) for m in ("retract", "merge"))
    f = UserAggregate(path, arguments, result, accumulator, False, retracts, merges)
    try:
        folding = Folding(f, made)
        if accumulator is not None and not callable(getattr(made, "open", None)):
            folding.empty(1)
    except DataError as e:
        raise BindError(e.message, hint=e.hint) from None
    return f


def _says_otherwise(found: Any) -> bool:
    asked = getattr(found, "is_deterministic", None)
    return callable(asked) and not inspect.isclass(found) and not asked()


def _types(path: str, what: str, made: Any, takes: Any, gives: Any, arrow: bool) -> tuple[tuple[Type, ...], Type]:
    """The types of the arguments, those of `takes` behind an accumulator, and of the value, which `gives` returns."""
    declared = getattr(made, "input_types", None)
    try:
        hints, returned = typing.get_type_hints(takes), typing.get_type_hints(gives)
        parameters = list(inspect.signature(takes).parameters.values())[0 if arrow else 1 :]
    except (TypeError, NameError, ValueError) as e:
        raise BindError(f"{what}: its type hints cannot be read: {e}") from None
    several = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    for p in parameters:
        if p.kind in (p.VAR_KEYWORD, p.KEYWORD_ONLY) or (p.kind is p.VAR_POSITIONAL and declared is None):
            raise BindError(f"{what}: parameter '{p.name}' must be positional", hint="or say input_types")
    if declared is None:
        arguments = [user.hinted_type(hints.get(p.name), path, f"parameter '{p.name}'", arrow) for p in parameters]
    else:
        declared = (declared,) if isinstance(declared, str) else tuple(declared)
        if not several and len(declared) != len(parameters):
            raise BindError(f"{what}: {len(declared)} input_types for {len(parameters)} parameters")
        arguments = [user.sql_type(t, path, f"argument {i + 1}") for i, t in enumerate(declared)]
    if not arguments:
        raise BindError(f"{what} takes no argument", hint="one at least, of which it has the values")
    result = _declared(made, "result_type", "get_result_type", path, "the result")
    if result is None:
        result = user.hinted_type(returned.get("return"), path, "the result", arrow)
    return tuple(arguments), result


def _declared(made: Any, attribute: str, method: str, path: str, what: str) -> Type | None:
    """A type that is declared by an attribute, or by PyFlink's method."""
    text = getattr(made, attribute, None)
    if text is None and callable(getattr(made, method, None)):
        text = getattr(made, method)()
    return None if text is None else user.sql_type(text, path, what)


def _named(f: Any) -> str:
    return getattr(f, "__name__", type(f).__name__)
