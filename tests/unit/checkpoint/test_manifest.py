"""Manifests are readable and come back as they were."""

from __future__ import annotations

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
MANIFEST = Manifest(
    "id", "näme", "run", 7, 70, "2026-01-01T00:00:00Z", "ff", "plan\n  text", 2,
    {"3": OperatorState("Op", (StateSchema.of(SPEC, 0),), (
        TaskState(0, (0, 64), (FileEntry("shared/a.arrow", 1, "aa", "base", 5),), {"wm": -(2**63)}),
        TaskState(1, (64, 128)),
    ))},
    {"1": {"0": {"position": 10**15, "watermark": 2**63 - 1, "idle": True}}},
    {"9": [["part-1"], {"a": None}]},
    {"rows": 1.5},
    6,
)  # fmt: skip


def test_roundtrip() -> None:
    text = MANIFEST.to_json()
    assert Manifest.from_json(text) == MANIFEST
    assert Manifest.from_json(text.encode()).to_json() == text
    assert text.startswith('{\n  "format_version": 2,\n  "job_id": "id",') and "näme" in text
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
        '{"format_version": 2, "operators": 3}',
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
