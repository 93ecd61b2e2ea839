"""SQL types, Flink's, and what they are in Arrow and in DuckDB.

A `Type` is a description: it prints as Flink prints it, compares, and pickles. Time is int64 microseconds
everywhere inside; TIMESTAMP(p) with p > 6 is refused. TIMESTAMP is a wall-clock time without zone,
TIMESTAMP_LTZ an instant (UTC in Arrow).

Inside the engine a batch names its columns c0, c1, … and the fields of a ROW f0, f1, …, because DuckDB's names
ignore case and Flink's do not; `inside` and `outside` convert at the edge, without copying.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pyarrow as pa

INTEGERS = ("TINYINT", "SMALLINT", "INT", "BIGINT")
NUMERIC = (*INTEGERS, "FLOAT", "DOUBLE", "DECIMAL")
STRINGS = ("CHAR", "VARCHAR")
BYTES = ("BINARY", "VARBINARY")
TIMES = ("DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ")
INTERVALS = ("INTERVAL_DAY", "INTERVAL_MONTH")
MAX_LENGTH = 2147483647

_ARROW = {
    "BOOLEAN": pa.bool_(),
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "CHAR": pa.string(),
    "VARCHAR": pa.string(),
    "BINARY": pa.binary(),
    "VARBINARY": pa.binary(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP_LTZ": pa.timestamp("us", tz="UTC"),
    "INTERVAL_DAY": pa.int64(),  # microseconds
    "INTERVAL_MONTH": pa.int32(),  # months
    "NULL": pa.null(),
}
_DUCKDB = {
    "INT": "INTEGER",
    "CHAR": "VARCHAR",
    "BINARY": "BLOB",
    "VARBINARY": "BLOB",
    "TIMESTAMP_LTZ": "TIMESTAMP WITH TIME ZONE",
    "INTERVAL_DAY": "BIGINT",
    "INTERVAL_MONTH": "INTEGER",
    "NULL": "INTEGER",
}


@dataclass(frozen=True)
class Type:
    """One SQL type. `precision` is the length of strings; `fields` the children of ROW, ARRAY, MAP, MULTISET."""

    kind: str
    precision: int | None = None
    scale: int | None = None
    fields: tuple[Field, ...] = ()
    nullable: bool = True

    def __str__(self) -> str:
        return self.text() + ("" if self.nullable else " NOT NULL")

    def text(self) -> str:
        """Flink's spelling without nullability."""
        kind = self.kind
        if kind == "VARCHAR" and self.precision in (None, MAX_LENGTH):
            return "STRING"
        if kind == "VARBINARY" and self.precision in (None, MAX_LENGTH):
            return "BYTES"
        if kind == "DECIMAL":
            return f"DECIMAL({self.precision}, {self.scale})"
        if kind == "ARRAY":
            return f"ARRAY<{self.fields[0].type}>"
        if kind == "MULTISET":
            return f"MULTISET<{self.fields[0].type}>"
        if kind == "MAP":
            return f"MAP<{self.fields[0].type}, {self.fields[1].type}>"
        if kind == "ROW":
            return "ROW<" + ", ".join(f"`{f.name}` {f.type}" for f in self.fields) + ">"
        if kind == "INTERVAL_DAY":
            return "INTERVAL DAY TO SECOND(6)"
        if kind == "INTERVAL_MONTH":
            return "INTERVAL YEAR TO MONTH"
        if self.precision is not None:
            return f"{kind}({self.precision})"
        return kind

    @property
    def is_integer(self) -> bool:
        """TINYINT to BIGINT."""
        return self.kind in INTEGERS

    @property
    def is_numeric(self) -> bool:
        """Integers, FLOAT, DOUBLE and DECIMAL."""
        return self.kind in NUMERIC

    @property
    def is_string(self) -> bool:
        """CHAR or VARCHAR (STRING is one)."""
        return self.kind in STRINGS

    @property
    def is_timestamp(self) -> bool:
        """TIMESTAMP or TIMESTAMP_LTZ; DATE and TIME are not."""
        return self.kind in ("TIMESTAMP", "TIMESTAMP_LTZ")

    @property
    def is_interval(self) -> bool:
        """Of days to seconds, or of years and months."""
        return self.kind in INTERVALS

    @property
    def element(self) -> Type:
        """The element of an ARRAY, or the value of a MAP."""
        return self.fields[-1].type

    def null(self, nullable: bool = True) -> Type:
        """The same type, which may be NULL, or may not."""
        return self if self.nullable == nullable else replace(self, nullable=nullable)

    def arrow(self) -> pa.DataType:
        """The Arrow type used inside the engine (ROW fields are f0, f1, …)."""
        if self.kind == "DECIMAL":
            return pa.decimal128(self.precision, self.scale)
        if self.kind == "ARRAY":
            return pa.list_(self.fields[0].type.arrow())
        if self.kind in ("MAP", "MULTISET"):
            value = self.fields[1].type if self.kind == "MAP" else INT
            return pa.map_(self.fields[0].type.arrow(), value.arrow())
        if self.kind == "ROW":
            return pa.struct([(f"f{i}", f.type.arrow()) for i, f in enumerate(self.fields)])
        return _ARROW[self.kind]

    def arrow_outside(self) -> pa.DataType:
        """The Arrow type that users see (ROW fields by their names)."""
        if self.kind == "ROW":
            return pa.struct([(f.name, f.type.arrow_outside()) for f in self.fields])
        if self.kind == "ARRAY":
            return pa.list_(self.fields[0].type.arrow_outside())
        if self.kind == "MAP":
            return pa.map_(self.fields[0].type.arrow_outside(), self.fields[1].type.arrow_outside())
        return self.arrow()

    def duckdb(self, *, inside: bool = True) -> str:
        """DuckDB's spelling. `inside`: ROW fields are f0, f1, …; else by their names (for readers)."""
        if self.kind == "DECIMAL":
            return f"DECIMAL({self.precision},{self.scale})"
        if self.kind == "ARRAY":
            return self.fields[0].type.duckdb(inside=inside) + "[]"
        if self.kind in ("MAP", "MULTISET"):
            value = self.fields[1].type if self.kind == "MAP" else INT
            return f"MAP({self.fields[0].type.duckdb(inside=inside)}, {value.duckdb(inside=inside)})"
        if self.kind == "ROW":
            names = [f"f{i}" if inside else f.name for i, f in enumerate(self.fields)]
            body = ", ".join(
                '"' + n.replace('"', '""') + '" ' + f.type.duckdb(inside=inside)
                for n, f in zip(names, self.fields, strict=True)
            )
            return f"STRUCT({body})"
        return _DUCKDB.get(self.kind, self.kind)


