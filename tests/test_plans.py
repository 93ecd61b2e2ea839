"""Plans as they are made, against the plan files; `--rewrite` writes those anew. See harness/plans.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.plans import PLANS, RULES_IN_ORDER, UNCHANGED, PlanFile, fingerprints, rewritten

from sqlstream.plan import nodes

FILES = sorted(PLANS.rglob("*.txt"))
RULE_FILES = {p.stem: p for p in FILES if p.parent.name == "rules"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PLANS).with_suffix("")))
def test_plans(path: Path, request: pytest.FixtureRequest) -> None:
    made = rewritten(path)
    if request.config.getoption("--rewrite"):
        path.write_text(made)
    assert path.read_text() == made, "python -m pytest tests/test_plans.py --rewrite, and read the difference"


@pytest.mark.parametrize("path", [p for p in FILES if p.parent == PLANS], ids=lambda p: p.stem)
def test_fingerprints(path: Path) -> None:
    """Every plan has one, the same at each parallelism, and no other plan of the file has it."""
    found = [made for c in PlanFile.read(path).cases if (made := fingerprints(c.sql)) is not None]
    assert all(one == two for one, two in found)
    assert len({one for one, _ in found}) == len(found)


def test_every_rule_has_a_pair() -> None:
    assert set(RULE_FILES) == {r.__name__ for r in RULES_IN_ORDER}


@pytest.mark.parametrize("rule", sorted(RULE_FILES))
def test_pairs_show_the_rule(rule: str) -> None:
    """At least one case that it changes; and none that it leaves alone unless the title says so."""
    cases = PlanFile.read(RULE_FILES[rule]).cases
    assert any(dict(c.sections)["after"] != UNCHANGED for c in cases)
    for c in cases:
        assert (dict(c.sections)["after"] == UNCHANGED) == c.title.startswith("not "), c.title


def test_every_node_is_in_a_plan() -> None:
    text = "\n".join(p.read_text() for p in FILES if p.parent == PLANS)
    assert [c for c in nodes.__all__ if _is_node(c) and f"{c}(" not in text and f"  {c}\n" not in text] == []


def _is_node(name: str) -> bool:
    found = getattr(nodes, name)
    return isinstance(found, type) and issubclass(found, nodes.Node) and found not in (nodes.Node, nodes.OneInput)
