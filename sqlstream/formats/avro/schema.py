"""Schemas of Avro (https://avro.apache.org/docs/1.12.0/specification/) as trees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PRIMITIVE = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
_NAMED = ("record", "enum", "fixed", "error")
DEEPEST = 150  # types within one another
MOST_DIGITS = 1000  # of a decimal
LARGEST = 1 << 31  # bytes of a fixed


class SchemaError(ValueError):
    """It is no schema; says why."""


@dataclass(eq=False)
class Node:
    """A type of a schema. A named one that stands in itself is the same object there.

    kind      a primitive, record, enum, fixed, array, map, union
    name      of a named type, with its namespace
    logical   its logical type, if it is one that is known and fits; `precision`, `scale` of decimal
    size      of fixed
    symbols   of enum
    fields    of record, in order; `branches` of union
    item      of array, and the values of map
    """

    kind: str
    name: str = ""
    logical: str = ""
    precision: int = 0
    scale: int = 0
    size: int = 0
    symbols: tuple[str, ...] = ()
    fields: list[AvroField] = field(default_factory=list)
    branches: list[Node] = field(default_factory=list)
    item: Node | None = None

    @property
    def text(self) -> str:
        """As an error names it."""
        if self.kind == "union":
            return " or ".join(b.text for b in self.branches)
        if self.logical:
            return self.logical
        return f"{self.kind} {self.name}" if self.name else self.kind

    @property
    def inner(self) -> Node:
        """Without the null of a union of one other type."""
        rest = [b for b in self.branches if b.kind != "null"]
        return rest[0] if self.kind == "union" and len(rest) == 1 else self

    def field(self, name: str) -> AvroField | None:
        """Of a record."""
        return next((f for f in self.fields if f.name == name), None)


@dataclass(eq=False)
class AvroField:
    """A field of a record."""

    name: str
    type: Node
    has_default: bool = False
    default: Any = None


def parse(text: str) -> Node:
    """The schema that a JSON text is. SchemaError."""
    try:
        document = json.loads(text)
    except ValueError as e:
        if text.strip() in PRIMITIVE:  # a name without quotes
            return Node(text.strip())
        raise SchemaError(f"it is no JSON: {e}") from None
    except RecursionError:
        raise SchemaError("its JSON is nested too deeply") from None
    return _node(document, "", {})


def _node(x: Any, namespace: str, known: dict[str, Node], depth: int = 0) -> Node:
    if depth > DEEPEST:
        raise SchemaError(f"more than {DEEPEST} of its types are within one another")
    depth += 1
    if isinstance(x, str):
        if x in PRIMITIVE:
            return Node(x)
        found = known.get(_full(x, namespace)) or known.get(x)
        if found is None:
            raise SchemaError(f"there is no type '{x}' in it")
        return found
    if isinstance(x, list):
        branches = [_node(b, namespace, known, depth) for b in x]
        if not branches or any(b.kind == "union" for b in branches):
            raise SchemaError(f"{_shown(x)} is no union: it has no branches, or unions for such")
        return Node("union", branches=branches)
    if not isinstance(x, Mapping) or "type" not in x:
        raise SchemaError(f"{_shown(x)} is no type")
    kind = x["type"]
    if not isinstance(kind, str):
        return _node(kind, namespace, known, depth)
    if kind in _NAMED:
        return _named(x, namespace, known, depth)
    if kind == "array":
        return Node("array", item=_node(_of(x, "items"), namespace, known, depth))
    if kind == "map":
        return Node("map", item=_node(_of(x, "values"), namespace, known, depth))
    if kind not in PRIMITIVE:
        return _node(kind, namespace, known, depth)
    return _logical(Node(kind), x)


def _shown(x: Any) -> str:
    return json.dumps(x)[:60]


def _of(x: Any, key: str, kind: type | None = None) -> Any:
    """What an object has under a key, which has to be of a kind."""
    if not isinstance(x, Mapping) or key not in x:
        raise SchemaError(f"{_shown(x)} has no '{key}'")
    if kind is not None and not isinstance(x[key], kind):
        raise SchemaError(f"{_shown(x)}: '{key}' is {_shown(x[key])}, which is none")
    return x[key]


def _count(x: Mapping[str, Any], key: str, most: int, default: int | None = None) -> int:
    """A number that is not negative. Some write it as a text."""
    found = x.get(key, default)
    if isinstance(found, str) and found.isascii() and found.isdigit():
        found = int(found[:20])
    if not isinstance(found, int) or not 0 <= found <= most:
        raise SchemaError(f"{_shown(x)}: '{key}' is {_shown(found)}, and has to be a number from 0 to {most}")
    return int(found)


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _named(x: Mapping[str, Any], namespace: str, known: dict[str, Node], depth: int) -> Node:
    within = x.get("namespace", namespace)
    name = _full(_of(x, "name", str), within if isinstance(within, str) else "")
    made = known[name] = Node("record" if x["type"] == "error" else x["type"], name)
    inside = name.rpartition(".")[0]
    if made.kind == "enum":
        made.symbols = tuple(_of(x, "symbols", list))
        if not all(isinstance(s, str) for s in made.symbols):
            raise SchemaError(f"{_shown(x)}: its symbols are no names")
        return made
    if made.kind == "fixed":
        made.size = _count(x, "size", LARGEST)
        return _logical(made, x)
    for f in _of(x, "fields", list):
        if made.field(_of(f, "name", str)) is not None:
            raise SchemaError(f"field {f['name']} of {name} is there twice")
        made.fields.append(
            AvroField(
                _of(f, "name", str), _node(_of(f, "type"), inside, known, depth), "default" in f, f.get("default")
            )
        )
    return made


_LOGICAL = {
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "timestamp-nanos": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
    "local-timestamp-nanos": ("long",),
    "decimal": ("bytes", "fixed"),
    "uuid": ("string", "fixed"),
}
# Kafka Connect's names of what it writes, where the schema has no logical type of Avro's.
_CONNECT = {
    "io.debezium.time.Date": "date",
    "io.debezium.time.Time": "time-millis",
    "io.debezium.time.MicroTime": "time-micros",
    "io.debezium.time.Timestamp": "local-timestamp-millis",
    "io.debezium.time.MicroTimestamp": "local-timestamp-micros",
    "io.debezium.time.NanoTimestamp": "local-timestamp-nanos",
}


def _logical(made: Node, x: Mapping[str, Any]) -> Node:
    """With the logical type; one that is not known, or is of another type, is none."""
    given = x.get("logicalType") or _CONNECT.get(str(x.get("connect.name", "")), "")
    if not isinstance(given, str) or made.kind not in _LOGICAL.get(given, ()):
        return made
    if given == "decimal":
        made.precision, made.scale = _count(x, "precision", MOST_DIGITS, 0), _count(x, "scale", MOST_DIGITS, 0)
        if made.precision < 1 or not 0 <= made.scale <= made.precision:
            made.precision = made.scale = 0
            return made
    made.logical = given
    return made