@dataclass(frozen=True)
class Field:
    """A named type: a field of a ROW, or the unnamed child of an ARRAY or MAP."""

    name: str
    type: Type


BOOLEAN = Type("BOOLEAN")
TINYINT, SMALLINT, INT, BIGINT = (Type(k) for k in INTEGERS)
FLOAT, DOUBLE = Type("FLOAT"), Type("DOUBLE")
STRING = Type("VARCHAR", MAX_LENGTH)
BYTES_TYPE = Type("VARBINARY", MAX_LENGTH)
DATE = Type("DATE")
TIME = Type("TIME", 0)
NULL = Type("NULL")
INTERVAL_DAY, INTERVAL_MONTH = Type("INTERVAL_DAY"), Type("INTERVAL_MONTH")
# A word among the arguments of a function, such as a unit of time. No column has it.
SYMBOL = Type("SYMBOL", nullable=False)


def decimal(precision: int, scale: int) -> Type:
    """DECIMAL(precision, scale). Whether Flink has one so wide is for the caller to check."""
    return Type("DECIMAL", precision, scale)


def timestamp(precision: int = 6) -> Type:
    """TIMESTAMP(precision): a wall-clock time."""
    return Type("TIMESTAMP", precision)


def timestamp_ltz(precision: int = 6) -> Type:
    """TIMESTAMP_LTZ(precision): an instant."""
    return Type("TIMESTAMP_LTZ", precision)


def array(element: Type) -> Type:
    """ARRAY of elements of a type."""
    return Type("ARRAY", fields=(Field("element", element),))


def map_of(key: Type, value: Type) -> Type:
    """MAP of a type of keys and one of values."""
    return Type("MAP", fields=(Field("key", key), Field("value", value)))


def row(*fields: tuple[str, Type]) -> Type:
    """ROW of (name, type) fields."""
    return Type("ROW", fields=tuple(Field(n, t) for n, t in fields))


# What a column is to time. ROWTIME, PROCTIME: time attributes. The window marks say that the column is the start or
# end of a window of that time domain, so that grouping or joining by it may close state when time passes its end.
ROWTIME, PROCTIME = "ROWTIME", "PROCTIME"
# The time of rows that were put into windows: no time attribute any more, but what late rows are told by.
FORMER_ROWTIME = "FORMER_ROWTIME"
WINDOW_START, WINDOW_END = "WINDOW_START", "WINDOW_END"
LOCAL_WINDOW_START, LOCAL_WINDOW_END = "LOCAL_WINDOW_START", "LOCAL_WINDOW_END"
PROC_WINDOW_START, PROC_WINDOW_END = "PROC_WINDOW_START", "PROC_WINDOW_END"
# Windows over TIMESTAMP_LTZ and over processing time lie in the session's local time, the others in that of the data.
LOCAL = "LOCAL"
WINDOW_STARTS = (WINDOW_START, LOCAL_WINDOW_START, PROC_WINDOW_START)
WINDOW_ENDS = {WINDOW_END: ROWTIME, LOCAL_WINDOW_END: LOCAL, PROC_WINDOW_END: PROCTIME}  # and what closes them


@dataclass(frozen=True)
class Column:
    """A column of a relation. `time`: one of the marks above, or None."""

    name: str
    type: Type
    time: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.type}" + (f" *{self.time}*" if self.time else "")


