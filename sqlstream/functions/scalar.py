"""The scalar functions and operators there are. Adding one is one line in the table of its kind.

Both modes compile from these objects (`ScalarFunction`); the documentation is generated from them, and
tests/functions holds each to Flink's answers.
"""

from __future__ import annotations

from sqlstream.errors import InternalError
from sqlstream.expressions import Call, Expr, UserCall
from sqlstream.functions import arrays, containers, json, maps, mathematics, operators, strings, times
from sqlstream.functions.scalar_function import ScalarFunction

SCALARS: dict[str, ScalarFunction] = {
    f.name: f
    for table in (operators, mathematics, strings, times, containers, arrays, maps, json)
    for f in table.FUNCTIONS
}  # fmt: skip


def scalar(name: str) -> ScalarFunction:
    """The function of a Call. A name that is not registered is a mistake of the planner's."""
    found = SCALARS.get(name)
    if found is None:
        raise InternalError(f"no scalar function '{name}'")
    return found


def volatile(e: Expr) -> bool:
    """Whether two evaluations of `e` may differ, or cost as much as a function of the user's."""
    return any(isinstance(x, UserCall) or isinstance(x, Call) and volatile_call(x) for x in e.walk())


def volatile_call(call: Call) -> bool:
    """Whether the function itself may give something else, its arguments apart."""
    function = scalar(call.function)
    return function.volatile or function.volatile_alone and not call.args
