"""The schema that Flink makes of a table's columns: flink-avro's AvroSchemaConverter.

Types that may be NULL are unions of null and the type, with the default null where they are fields. Records within others are named
record_<field>. `legacy` (Flink's default): TIMESTAMP is timestamp-millis, and TIMESTAMP_LTZ has no form; else these are
local-timestamp-millis and -micros, and timestamp-millis and -micros.
"""

from __future__ import annotations

import json
from typing import Any

from sqlstream.errors import NotSupported
from sqlstream.types import Schema, Type

NAMESPACE, NAME = "org.apache.flink.avro.generated", "record"


def schema_of(columns: Schema, legacy: bool, table: str, name: str = NAME) -> dict[str, Any]:
    """The record of these columns. NotSupported, which names table and column, for a type that has no form."""
    made = _Maker(legacy, table)
    fields = [made.field(c.name, c.type, f"{name}_{c.name}", c.name) for c in columns]
    return {"type": "record", "name": name, "namespace": NAMESPACE, "fields": fields}


def text_of(schema: Any) -> str:
    """As one line of JSON."""
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


class _Maker:
    def __init__(self, legacy: bool, table: str) -> None:
        self._legacy, self._table = legacy, table

    def field(self, name: str, t: Type, record: str, shown: str) -> dict[str, Any]:
        made: dict[str, Any] = {"name": name, "type": self.type(t, record, shown)}
        return {**made, "default": None} if t.nullable else made

    def type(self, t: Type, record: str, shown: str) -> Any:
        made = self._type(t, record, shown)
        return ["null", made] if t.nullable else made

    def _type(self, t: Type, record: str, shown: str) -> Any:
        if t.kind == "ROW":
            # without a namespace of its own it has that of the record that it is in
            fields = [self.field(f.name, f.type, f"{record}_{f.name}", f"{shown}.{f.name}") for f in t.fields]
            return {"type": "record", "name": record, "fields": fields}
        if t.kind == "ARRAY":
            return {"type": "array", "items": self.type(t.element, record, shown)}
        if t.kind in ("MAP", "MULTISET"):
            if not t.fields[0].type.is_string:
                raise self._refused(shown, t, "the keys of Avro's maps are strings")
            value = t.fields[1].type if t.kind == "MAP" else Type("INT", nullable=False)
            return {"type": "map", "values": self.type(value, record, shown)}
        if t.kind == "DECIMAL":
            return {"type": "bytes", "logicalType": "decimal", "precision": t.precision, "scale": t.scale}
        if t.is_timestamp:
            return {"type": "long", "logicalType": self._timestamp(t, shown)}
        if t.kind == "TIME" and (t.precision or 0) <= 3:
            return {"type": "int", "logicalType": "time-millis"}
        if t.kind == "DATE":
            return {"type": "int", "logicalType": "date"}
        found = _PRIMITIVE.get(t.kind)
        if found is None:
            raise self._refused(shown, t, "times have milliseconds at most" if t.kind == "TIME" else None)
        return found

    def _timestamp(self, t: Type, shown: str) -> str:
        precision = 6 if t.precision is None else t.precision
        if self._legacy:
            if t.kind == "TIMESTAMP_LTZ" or precision > 3:
                hint = "'avro.timestamp_mapping.legacy' = 'false' has TIMESTAMP_LTZ as well, and microseconds"
                raise self._refused(shown, t, hint)
            return "timestamp-millis"
        return f"{'' if t.kind == 'TIMESTAMP_LTZ' else 'local-'}timestamp-{'millis' if precision <= 3 else 'micros'}"

    def _refused(self, shown: str, t: Type, hint: str | None) -> NotSupported:
        return NotSupported(f"table {self._table}: column {shown}: Avro has no form for {t.text()}", hint=hint)


_PRIMITIVE = {
    "BOOLEAN": "boolean", "TINYINT": "int", "SMALLINT": "int", "INT": "int", "BIGINT": "long", "FLOAT": "float", "DOUBLE": "double",
    "CHAR": "string", "VARCHAR": "string", "BINARY": "bytes", "VARBINARY": "bytes",
}  # fmt: skip