@dataclass(frozen=True)
class Schema:
    """The columns of a relation, in order. Names need not be unique (a join's output); the binder resolves them."""

    columns: tuple[Column, ...]
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", tuple(c.name for c in self.columns))

    def __len__(self) -> int:
        return len(self.columns)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.columns)

    def __getitem__(self, i: int) -> Column:
        return self.columns[i]

    @property
    def names(self) -> tuple[str, ...]:
        """As users know them; they need not be unique."""
        return self._names

    def arrow(self) -> pa.Schema:
        """The schema inside the engine: c0, c1, …"""
        return pa.schema([(f"c{i}", c.type.arrow()) for i, c in enumerate(self.columns)])

    def arrow_outside(self) -> pa.Schema:
        """The schema that users see: their names, ROW fields by theirs."""
        return pa.schema([(c.name, c.type.arrow_outside()) for c in self.columns])


def from_arrow(t: pa.DataType) -> Type:
    """The type of columns that are `t` to Arrow. What Arrow does not say is as wide as it can be: STRING, TIMESTAMP(6)."""
    if pa.types.is_decimal(t):
        return decimal(t.precision, t.scale)
    if pa.types.is_timestamp(t):
        return timestamp(6) if t.tz is None else timestamp_ltz(6)
    if pa.types.is_struct(t):
        return row(*((t.field(i).name, from_arrow(t.field(i).type)) for i in range(t.num_fields)))
    if pa.types.is_map(t):
        return map_of(from_arrow(t.key_type), from_arrow(t.item_type))
    if pa.types.is_list(t):
        return array(from_arrow(t.value_type))
    return _OF_ARROW.get(t, STRING)


_OF_ARROW = {
    pa.bool_(): BOOLEAN,
    pa.int8(): TINYINT,
    pa.int16(): SMALLINT,
    pa.int32(): INT,
    pa.int64(): BIGINT,
    pa.uint8(): SMALLINT,
    pa.uint16(): INT,
    pa.uint32(): BIGINT,
    pa.uint64(): decimal(20, 0),
    pa.float32(): FLOAT,
    pa.float64(): DOUBLE,
    pa.binary(): BYTES_TYPE,
    pa.large_binary(): BYTES_TYPE,
    pa.date32(): DATE,
    pa.time64("us"): TIME,
}


def as_type(a: pa.Array, to: pa.DataType) -> pa.Array:
    """`a` cast to `to`. Where `to` is NULL without a type everything is NULL: DuckDB gives such as integers."""
    if a.type == to:
        return a
    if pa.types.is_null(to):
        return pa.nulls(len(a))
    return rename_array(a, to) if _untyped(to) else a.cast(to)


def as_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """What DuckDB made as `schema`: it names zones and nullability its own way."""
    arrays = [as_type(batch.column(i), f.type) for i, f in enumerate(schema)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _untyped(t: pa.DataType) -> bool:
    """Whether NULL without a type is somewhere inside."""
    return pa.types.is_null(t) or any(_untyped(t.field(i).type) for i in range(t.num_fields))


def rename_array(a: pa.Array, to: pa.DataType) -> pa.Array:
    """`a` with the nested field names of `to`; same buffers. Casts where the leaf types differ."""
    if a.type.equals(to, check_metadata=False) and str(a.type) == str(to):
        return a
    if pa.types.is_struct(to) and pa.types.is_struct(a.type) and a.type.num_fields == to.num_fields:
        # .field() does not apply the struct's own offset: .flatten() would merge validity, which we keep apart
        children = [rename_array(a.field(i), to.field(i).type) for i in range(to.num_fields)]
        if a.offset:
            children = [c.slice(0) for c in children]
        mask = a.is_null() if a.null_count else None
        return pa.StructArray.from_arrays(children, fields=list(to), mask=mask)
    if pa.types.is_list(to) and pa.types.is_list(a.type):
        mask = a.is_null() if a.null_count else None
        if a.offset or mask is not None:
            a = pa.concat_arrays([a, a.slice(0, 0)]) if a.offset else a
        return pa.ListArray.from_arrays(a.offsets, rename_array(a.values, to.value_type), type=to, mask=mask)
    if pa.types.is_map(to) and pa.types.is_map(a.type):
        a = pa.concat_arrays([a, a.slice(0, 0)]) if a.offset else a
        keys, items = rename_array(a.keys, to.key_type), rename_array(a.items, to.item_type)
        return pa.MapArray.from_arrays(a.offsets, keys, items, to, mask=a.is_null() if a.null_count else None)
    return as_type(a, to)


def inside(batch: pa.RecordBatch, schema: Schema) -> pa.RecordBatch:
    """A batch with the users' names (columns by position) as the engine names it."""
    want = schema.arrow()
    return pa.RecordBatch.from_arrays(
        [rename_array(batch.column(i), want.field(i).type) for i in range(len(schema))], schema=want
    )


def outside(batch: pa.RecordBatch, schema: Schema) -> pa.RecordBatch:
    """The engine's batch (hidden columns dropped) under the users' names."""
    want = schema.arrow_outside()
    return pa.RecordBatch.from_arrays(
        [rename_array(batch.column(i), want.field(i).type) for i in range(len(schema))], schema=want
    )
