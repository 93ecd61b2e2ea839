"""Which formats a table of messages has for values and keys, by Flink's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlstream.connectors.messages.decoder import OF_VALUE, PartFormat
from sqlstream.contracts import FAIL, SKIP, TableContext
from sqlstream.errors import BindError, NotSupported, OptionError, did_you_mean
from sqlstream.formats.base import Format
from sqlstream.formats.registry import FORMATS, format_named
from sqlstream.options import Option
from sqlstream.types import Schema, Type

BAD_RECORDS, IGNORE = "source.bad-records", "ignore-parse-errors"
VALUE_OPTIONS = (
    Option("format", doc="the format of values; 'value.format' is another name of it"),
    Option("value.format", doc="the format of values; 'format' is another name of it"),
    Option(BAD_RECORDS, "string", FAIL,
           "what becomes of malformed messages: fail: the job does; skip: they are left out, and counted; else the name of the "
           "table that gets them, from jobs that write (INSERT): its columns are some of bad_table, bad_file (the partition), "
           "bad_line (the offset), bad_reason, bad_record (STRING), bad_bytes (BYTES), bad_time", compared="nothing"),
)  # fmt: skip
KEY_OPTIONS = (
    Option("key.format", doc="the format of keys; they are not read or written without it"),
    Option("key.fields", doc="the columns that stand in keys, with ';' between"),
    Option("key.fields-prefix", "string", "", "what stands before the names of these columns, and not before those in keys"),
    Option("value.fields-include", "enum", "ALL", "whether the columns of keys stand in values, too",
           ("ALL", "EXCEPT_KEY")),
)  # fmt: skip


def format_options(given: Mapping[str, str]) -> tuple[Option, ...]:
    """The options of the formats that a table names: those of 'value.format' and 'key.format' begin with `value.` and `key.`."""
    found: list[Option] = []
    for key, prefix in (("format", ""), ("value.format", "value."), ("key.format", "key.")):
        if key in given:
            for o in message_format(given[key]).options:
                found.append(replace(o, key=prefix + o.key, former=tuple(prefix + f for f in o.former)))
    return tuple(found)


def value_metadata(given: Mapping[str, str]) -> dict[str, Type]:
    """The METADATA keys that a table's format of values has, with their types."""
    found = [message_format(given[key]) for key in ("format", "value.format") if key in given]
    return {f"{OF_VALUE}{key}": t for f in found for key, t in f.metadata.items()}


def message_format(name: str) -> Format:
    """A format whose records may be messages."""
    found = format_named(name)
    if not found.messages:
        raise NotSupported(
            f"format '{name}' is one of files: a message cannot have it",
            hint=f"formats of messages: {', '.join(n for n, f in FORMATS.items() if f.messages)}",
        )
    return found


def value_format(table: TableContext, options: Mapping[str, Any], excluded: tuple[str, ...] = ()) -> PartFormat:
    """The format of values, which have all physical columns but those that are `excluded`."""
    both = {"format": options.get("format"), "value.format": options["value.format"]}
    given = [k for k, v in both.items() if v is not None]
    if len(given) != 1:
        what = "both 'format' and 'value.format' are set" if given else "option 'format' is missing"
        raise OptionError(f"table {table.name}: {what}", hint="'format' = 'json' is how values are written")
    columns = [c.name for c in table.schema if c.name not in excluded]
    return _part(table, options, given[0], {c: c for c in columns})


def key_columns(table: TableContext, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that stand in keys. OptionError where the options do not fit one another."""
    name, fields, prefix = options["key.format"], options["key.fields"], options["key.fields-prefix"]
    if name is None:
        for key in ("key.fields", "key.fields-prefix"):
            if options[key]:
                raise OptionError(
                    f"table {table.name}: option '{key}' without 'key.format'", hint="'key.format' = 'raw'"
                )
        return ()
    found = tuple(f.strip() for f in (fields or "").split(";") if f.strip())
    if not found:
        raise OptionError(
            f"table {table.name}: option 'key.format' without 'key.fields'",
            hint="'key.fields' = 'a column;another one'",
        )
    names = table.schema.names
    for f in found:
        if f not in names:
            raise BindError(
                f"table {table.name}: option 'key.fields': there is no column '{f}'",
                hint=did_you_mean(f, names, "columns"),
                subject=f,
            )
        if not f.startswith(prefix):
            raise OptionError(
                f"table {table.name}: option 'key.fields-prefix' = '{prefix}', and column '{f}' does not begin with it"
            )
    if prefix and options["value.fields-include"] == "ALL":
        raise OptionError(
            f"table {table.name}: option 'key.fields-prefix' needs 'value.fields-include' = 'EXCEPT_KEY': values do not have "
            "columns of these names"
        )
    return found


def key_format(table: TableContext, options: Mapping[str, Any], columns: tuple[str, ...]) -> PartFormat | None:
    """The format of keys, of these columns."""
    prefix = options.get("key.fields-prefix") or ""
    return _part(table, options, "key.format", {c: c.removeprefix(prefix) for c in columns}) if columns else None


def _part(table: TableContext, options: Mapping[str, Any], key: str, columns: dict[str, str]) -> PartFormat:
    form = message_format(options[key])
    prefix = key.removesuffix("format")
    own = {o.key: options[prefix + o.key] for o in form.options if not o.key.endswith(".*")}
    for o in form.options:
        if o.key.endswith(".*"):
            own |= {k.removeprefix(prefix): v for k, v in options.items() if k.startswith(prefix + o.key[:-1])}
    schema = Schema(tuple(replace(c, name=columns[c.name]) for c in table.schema if c.name in columns))
    primary = tuple(columns[k] for k in table.primary_key if k in columns)
    inner = replace(table, schema=schema, options={"format": form.name, **own}, primary_key=primary)
    form.check(inner, own)
    return PartFormat(form, inner, columns, own, prefix)


def with_subject(part: PartFormat, subject: str) -> PartFormat:
    """A part whose schemas are registered, under a subject if none is said."""
    key = f"{part.format.name}.subject"
    if not part.format.registers or part.options.get(key):
        return part
    return replace(part, options={**part.options, key: subject})


def bad_records(table: TableContext, options: Mapping[str, Any], parts: tuple[PartFormat | None, ...]) -> str:
    """FAIL, SKIP, or the table that malformed messages go to: by our option, or by Flink's of the formats."""
    given = str(options[BAD_RECORDS])
    if not given.strip():
        raise OptionError(f"table {table.name}: option '{BAD_RECORDS}' is empty", hint="fail, skip, or a table's name")
    for part in parts:
        key = "" if part is None else f"{part.format.name}.{IGNORE}"
        if part is not None and part.options.get(key):
            if BAD_RECORDS in table.options and given != SKIP:
                raise OptionError(
                    f"table {table.name}: '{part.prefix}{key}' = 'true' skips malformed records, and '{BAD_RECORDS}' is "
                    f"'{given}'",
                    hint=f"leave '{part.prefix}{key}' out",
                )
            return SKIP
    return given
