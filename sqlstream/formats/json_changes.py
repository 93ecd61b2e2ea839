"""What the formats of changes in JSON have in common (debezium-json, canal-json, maxwell-json, ogg-json): a record has the row as it
was and as it became, and what happened to it.

The records layer has leaves a0, a1, … of the row as it became, b0, b1, … of the row as it was, `op`, and m0, m1, … of METADATA. The
rows layer gives each change, and each image of an update, a row of its own. In a table with a primary key the row as it was counts
for its key alone: an update gives +U, and before it -D of the row as it was where its key is another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import OP
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.formats.base import Encoder
from sqlstream.formats.conversion import ISO_STANDARD, SQL_STANDARD, literal
from sqlstream.formats.json import ObjectDecoder, timestamp_hint, with_derived
from sqlstream.formats.json_encode import lines, object_text
from sqlstream.formats.json_records import JsonRecords, Leaf, Rule
from sqlstream.formats.json_scan.recipe import JsonRecipe
from sqlstream.formats.readers import METADATA
from sqlstream.formats.scan.recipe import Recipe
from sqlstream.options import Option
from sqlstream.types import Schema, Type, inside, timestamp_ltz

MILLISECONDS = "make_timestamptz({x} * 1000)"  # of a BIGINT
TIME = timestamp_ltz(3)


@dataclass(frozen=True)
class Known:
    """A METADATA column of a format of changes: what it is made of, a leaf at `path` of type `leaf`, and how (SQL over {x}).
    `wrong`: for which values of the leaf a record is malformed (SQL over {x}), and `reason`."""

    type: Type
    path: tuple[str, ...]
    leaf: Type
    sql: str = "{x}"
    wrong: str = ""
    reason: str = ""
    of_record: bool = False  # the path begins at the record, not at its payload


def metadata_leaves(
    request: ScanRequest, known: Mapping[str, Known], root: tuple[str, ...] = ()
) -> tuple[list[Leaf], list[Rule], dict[str, str]]:
    """Of the METADATA columns that are asked for: their leaves, the rules that they have to keep, and their SQL by key."""
    leaves, rules, values = list[Leaf](), list[Rule](), dict[str, str]()
    for c in request.columns:
        if not is_known(c, known) or c.path[1] in values:
            continue
        k, name = known[c.path[1]], f"m{len(values)}"
        leaves.append(Leaf(name, k.path if k.of_record else (*root, *k.path), k.leaf))
        values[c.path[1]] = k.sql.format(x=name)
        if k.wrong:
            rules.append(Rule(k.wrong.format(x=name), k.reason))
    return leaves, rules, values


def is_known(column: ScanColumn, known: Mapping[str, Any]) -> bool:
    """Whether it is a METADATA column of these."""
    return column.path[0] == METADATA and column.path[1] in known


@dataclass(frozen=True)
class Style:
    """What a format calls things. `name`: its own; `op`: the field that says what happened; `insert`, `update`, `delete`: SQL lists of
    its values; `hints`: what to do about a malformed record, by the reason."""

    name: str
    op: str
    insert: tuple[str, ...]
    update: tuple[str, ...]
    delete: tuple[str, ...]
    hints: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()  # values of records that are no changes of rows

    @property
    def known(self) -> Rule:
        """It is one of these."""
        values = (*self.insert, *self.update, *self.delete)
        among = ", ".join(literal(v) for v in (*values, *self.ignored))
        return Rule(f"op NOT IN ({among})", f"'{self.op}' is none of {', '.join(values)}")

    def kinds(self, update: str) -> str:
        """SQL of the kinds of rows that a change makes."""
        cases = [(self.update, update), (self.delete, "[3]"), (self.insert, "[0]")]
        return f"CASE {' '.join(f'WHEN {self.among(v)} THEN {kinds}' for v, kinds in cases)} ELSE [] END"

    @staticmethod
    def among(values: tuple[str, ...]) -> str:
        """SQL of whether `op` is one of them."""
        return f"op IN ({', '.join(literal(v) for v in values)})"


@dataclass(frozen=True)
class ChangeDecoder(ObjectDecoder):
    """Records to changes. `primary_key`: the table's; `metadata`: SQL by key. `partial`: `b…` are only what has changed, which g0, g1, …
    say of each column. `deleted_after`: the row that a deletion deletes is `a…`."""

    leaves: JsonRecords
    request: ScanRequest
    primary_key: tuple[str, ...]
    style: Style
    metadata: Mapping[str, str]
    partial: bool = False

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        columns = [f"{self._value(i, c, constants)} AS c{i}" for i, c in enumerate(self.request.columns)]
        kinds = self.style.kinds(self._update())
        changes = f"SELECT *, CAST(unnest({kinds}) AS TINYINT) AS _op FROM {self.images(records)}"
        return with_derived(f"SELECT {', '.join([*columns, OP])} FROM ({changes})", self.request, op=True)

    def images(self, records: str) -> str:
        """FROM item with a row an image pair: `a…`, `b…`, `op`."""
        return records

    def _value(self, i: int, c: ScanColumn, constants: Mapping[str, str]) -> str:
        if c.path[0] == METADATA:
            return self.metadata[c.path[1]] if c.path[1] in self.metadata else constants[c.path[1]]
        return f"CASE WHEN _op IN (0, 2) THEN a{i} ELSE {self._before(i)} END"

    def _before(self, i: int) -> str:
        return f"CASE WHEN g{i} THEN b{i} ELSE a{i} END" if self.partial else f"b{i}"

    def _update(self) -> str:
        """The kinds of rows of an update."""
        if not self.primary_key:
            return "[1, 2]"
        key = [i for i, c in enumerate(self.request.columns) if c.path in [(k,) for k in self.primary_key]]
        moved = " OR ".join(f"{self._before(i)} IS DISTINCT FROM a{i}" for i in key) or "FALSE"
        there = "" if self.partial else "has_before AND "
        return f"CASE WHEN {there}({moved}) THEN [3, 2] ELSE [2] END"

    def scanned(self) -> Recipe | None:
        return None if self.leaves.by_document else JsonRecipe.of(self.leaves)

    def hint(self, reason: str) -> str | None:
        return self.style.hints.get(reason) or timestamp_hint(self.style.name, self.leaves.standard, reason)


@dataclass(frozen=True)
class ChangeEncoder(Encoder):
    """Changes as records, one a change: what stands before and behind the row in one that adds it, and in one that takes it away."""

    schema: Schema
    standard: str
    ignore_null: bool
    created: tuple[str, str]
    deleted: tuple[str, str]

    def encode(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> list[pa.Buffer]:
        fields = [(c.name, c.type, f"c{i}") for i, c in enumerate(self.schema)]
        row = object_text(fields, self.standard, self.ignore_null)
        if kinds is None:
            kinds = np.zeros(batch.num_rows, np.int8)
        batch = inside(batch, self.schema).append_column(pa.field(OP, pa.int8()), pa.array(kinds, pa.int8()))
        made, gone = (f"concat({literal(b)}, {row}, {literal(e)})" for b, e in (self.created, self.deleted))
        return lines(batch, f"CASE WHEN {OP} IN (0, 2) THEN {made} ELSE {gone} END")


def encoder_of(
    schema: Schema, options: Mapping[str, Any], name: str, created: tuple[str, str], deleted: tuple[str, str]
) -> ChangeEncoder:
    """By the options of `options_of`."""
    standard, ignore_null = options[f"{name}.timestamp-format.standard"], options[f"{name}.encode.ignore-null-fields"]
    return ChangeEncoder(schema, standard, ignore_null, created, deleted)


def options_of(name: str) -> tuple[Option, ...]:
    """The options that each format of changes has."""
    return (
        Option(f"{name}.ignore-parse-errors", "bool", False, "skip malformed records (and count them) instead of failing",
               compared="nothing"),
        Option(f"{name}.timestamp-format.standard", "enum", SQL_STANDARD,
               "SQL: '2020-12-30 12:13:14.123'; ISO-8601: '2020-12-30T12:13:14.123'", (SQL_STANDARD, ISO_STANDARD)),
        *null_key_options(name),
        Option(f"{name}.encode.decimal-as-plain-number", "bool", False,
               "no effect: decimals are always written as plain numbers"),
        Option(f"{name}.encode.ignore-null-fields", "bool", False, "leave NULL fields out of what is written"),
    )  # fmt: skip


def null_key_options(name: str) -> tuple[Option, ...]:
    """What Flink does about keys of a MAP that are NULL."""
    return (
        Option(f"{name}.map-null-key.mode", "enum", "FAIL", "no effect: a MAP has no key that is NULL", ("FAIL", "DROP", "LITERAL")),
        Option(f"{name}.map-null-key.literal", "string", "null", "no effect: a MAP has no key that is NULL"),
    )  # fmt: skip
