"""Every node of a plan, logical or physical, has its answers: what would give a wrong answer when it is forgotten."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

import pytest

import sqlstream.operators
import sqlstream.plan.nodes
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.lowering import lower
from sqlstream.plan import nodes
from sqlstream.rendering.relations import relation

for package in (sqlstream.operators, sqlstream.plan.nodes):
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")


def concrete(base: type) -> Iterator[type]:
    """The subclasses of the package of which nodes are made."""
    for c in base.__subclasses__():
        yield from concrete(c)
        if not inspect.isabstract(c) and c.__module__.startswith("sqlstream."):
            yield c


NODES = sorted(set(concrete(nodes.Node)), key=lambda c: c.__name__)
OPERATORS = sorted(set(concrete(PhysicalNode)), key=lambda c: c.__name__)
# Their running halves need more than a context: the worker makes them.
MADE_BY_THE_WORKER = {"Exchange", "Sink", "Collect", "SourceScan", "LateRows", "BadRecords"}


def missing(node: type) -> list[str]:
    """The answers that a logical node lacks."""
    made = [q for q in ("pruned", "details", "waits_for_watermark", "wants_arrival", "knows_arrival")
            if getattr(node, q) is getattr(nodes.Node, q)]  # fmt: skip
    if not hasattr(node, "lowered_in"):
        return [*made, "lowered_in"]
    import_module(f"sqlstream.operators.{node.lowered_in}")
    if lower.dispatch(node) is lower.dispatch(object):
        made.append("lowering")
    if relation.dispatch(node) is relation.dispatch(object):
        made.append("rendering")
    return made


def missing_of_operator(node: type) -> list[str]:
    """The answers that a physical node lacks."""
    made = [q for q in ("distribution", "spread", "details") if getattr(node, q) is getattr(PhysicalNode, q)]
    made += [q for q in ("name", "changes") if not hasattr(node, q)]
    if getattr(node, "operator") is PhysicalNode.operator and node.__name__ not in MADE_BY_THE_WORKER:  # noqa: B009
        made.append("operator")
    return made


def test_all_are_seen() -> None:
    assert {"Scan", "Values", "Project", "Filter", "Window", "Aggregate", "Join", "Union"} <= {
        c.__name__ for c in NODES
    }
    assert {c.__name__ for c in OPERATORS} >= {"Calc", "Deduplicate", "SliceAggregate", *MADE_BY_THE_WORKER}


def test_all_nodes_are_exported() -> None:
    assert {c.__name__ for c in NODES} <= set(nodes.__all__), "add it to sqlstream/plan/nodes/__init__.py"


@pytest.mark.parametrize("node", NODES, ids=lambda c: c.__name__)
def test_a_node_answers_for_itself(node: type) -> None:
    assert missing(node) == []


@pytest.mark.parametrize("node", OPERATORS, ids=lambda c: c.__name__)
def test_an_operator_answers_for_itself(node: type) -> None:
    assert missing_of_operator(node) == []


def test_what_is_forgotten_is_found() -> None:
    @dataclass(frozen=True)
    class Forgetful(nodes.OneInput):
        """Answers nothing."""

    with pytest.raises(TypeError, match="abstract"):
        Forgetful(nodes.Values((), ()))  # type: ignore[abstract]
    assert missing(Forgetful) == [
        "pruned", "details", "waits_for_watermark", "wants_arrival", "knows_arrival", "lowered_in",
    ]  # fmt: skip
    Forgetful.lowered_in = "calc"
    assert missing(Forgetful)[-2:] == ["lowering", "rendering"]

    @dataclass(frozen=True)
    class Silent(PhysicalNode):
        """So does this."""

    assert missing_of_operator(Silent) == ["distribution", "spread", "details", "name", "changes", "operator"]


def test_batch_starts_without_the_operators() -> None:
    code = (
        "import sys; from sqlstream.session import Session\n"
        "(r,) = Session().execute('SELECT SUM(x) FROM (VALUES (1), (2)) t(x)'); list(r.batches())\n"
        "print([m for m in sys.modules if m in ('numba', 'sqlstream.state.index_kernels', 'sqlstream.operators.lowering')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
