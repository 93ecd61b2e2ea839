"""No connector is left without the contract: who adds one is told."""

from __future__ import annotations

import ast
from pathlib import Path

from sqlstream.connectors.registry import CONNECTORS

# Why there is nothing to keep.
WITHOUT = {
    "alert": "people read it: test_alert.py",
    "blackhole": "nobody sees its rows",
    "datagen": "nobody puts rows into it",
    "elasticsearch-7": "opensearch by another name",
    "nexmark": "nobody puts rows into it",
    "print": "a terminal shows its rows, which may come again",
    "upsert-kafka": "kafka with keys: test_kafka_reading.py, test_kafka_writing.py",
}


def kept() -> set[str]:
    """The classes that stand at `connector = …` (or `connector, … = …`) in a class of these files."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_contract_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Assign):
                continue
            for target in node.targets:
                pairs = (
                    zip(target.elts, node.value.elts, strict=True)
                    if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                    else [(target, node.value)]
                )
                found |= {
                    value.id
                    for name, value in pairs
                    if isinstance(name, ast.Name) and name.id == "connector" and isinstance(value, ast.Name)
                }
    return found


def test_each_connector_keeps_the_contract() -> None:
    """With a `StreamContract` or `DeliveryContract` in a test_contract_*.py, or a reason above why not."""
    classes = {name: c.__name__ for name, c in CONNECTORS.items()}
    assert {name for name, c in classes.items() if c not in kept()} == WITHOUT.keys()
