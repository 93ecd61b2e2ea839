"""What only OVER has is tried: each function stands in the queries that run four ways."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlstream.plan.over_functions import OVER_FUNCTIONS

QUERIES = (Path(__file__).parents[2] / "sql" / "over.slt").read_text()


@pytest.mark.parametrize("name", OVER_FUNCTIONS)
def test_a_function_of_over_is_in_a_query(name: str) -> None:
    assert f"{name}(" in QUERIES, "add one to tests/sql/over.slt"
