"""Values as text, by DuckDB: SQL expressions over the engine's columns c0, c1, …

Times have as many digits as their type's precision. An instant (TIMESTAMP_LTZ) is shown in the session's time zone
in tables, and in UTC with a Z where programs read it. Nested values are JSON.
"""

from __future__ import annotations

import json

from sqlstream.formats.conversion import FIXED_STANDARD, literal
from sqlstream.formats.json_encode import fixed_time_text, json_text, plain_text
from sqlstream.types import BYTES, INTERVALS, Schema, Type


def table_text(t: Type, x: str, zone: str) -> str:
    """SQL of `x` as a cell of a table; NULL stays NULL."""
    if t.is_timestamp or t.kind == "TIME":
        return fixed_time_text(t, x, zone)
    if t.kind in BYTES:
        return f"'x''' || lower(hex({x})) || ''''"
    return _plain(t, x)


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
    quoted = ['"' + n.replace('"', '""') + '"' if any(c in n for c in ',"\r\n') or not n else n for n in names]
    return ",".join(quoted) + "\n"


def json_line(names: list[str], schema: Schema) -> str:
    """SQL of a row as a JSON object: decimals are numbers, times and intervals strings, bytes base64."""
    parts = []
    for i, (name, c) in enumerate(zip(names, schema, strict=True)):
        key = literal(("," if i else "{") + json.dumps(name, ensure_ascii=False) + ":")
        if c.type.kind in INTERVALS:
            text = f"coalesce('\"' || {_interval(c.type, f'c{i}')} || '\"', 'null')"
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
        return _interval(t, x)
    if t.fields:
        return f"CASE WHEN {x} IS NOT NULL THEN {json_text(t, x, FIXED_STANDARD)} END"
    return x if t.is_string else plain_text(t, x)


def _interval(t: Type, x: str) -> str:
    """Flink's form: +1 02:03:04.000000 for days to seconds, +1-02 for years and months."""
    sign, size = f"CASE WHEN {x} < 0 THEN '-' ELSE '+' END", f"abs({x})"
    if t.kind == "INTERVAL_MONTH":
        return f"({sign} || format('{{}}-{{:02d}}', {size} // 12, {size} % 12))"
    parts = ", ".join(
        f"{size} // {unit}{rest}"
        for unit, rest in (
            (86_400_000_000, ""),
            (3_600_000_000, " % 24"),
            (60_000_000, " % 60"),
            (1_000_000, " % 60"),
            (1, " % 1000000"),
        )
    )
    return f"({sign} || format('{{}} {{:02d}}:{{:02d}}:{{:02d}}.{{:06d}}', {parts}))"


def _quoted(x: str) -> str:
    special = (
        f"{x} = '' OR contains({x}, ',') OR contains({x}, '\"') OR contains({x}, chr(10)) OR contains({x}, chr(13))"
    )
    return f"CASE WHEN {special} THEN '\"' || replace({x}, '\"', '\"\"') || '\"' ELSE {x} END"
