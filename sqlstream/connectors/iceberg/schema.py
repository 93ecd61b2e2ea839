"""Columns of a table here and of an Iceberg table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from sqlstream.connectors.lake.columns import Names
from sqlstream.contracts import TableContext
from sqlstream.errors import NotSupported, OptionError
from sqlstream.types import Type, from_arrow

NO_COLUMNS = ("INTERVAL_DAY", "INTERVAL_MONTH")
FIELD_ID = b"PARQUET:field_id"


def check_types(table: TableContext) -> None:
    """NotSupported for types that Iceberg has not."""
    for c in table.schema:
        _check(c.type, f"table {table.name}: column '{c.name}'")


def _check(t: Type, where: str) -> None:
    if t.kind in NO_COLUMNS:
        raise NotSupported(
            f"{where} is {t.text()}, which Iceberg tables have not", hint="CAST it to STRING or BIGINT in the query"
        )
    for f in t.fields:
        _check(f.type, where)


class _Numbers:
    """Ids of fields, which the catalog gives anew."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last += 1
        return self._last


def iceberg_schema(table: TableContext, key: tuple[str, ...]) -> Any:
    """The table as it is declared, for the catalog to make. `key`: its PRIMARY KEY, which becomes identifier fields."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField

    numbers = _Numbers()
    fields, identifiers = [], []
    for c in table.schema:
        number = numbers.next()
        required = not c.type.nullable or c.name in key
        fields.append(NestedField(number, c.name, _type(c.type, numbers), required=required))
        if c.name in key and c.type.kind not in ("FLOAT", "DOUBLE"):
            identifiers.append(number)
    return Schema(*fields, identifier_field_ids=identifiers if len(identifiers) == len(key) else [])


def _type(t: Type, numbers: _Numbers) -> Any:
    from pyiceberg import types

    simple = {
        "BOOLEAN": types.BooleanType, "TINYINT": types.IntegerType, "SMALLINT": types.IntegerType, "INT": types.IntegerType,
        "BIGINT": types.LongType, "FLOAT": types.FloatType, "DOUBLE": types.DoubleType, "CHAR": types.StringType,
        "VARCHAR": types.StringType, "BINARY": types.BinaryType, "VARBINARY": types.BinaryType, "DATE": types.DateType,
        "TIME": types.TimeType, "TIMESTAMP": types.TimestampType, "TIMESTAMP_LTZ": types.TimestamptzType,
    }  # fmt: skip
    if t.kind in simple:
        return simple[t.kind]()
    if t.kind == "DECIMAL":
        return types.DecimalType(t.precision or 10, t.scale or 0)
    if t.kind == "ARRAY":
        number = numbers.next()
        return types.ListType(number, _type(t.element, numbers), element_required=not t.element.nullable)
    if t.kind in ("MAP", "MULTISET"):
        number, other = numbers.next(), numbers.next()
        value = types.IntegerType() if t.kind == "MULTISET" else _type(t.element, numbers)
        required = t.kind == "MULTISET" or not t.element.nullable
        return types.MapType(number, _type(t.fields[0].type, numbers), other, value, value_required=required)
    fields = []
    for f in t.fields:
        number = numbers.next()
        fields.append(types.NestedField(number, f.name, _type(f.type, numbers), required=not f.type.nullable))
    return types.StructType(*fields)


def arrow_schema(schema: Any) -> pa.Schema:
    """An Iceberg schema as its files have it, with the ids of fields."""
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    return pa.schema([_small(f) for f in schema_to_pyarrow(schema)])


def _small(f: pa.Field) -> pa.Field:
    """Without Arrow's types for more than 2 GiB in a column, which are the same in a file."""
    return pa.field(f.name, _small_type(f.type), f.nullable, f.metadata)


def _small_type(t: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(t):
        return pa.string()
    if pa.types.is_large_binary(t):
        return pa.binary()
    if pa.types.is_large_list(t) or pa.types.is_list(t):
        return pa.list_(_small(t.value_field))
    if pa.types.is_map(t):
        return pa.map_(_small(t.key_field), _small(t.item_field))
    if pa.types.is_struct(t):
        return pa.struct([_small(f) for f in t])
    return t


def columns_of(table: Any) -> str:
    """The columns of an Iceberg table as CREATE TABLE has them, and its PRIMARY KEY."""
    schema = table.schema()
    columns = []
    for f in arrow_schema(schema):
        kind = "STRING" if isinstance(f.type, pa.ExtensionType) else from_arrow(f.type)
        columns.append(f"{_name(f.name)} {kind}{'' if f.nullable else ' NOT NULL'}")
    key = [schema.find_column_name(i) for i in sorted(schema.identifier_field_ids)]
    if key:
        columns.append(f"PRIMARY KEY ({', '.join(map(_name, key))}) NOT ENFORCED")
    return ", ".join(columns)


def _name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def partition_spec(table: TableContext, schema: Any) -> Any:
    """PARTITIONED BY: by the values of columns, as Flink's SQL has it."""
    from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
    from pyiceberg.transforms import IdentityTransform

    fields = []
    for n, name in enumerate(table.partitioned_by):
        found = next((f for f in schema.fields if f.name == name), None)
        if found is None:
            raise OptionError(f"table {table.name}: PARTITIONED BY '{name}': there is no such column")
        fields.append(PartitionField(found.field_id, PARTITION_FIELD_ID_START + n, IdentityTransform(), name))
    return PartitionSpec(*fields)


def have_one_name(metadata: Any) -> bool:
    """Whether each column has had one name, and each name one column: then files have the names that the table has."""
    from pyiceberg.schema import index_name_by_id

    ids: dict[str, int] = {}
    names: dict[int, str] = {}
    for schema in metadata.schemas:
        for number, name in index_name_by_id(schema).items():
            if ids.setdefault(name, number) != number or names.setdefault(number, name) != name:
                return False
    return not metadata.properties.get("schema.name-mapping.default")


def names_in(schema: Any, file: pa.Schema) -> Names | None:
    """The names that a file has for the columns, by the ids of fields; None where it has none."""
    by_id: dict[int, str] = {}
    for f in file:
        if not _collect(f, by_id):
            return None
    return _names(schema.fields, by_id)


def _collect(f: pa.Field, by_id: dict[int, str]) -> bool:
    number = (f.metadata or {}).get(FIELD_ID)
    if number is None:
        return False
    by_id[int(number)] = f.name
    t = f.type
    inner = []
    if pa.types.is_struct(t):
        inner = list(t)
    elif pa.types.is_list(t) or pa.types.is_large_list(t):
        inner = [t.value_field]
    elif pa.types.is_map(t):
        inner = [t.key_field, t.item_field]
    return all(_collect(i, by_id) for i in inner)


def _names(fields: Any, by_id: dict[int, str]) -> Names:
    return Names({f.name: (by_id[f.field_id], _inner(f.field_type, by_id)) for f in fields if f.field_id in by_id})


def _inner(t: Any, by_id: dict[int, str]) -> Names:
    from pyiceberg.types import ListType, MapType, StructType

    if isinstance(t, StructType):
        return _names(t.fields, by_id)
    if isinstance(t, ListType):
        return Names({"element": ("element", _inner(t.element_type, by_id))})
    if isinstance(t, MapType):
        return Names({"key": ("key", _inner(t.key_type, by_id)), "value": ("value", _inner(t.value_type, by_id))})
    return Names()
