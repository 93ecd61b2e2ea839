"""Values as text, by DuckDB: SQL expressions over the engine's columns c0, c1, …

Times have as many digits as their type's precision. An instant (TIMESTAMP_LTZ) is shown in the session's time zone
in tables, and in UTC with a Z where programs read it. Nested values are JSON.
"""

from __future__ import annotations

import json

from sqlstream.formats.conversion import FIXED_STANDARD, literal
from sqlstream.formats.json_encode import fixed_time_text, json_text, plain_text
from sqlstream.functions.times import interval_text
from sqlstream.types import BYTES, INT, INTERVALS, Schema, Type


def table_text(t: Type, x: str, zone: str) -> str:
    """SQL of `x` as a cell of a table; NULL stays NULL."""
    if t.is_timestamp or t.kind == "TIME":
        return fixed_time_text(t, x, zone)
    if t.kind in BYTES:
        return f"'x''' || lower(hex({x})) || ''''"
    return _plain(t, x)


def readable_text(t: Type, x: str, zone: str, depth: int = 0) -> str:
    """SQL of `x` as people read it: as `table_text`, but ROW (1, a), ARRAY [1, 2], MAP {k=1}, as Flink's client shows
    them. NULL stays NULL, and is written NULL within another value."""
    e = f"e{depth}"

    def within(inner: Type, y: str) -> str:
        return f"coalesce({readable_text(inner, y, zone, depth + 1)}, 'NULL')"

    if t.kind == "ROW":
        parts = ", ', ', ".join(within(f.type, f"{x}.f{i}") for i, f in enumerate(t.fields))
        body = f"concat('(', {parts}, ')')" if t.fields else "'()'"
    elif t.kind == "ARRAY":
        body = f"concat('[', array_to_string(list_transform({x}, lambda {e}: {within(t.element, e)}), ', '), ']')"
    elif t.kind in ("MAP", "MULTISET"):
        value = t.fields[1].type if t.kind == "MAP" else INT
        entry = f"concat({within(t.fields[0].type, f'{e}.key')}, '=', {within(value, f'{e}.value')})"
        body = f"concat('{{', array_to_string(list_transform(map_entries({x}), lambda {e}: {entry}), ', '), '}}')"
    else:
        return table_text(t, x, zone)
    return f"CASE WHEN {x} IS NOT NULL THEN {body} END"


def csv_line(schema: Schema) -> str:
    """SQL of a line of CSV. NULL is nothing, an empty string is quotes; quoted where it must be (RFC 4180)."""
    fields = []
    for i, c in enumerate(schema):
        text = _machine(c.type, f"c{i}")
        if not (c.type.is_numeric or c.type.is_timestamp):
            text = _quoted(text)
        fields.append(f"coalesce({text}, '')")
    return " || ',' || ".join(fields)


def csv_head(names: list[str]) -> str:
    """The line of CSV that names the columns."""
    quoted = ['"' + n.replace('"', '""') + '"' if any(c in n for c in ',"\r\n') or not n else n for n in names]
    return ",".join(quoted) + "\n"


def json_line(names: list[str], schema: Schema) -> str:
    """SQL of a row as a JSON object: decimals are numbers, times and intervals strings, bytes base64."""
    parts = []
    for i, (name, c) in enumerate(zip(names, schema, strict=True)):
        key = literal(("," if i else "{") + json.dumps(name, ensure_ascii=False) + ":")
        if c.type.kind in INTERVALS:
            text = f"coalesce('\"' || {interval_text(f'c{i}', c.type, 6)} || '\"', 'null')"
        else:
            text = json_text(c.type, f"c{i}", FIXED_STANDARD)
        parts.append(f"{key} || {text}")
    return " || ".join([*parts, "'}'"])


def _machine(t: Type, x: str) -> str:
    """SQL of `x` as programs read it, NULL for NULL."""
    if t.is_timestamp or t.kind == "TIME":
        return fixed_time_text(t, x)
    return f"to_base64({x})" if t.kind in BYTES else _plain(t, x)


def _plain(t: Type, x: str) -> str:
    if t.kind in INTERVALS:
        return interval_text(x, t, 6)
    if t.fields:
        return f"CASE WHEN {x} IS NOT NULL THEN {json_text(t, x, FIXED_STANDARD)} END"
    return x if t.is_string else plain_text(t, x)


def _quoted(x: str) -> str:
    special = (
        f"{x} = '' OR contains({x}, ',') OR contains({x}, '\"') OR contains({x}, chr(10)) OR contains({x}, chr(13))"
    )
    return f"CASE WHEN {special} THEN '\"' || replace({x}, '\"', '\"\"') || '\"' ELSE {x} END"
