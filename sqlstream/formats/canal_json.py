"""Format 'canal-json': JSON lines of changes as Canal writes them, {"data": [row, …], "old": [what has changed, …], "type": "UPDATE"}; a
changelog.

A record may have several rows. INSERT gives +I of each, DELETE -D of each, UPDATE -U of each with the fields that stand in `old`, also
those that are NULL there, and +U. CREATE (a table was made) and a record that is `null` are skipped; other DDL is malformed, as in Flink.
Records of databases and tables that are not included are skipped whatever is in their rows. The encoder writes as Flink does: +I and
+U become INSERT, -U and -D become DELETE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.errors import NotSupported, OptionError
from sqlstream.formats.base import Decoder, Encoder, Format
from sqlstream.formats.conversion import literal, pointer
from sqlstream.formats.json_changes import (
    MILLISECONDS,
    TIME,
    ChangeDecoder,
    Known,
    Style,
    encoder_of,
    metadata_leaves,
    options_of,
)
from sqlstream.formats.json_records import JsonRecords, Leaf, Rule, document_value
from sqlstream.formats.readers import METADATA
from sqlstream.functions.java_patterns import parse
from sqlstream.functions.pattern_tree import PatternError
from sqlstream.functions.re2_patterns import NotRe2, re2
from sqlstream.options import Option
from sqlstream.types import BIGINT, BOOLEAN, INT, STRING, array, map_of, row

_CHANGE = "op IN ('INSERT', 'UPDATE', 'DELETE')"
_DATA = Rule(f"{_CHANGE} AND rows_a IS NULL", "it has no 'data'")
_OLD = Rule(
    "op = 'UPDATE' AND coalesce(len(rows_g), 0) < len(rows_a)", "an update has fewer rows in 'old' than in 'data'"
)
_ROWS = Rule(f"{_CHANGE} AND NOT coalesce(are_rows, TRUE)", "a row in 'data' or 'old' is not an object")
_NO_TYPE = Rule("op IS NULL AND is_change", "it has no 'type'")
_ARE_ROWS = " AND ".join(
    f"coalesce(list_bool_and(list_transform(CAST(json_extract(j, '/{name}') AS JSON[]), lambda item: coalesce(json_type(item), 'NULL') IN ({kinds}))), TRUE)"
    for name, kinds in (("data", "'OBJECT'"), ("old", "'OBJECT', 'NULL'"))
)
_HINTS = {
    _OLD.reason: "Canal writes the fields before a change where MySQL logs them: binlog_row_image = FULL",
}
STYLE = Style("canal-json", "type", ("INSERT",), ("UPDATE",), ("DELETE",), _HINTS, ("CREATE",))
KNOWN = {
    "database": Known(STRING, ("database",), STRING),
    "table": Known(STRING, ("table",), STRING),
    "sql-type": Known(map_of(STRING, INT), ("sqlType",), map_of(STRING, INT)),
    "pk-names": Known(array(STRING), ("pkNames",), array(STRING)),
    "ingestion-timestamp": Known(TIME, ("ts",), BIGINT, MILLISECONDS),
    "event-timestamp": Known(TIME, ("es",), BIGINT, MILLISECONDS),
}


@dataclass(frozen=True)
class CanalDecoder(ChangeDecoder):
    """`rows_a`, `rows_b`, `rows_g` of a record: its rows, what they were, and which of their columns these have."""

    def images(self, records: str) -> str:
        columns = [i for i, c in enumerate(self.request.columns) if c.path[0] != METADATA]
        values = [f"a.a{i} AS a{i}, b.b{i} AS b{i}, coalesce(g.g{i}, FALSE) AS g{i}" for i in columns]
        pairs = "SELECT *, unnest(rows_a) AS a, unnest(rows_b[:len(rows_a)]) AS b, unnest(rows_g[:len(rows_a)]) AS g"
        return f"(SELECT {', '.join(['pairs.* EXCLUDE (a, b, g)', *values])} FROM ({pairs} FROM {records}) AS pairs)"


class CanalJsonFormat(Format):
    """`'format' = 'canal-json'`: a changelog, for reading and writing."""

    name = "canal-json"
    extension = "json"
    changelog = True
    metadata = {key: k.type for key, k in KNOWN.items()}
    options = (
        *options_of("canal-json"),
        Option("canal-json.database.include", doc="a regular expression (Java's, of whole names): other databases are skipped"),
        Option("canal-json.table.include", doc="a regular expression (Java's, of whole names): other tables are skipped"),
    )  # fmt: skip

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        standard = options["canal-json.timestamp-format.standard"]
        columns = [(i, c) for i, c in enumerate(request.columns) if c.path[0] != METADATA]

        def rows(letter: str, image: str) -> Leaf:
            """The values of the columns in each object of an array."""
            if letter == "g":
                values = [f"coalesce(json_exists(item, {pointer((c.path[0],))}), FALSE)" for _, c in columns]
            else:
                values = [document_value(c.type, c.path, standard, "item", 0, (image,)) for _, c in columns]
            fields = [f"{letter}{i} := {v}" for (i, _), v in zip(columns, values, strict=True)] or ["none := 1"]
            each = f"list_transform(CAST(json_extract(j, '/{image}') AS JSON[]), lambda item: struct_pack({', '.join(fields)}))"
            t = BOOLEAN if letter == "g" else array(row(*((c.path[-1], c.type) for _, c in columns)))
            return Leaf(f"rows_{letter}", (image,), t, document=each)

        leaves = [
            Leaf("op", ("type",), STRING), Leaf("is_change", (), STRING, presence="type"),
            rows("a", "data"), rows("b", "old"), rows("g", "old"), Leaf("are_rows", ("data",), BOOLEAN, document=_ARE_ROWS),
        ]  # fmt: skip
        more, wrong, metadata = metadata_leaves(request, KNOWN)
        rules = [STYLE.known, _DATA, _ROWS, _OLD, _NO_TYPE, *wrong]
        kept = []
        included = {"database": options["canal-json.database.include"], "table": options["canal-json.table.include"]}
        for name, pattern in included.items():
            if pattern is not None:
                found = f"json_extract_string(j, '/{name}')"
                kept.append(f"coalesce(regexp_full_match({found}, {_pattern(table, name, pattern)}), TRUE)")
                leaves.append(Leaf(f"of_{name}", (name,), STRING))
                rules.append(Rule(f"{_CHANGE} AND of_{name} IS NULL", f"it has no '{name}'"))
        records = JsonRecords((*leaves, *more), standard, rules=tuple(rules), kept=" AND ".join(kept))
        return CanalDecoder(records, request, table.primary_key, STYLE, metadata, partial=True)

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        created, deleted = ('{"data":[', '],"type":"INSERT"}'), ('{"data":[', '],"type":"DELETE"}')
        return encoder_of(table.schema, options, self.name, created, deleted)


def _pattern(table: TableContext, name: str, pattern: str) -> str:
    """A SQL literal of the pattern as DuckDB has it."""
    where = f"table {table.name}: option 'canal-json.{name}.include'"
    try:
        return literal(re2(parse(pattern)))
    except PatternError as e:
        raise OptionError(
            f"{where}: the pattern {e}", hint="it is as java.util.regex.Pattern has it", subject=pattern
        ) from None
    except NotRe2 as e:
        raise NotSupported(f"{where}: {e} is not supported in this pattern") from None
