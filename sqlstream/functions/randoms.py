"""RAND and RAND_INTEGER with a seed of each row: the first number of java.util.Random(seed), as in Flink.

With a constant seed Flink gives a sequence, the rows of a task one after the other. Here rows come in batches, to any
number of tasks, and some come twice, after a restart: there is no such sequence, so a constant seed is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sqlstream.errors import DataError, NotSupported
from sqlstream.expressions import Expr, Literal
from sqlstream.functions import user
from sqlstream.functions.scalar_function import Rule, Typing, takes
from sqlstream.types import DOUBLE, INT, Type

_FACTOR, _MASK = np.uint64(0x5DEECE66D), np.uint64((1 << 48) - 1)
Seeds = npt.NDArray[np.uint64]


def seeded(name: str, wanted: tuple[Type, ...], gives: Type, least: int) -> Rule:
    """The rule: with more than `least` arguments the first is a seed."""

    def rule(args: Sequence[Expr]) -> Typing:
        if len(args) > least and isinstance(args[0], Literal) and args[0].value is not None:
            raise NotSupported(
                f"{name} with the constant seed {args[0]}: its numbers would be a sequence, and rows have no such order",
                hint=f"a column as seed ({name}(id{', 10' if least else ''})) gives each row its number; {name}({'10' if least else ''}) draws any",
            )
        return takes(name, wanted, gives)(args)

    return rule


def _begun(seeds: pa.Array) -> Seeds:
    given = np.asarray(seeds.fill_null(0).cast(pa.int64())).view(np.uint64)
    return (given ^ _FACTOR) & _MASK


def _next(state: Seeds) -> Seeds:
    with np.errstate(over="ignore"):
        return (state * _FACTOR + np.uint64(11)) & _MASK


def rand(seeds: pa.Array) -> pa.Array:
    """A number from 0 to below 1 for each seed."""
    first = _next(_begun(seeds))
    bits = ((first >> np.uint64(22)) << np.uint64(27)) + (_next(first) >> np.uint64(21))
    return pa.array(bits.astype(np.float64) * 2.0**-53, mask=np.asarray(seeds.is_null()))


def rand_integer(seeds: pa.Array, bounds: pa.Array) -> pa.Array:
    """A whole number from 0 to below its bound for each seed. DataError of a bound that is not above 0."""
    missing = np.asarray(seeds.is_null()) | np.asarray(bounds.is_null())
    limits = np.where(missing, 1, np.asarray(bounds.fill_null(1).cast(pa.int64())))
    if (limits <= 0).any():
        raise DataError("RAND_INTEGER: the bound must be above 0")
    state = _next(_begun(seeds))
    drawn = (state >> np.uint64(17)).astype(np.int64)
    by_two = limits & -limits == limits
    out = np.where(by_two, limits * drawn >> 31, drawn % limits)
    # numbers of the last part of 2**31, which the bound does not fill, are drawn again
    again = np.flatnonzero(~by_two & (drawn - out + limits - 1 >= 1 << 31))
    while len(again):
        state[again] = _next(state[again])
        drawn = (state[again] >> np.uint64(17)).astype(np.int64)
        out[again] = drawn % limits[again]
        again = again[drawn - out[again] + limits[again] - 1 >= 1 << 31]
    return pa.array(out, pa.int32(), mask=missing)


RAND = user.UserFunction("sqlstream.functions.randoms.rand", (INT,), DOUBLE, deterministic=True, arrow=True)
RAND_INTEGER = user.UserFunction(
    "sqlstream.functions.randoms.rand_integer", (INT, INT), INT, deterministic=True, arrow=True
)
