"""Sets of integers say what NumPy's do, whatever the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqlstream.state.sets import FEW, SPARSE, among, ascending, numbered

LEAST, GREATEST = -(2**63), 2**63 - 1
EDGES = [LEAST, LEAST + 1, -1, 0, 1, GREATEST - 1, GREATEST]


def _made(seed: int, n: int, span: int, low: int, edges: bool) -> list[int]:
    random = np.random.default_rng(seed)
    values = (random.integers(0, span, n) + low).tolist()
    return values + random.choice(np.array(EDGES), 3).tolist() if edges else values


numbers = st.builds(
    _made,
    st.integers(0, 2**32 - 1),
    st.integers(0, 4 * FEW),
    st.sampled_from([1, 50, 1000, 10**6]),
    st.integers(-100, 100),
    st.booleans(),
)


@given(numbers)
def test_distinct(values: list[int]) -> None:
    array = np.array(values, np.int64)
    assert ascending(array).tolist() == sorted(set(values))


@given(numbers)
def test_numbered(values: list[int]) -> None:
    found, places = numbered(np.array(values, np.int64))
    assert found.tolist() == sorted(set(values))
    assert places.tolist() == [sorted(set(values)).index(v) for v in values]


@given(numbers, numbers)
def test_among(values: list[int], others: list[int]) -> None:
    found = among(np.array(values, np.int64), np.array(others, np.int64))
    assert found.dtype == np.bool_
    assert found.tolist() == [v in set(others) for v in values]


@pytest.mark.parametrize("step", [1, SPARSE - 1, SPARSE, SPARSE + 1])
def test_at_the_limit(step: int) -> None:
    values = np.repeat(np.arange(FEW) * step, 2)[::-1]
    assert ascending(values).tolist() == [step * i for i in range(FEW)]
    assert among(values, values[: FEW + 1]).tolist() == np.isin(values, values[: FEW + 1]).tolist()


def test_what_is_a_set_already_is_not_copied() -> None:
    values = np.arange(2 * FEW) * 3
    assert ascending(values) is values
