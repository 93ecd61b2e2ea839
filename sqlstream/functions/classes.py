"""Functions that are classes, as PyFlink has them: with `eval`, and with `open` and `close` around all calls.

Any class with a method `eval` is taken, or an object of one. Those here are to derive from, as in PyFlink; they add nothing but
methods that do nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from sqlstream.errors import BindError, DataError

D = TypeVar("D")


class FunctionContext:
    """What `open` is given."""

    def get_job_parameter(self, key: str, default_value: D) -> D:
        """A parameter of the job. There are none here, so that each is its default."""
        return default_value


class UserDefinedFunction:
    """What functions that are classes have in common."""

    def open(self, function_context: FunctionContext) -> None:
        """Called once in a process, before the first row."""

    def close(self) -> None:
        """Called when the process ends."""

    def is_deterministic(self) -> bool:
        """Whether equal arguments give equal results."""
        return True


class ScalarFunction(UserDefinedFunction):
    """A function whose `eval` takes the values of a row and returns one: `udf(Class(), result_type=…)`."""


class TableFunction(UserDefinedFunction):
    """A function whose `eval` takes the values of a row and yields rows: `udtf(Class(), result_types=[…])`."""


def is_function_class(found: Any) -> bool:
    """Whether it is a class with a method `eval`, or an object of one."""
    return callable(getattr(found, "eval", None))


def made(found: Any, what: str) -> Any:
    """The object of a class; an object is itself. BindError when the class needs more."""
    if not inspect.isclass(found):
        return found
    try:
        return found()
    except Exception as e:
        raise BindError(
            f"{what}: its class cannot be called: {type(e).__name__}: {e}",
            hint="it is called without arguments; or name an object of it",
        ) from e


def is_deterministic(of: Any) -> bool:
    """Whether an object with `eval` says so; one that says nothing is, as in PyFlink."""
    declared = getattr(of, "deterministic", None)
    if declared is not None:
        return bool(declared)
    asked = getattr(of, "is_deterministic", None)
    return bool(asked()) if callable(asked) else True


def opened(of: Any, what: str) -> Any:
    """The object, once it is open; it is closed when the process ends. DataError for what `open` raises."""
    begin, end = getattr(of, "open", None), getattr(of, "close", None)
    if callable(begin):
        try:
            begin(FunctionContext())
        except Exception as e:
            raise DataError(f"{what}, open: {type(e).__name__}: {e}") from e
    if callable(end):
        atexit.register(_close, cast(Callable[[], Any], end))
    return of


def _close(end: Callable[[], Any]) -> None:
    with contextlib.suppress(Exception):  # nobody is there any more to be told
        end()
