"""Manifests are readable and come back as they were."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa
import pytest

from sqlstream.checkpoint.manifest import FileEntry, Manifest, OperatorState, StateSchema, TaskState
from sqlstream.checkpoint.schemas import schema_from_json, schema_to_json
from sqlstream.errors import CheckpointError
from sqlstream.state.table import StateSpec

SPEC = StateSpec(
    "w",
    pa.schema([("k", pa.string()), ("d", pa.decimal128(10, 2))]),
    pa.schema(
        [
            ("t", pa.timestamp("us", "UTC")),
            ("u", pa.timestamp("us")),
            ("l", pa.list_(pa.struct([("f0", pa.int8()), ("f1", pa.map_(pa.string(), pa.date32()))]))),
        ]
    ),
    1,
)
HASH = "0a" * 32
MANIFEST = Manifest(
    "id", "näme", "run", 7, 70, "2026-01-01T00:00:00Z", "ff", "plan\n  text", 2,
    {"3": OperatorState("Op", (StateSchema.of(SPEC, 0),), (
        TaskState(0, (0, 64), (FileEntry(f"shared/{HASH}.arrow", 1, HASH, "base", 5),), {"wm": -(2**63)}),
        TaskState(1, (64, 128)),
    ))},
    {"1": {"0": {"position": 10**15, "watermark": 2**63 - 1, "idle": True}}},
    {"9": [["part-1"], {"a": None}]},
    {"rows": 1.5},
    6,
    {"t": {"connector": "filesystem", "path": "in"}},
)  # fmt: skip


def test_roundtrip() -> None:
    text = MANIFEST.to_json()
    assert Manifest.from_json(text) == MANIFEST
    assert Manifest.from_json(text.encode()).to_json() == text
    assert (
        text.startswith('{\n  "format_version": 5,\n  "sha256": "') and '\n  "job_id": "id",' in text and "näme" in text
    )
    assert Manifest.from_json(text).operators["3"].states[0].spec() == SPEC


def test_schemas() -> None:
    for schema in (SPEC.key, SPEC.value, pa.schema([]), pa.schema([("a", pa.null()), ("b", pa.time64("us"))])):
        assert schema_from_json(json.loads(json.dumps(schema_to_json(schema)))) == schema
    with pytest.raises(CheckpointError, match="does not know: tensor"):
        schema_from_json([["a", "tensor"]])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"format_version": "1"}',
        '{"format_version": 1}',
        '{"format_version": 5, "operators": 3}',
        "[" * 100_000,
        '{"format_version": ' + "9" * 5000 + "}",
        "\xff",
    ],
)
def test_not_a_manifest(text: str) -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint manifest"):
        Manifest.from_json(text.encode("latin1"))


def test_nan_is_not_json() -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="JSON"):
        replace(MANIFEST, metrics={"x": float("nan")}).to_json()


def changed(**fields: object) -> str:
    """The manifest's text with other values in it, and the hash that belongs to them."""
    value = {**json.loads(MANIFEST.to_json()), **fields}
    del value["sha256"], value["format_version"]
    rest = json.dumps(value, indent=2).removeprefix("{\n") + "\n"
    return f'{{\n  "format_version": 5,\n  "sha256": "{hashlib.sha256(rest.encode()).hexdigest()}",\n{rest}'


def test_what_was_changed_after_it_was_written_is_not_believed() -> None:
    text = MANIFEST.to_json()
    assert Manifest.from_json(changed()) == MANIFEST
    for bad in (text.replace('"epoch": 70', '"epoch": 71'), text.replace("  ", " "), text + " "):
        with pytest.raises(CheckpointError, match="changed after it was written"):
            Manifest.from_json(bad)


def operators(**task: object) -> dict[str, object]:
    """The operators of a manifest with one task."""
    entry = {"name": f"shared/{HASH}.arrow", "size": 1, "sha256": HASH, "kind": "base", "rows": 5}
    full = {"subtask": 0, "key_groups": [0, 128], "files": [entry], "snapshot": {}}
    file = {**entry, **{k: v for k, v in task.items() if k in entry}}
    full = {**full, "files": [file], **{k: v for k, v in task.items() if k in full}}
    return {"3": {"name": "Op", "states": [], "tasks": [full]}}


@pytest.mark.parametrize(
    "fields",
    [
        {"checkpoint_id": "7"},
        {"checkpoint_id": True},
        {"job_id": None},
        {"operators": []},
        {"operators": {"3": []}},
        {"sources": {"1": 5}},
        {"sinks": {"9": {}}},
        {"metrics": "x"},
        {"previous": "6"},
        {"tables": {"t": {"path": 1}}},
        {"surprise": 1},
        {"operators": operators(name="../../../etc/passwd")},
        {"operators": operators(name="/etc/passwd")},
        {"operators": operators(name=f"shared/../{HASH}.arrow")},
        {"operators": operators(name=f"shared/{'0b' * 32}.arrow")},
        {"operators": operators(sha256=5)},
        {"operators": operators(size=-1)},
        {"operators": operators(kind="other")},
        {"operators": operators(key_groups=[0, 129])},
        {"operators": operators(key_groups=[0])},
        {"operators": operators(subtask=-1)},
        {"operators": operators(snapshot=[])},
        {"metrics": {"rows_in": "x"}},
        {"metrics": {"rows_out": None}},
    ],
)
def test_hostile_values(fields: dict[str, object]) -> None:
    Manifest.from_json(changed(operators=operators()))
    with pytest.raises(CheckpointError, match="not a checkpoint manifest"):
        Manifest.from_json(changed(**fields))
