"""read_json('logs/*.json', monitor_interval => '1 s'): files as a table, with the options of CREATE TABLE as arguments."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping

from sqlstream.catalog.objects import STANDARD_INPUT, Files
from sqlstream.errors import BindError, NotSupported, OptionError, did_you_mean
from sqlstream.options import Option, find
from sqlstream.sql.ast import TableFunction, exp, position_of
from sqlstream.sql.printing import sql_of
from sqlstream.sql.statements import Options

# The functions, by the format that they read.
FILE_FUNCTIONS = {
    "READ_CSV": "csv",
    "READ_DEBEZIUM_JSON": "debezium-json",
    "READ_JSON": "json",
    "READ_PARQUET": "parquet",
    "READ_AVRO": "avro",
}
_COLUMNS, _TYPES = "columns", "types"  # arguments that are no options
# What the functions of the same names in DuckDB, Spark and pandas call it.
_ELSEWHERE = {
    "delim": "field_delimiter", "sep": "field_delimiter", "delimiter": "field_delimiter", "quote": "quote_character",
    "escape": "escape_character", "nullstr": "null_literal", "null_value": "null_literal", "schema": _COLUMNS,
    "dtypes": _TYPES, "dtype": _TYPES, "ignore_errors": "ignore_parse_errors", "sample_size": "sample_size",
    "monitor": "monitor_interval", "comment": "allow_comments",
}  # fmt: skip
_TOLD = {
    "hive_partitioning": "directories key=value are partitions without being told so",
    "union_by_name": "columns of JSON and Parquet are found by their names",
    "filename": "METADATA columns have it: columns => '…, name STRING METADATA FROM ''file.name'''",
    "auto_detect": "columns => '…' says them all, and nothing is guessed",
    "compression": "the end of a file's name says how it is compressed: .gz, .zst, .bz2, .lz4",
}


def alias_of(path: str) -> str:
    """The name that columns of these files may be written with, unless there is AS: `orders` of 'data/orders.json.gz'."""
    if glob.has_magic(os.path.basename(path)):
        path = os.path.dirname(path)
    return os.path.basename(path.rstrip("/")).partition(".")[0] or path


def files_of(function: str, node: TableFunction, hint: Options = ()) -> Files:
    """The call of a function of FILE_FUNCTIONS; the options of its hint win over arguments."""
    name, form = function.lower(), FILE_FUNCTIONS[function]
    example = f"{name}('logs/*.{form.partition('-')[0]}', monitor_interval => '1 s')"
    known = _options(form)
    paths, given = list[str](), dict[str, str]()
    for a in node.expressions:
        if not isinstance(a, exp.Kwarg):
            if given or paths:
                more = "a glob, such as 'logs/*', reads several files" if paths else example
                raise BindError(f"{name} takes one path, and then options", hint=more, position=position_of(a))
            paths.append(_text(name, "the path", a, example))
            continue
        key = _key(name, form, a, known)
        if key in given:
            raise BindError(f"{name}: argument '{a.this.name}' is given twice", position=position_of(a))
        given[key] = _text(name, f"argument '{a.this.name}'", a.expression, example)
        if key in known:
            _check(known[key], given[key], name, a)
    path = paths[0] if paths else given.pop("path", None)
    if path is None or (paths and "path" in given):
        raise BindError(f"{name} takes one path", hint=example, position=position_of(node))
    if not path.strip():
        raise BindError(f"{name}: the path is empty", hint=example, position=position_of(node))
    columns, types = given.pop(_COLUMNS, None), given.pop(_TYPES, None)
    if columns is not None and types is not None:
        raise BindError(
            f"{name}: columns and types are two ways to say the same",
            hint="columns => '…' says all of them, types => '…' those that are to be others than what is found",
            position=position_of(node),
        )
    return Files(path, tuple({"format": form, **given, **dict(hint)}.items()), columns, types)


def _options(form: str) -> dict[str, Option]:
    from sqlstream.connectors.filesystem import FilesystemConnector

    known = FilesystemConnector().known_options({"format": form})
    return {o.key: o for o in known if o.key != "format" and not o.key.startswith("sink.")}


def _short(key: str, form: str) -> str:
    return _folded(re.sub(rf"^({re.escape(form)}|source|schema)\.", "", key))


def _folded(key: str) -> str:
    return re.sub(r"[.-]", "_", key).lower()


def _key(name: str, form: str, a: exp.Expression, known: Mapping[str, Option]) -> str:
    """The option that an argument means: by its key, or without its first word, with _ for . and -."""
    written = str(a.this.name)
    if written.lower() in (_COLUMNS, _TYPES):
        return written.lower()
    if find(known.values(), written) is not None:
        return written
    folded = _folded(written)
    names = {_short(k, form): k for k in known} | {_folded(k): k for k in known}
    if folded in names:
        return names[folded]
    if folded in _TOLD:
        hint = _TOLD[folded]
    elif folded in _ELSEWHERE and (_ELSEWHERE[folded] in names or _ELSEWHERE[folded] in (_COLUMNS, _TYPES)):
        hint = f"it is {_ELSEWHERE[folded]} here"
    else:
        hint = did_you_mean(folded, [_COLUMNS, _TYPES, *(_short(k, form) for k in known)], "arguments")
    raise OptionError(f"{name} has no argument '{written}'", hint=hint, position=position_of(a))


def _text(name: str, what: str, e: exp.Expression, example: str) -> str:
    """The value of a constant as options have it."""
    if isinstance(e, exp.Literal):
        return str(e.this)
    if isinstance(e, exp.Boolean):
        return "true" if e.this else "false"
    if isinstance(e, exp.Neg) and isinstance(e.this, exp.Literal):
        return f"-{e.this.this}"
    if isinstance(e, exp.Array):
        raise NotSupported(
            f"{name}: {what} is a list",
            hint="a glob reads several files: 'logs/*', or UNION ALL",
            position=position_of(e),
        )
    raise BindError(
        f"{name}: {what} is a constant in single quotes, not {sql_of(e)[:60]}", hint=example, position=position_of(e)
    )


def _check(option: Option, text: str, name: str, a: exp.Expression) -> None:
    try:
        option.convert(text, f"{name}: option")
    except OptionError as e:
        e.position = position_of(a)
        raise


__all__ = ["FILE_FUNCTIONS", "STANDARD_INPUT", "alias_of", "files_of"]
