"""Columns and options of files that nobody declared, told from a bounded look at them.

The first files by name, and the beginning of each: whole records, decompressed, copied to where DuckDB can open them. So
remote, compressed and streamed files need nothing of their own. Of parquet and Avro the first file tells the columns.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from sqlstream import stores as remote
from sqlstream.connectors.blocks import BOM
from sqlstream.connectors.partitions import unescaped
from sqlstream.connectors.paths import (
    FileEntry,
    compression_of,
    damaged_hint,
    open_binary,
    opened,
    opens_by_name,
)
from sqlstream.connectors.streams import STDIN, is_stream, peek
from sqlstream.contracts import TableContext
from sqlstream.errors import DataError, NotSupported
from sqlstream.formats.base import Format, Sample
from sqlstream.formats.cursor import own_cursor
from sqlstream.formats.inference import type_of_values
from sqlstream.options import Option
from sqlstream.secrets import shown_value
from sqlstream.stores import Stores
from sqlstream.types import Type

OPTIONS = (
    Option("schema.sample-files", "int", 10,
           "so many files, the first by name, are looked at for the columns of a table that is declared without",
           minimum=1, compared="nothing"),
    Option("schema.sample-size", "memory", 8 * 2**20,
           "so much of these files, in equal parts and decompressed", minimum=1, compared="nothing"),
)  # fmt: skip
_EXTENSIONS = {
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
    "csv": "csv",
    "tsv": "csv",
    "parquet": "parquet",
    "avro": "avro",
}
_LONGEST = 64 * 2**20  # bytes of a record that is looked at
_WHOLE = ("parquet", "avro")  # formats of which a beginning is not enough
_MAGIC = {
    b"PAR1": "parquet",
    b"Obj\x01": "avro",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
}
_DEFAULT_NAME = "partition.default-name"
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Told:
    """What files say of themselves. `options`: those that were not given. `partitions`: columns of directories."""

    columns: list[tuple[str, Type]]
    options: dict[str, str] = field(default_factory=dict)
    partitions: list[tuple[str, Type]] = field(default_factory=list)


def no_data(path: str, hint: str = "write the columns: CREATE TABLE t (a INT, …) WITH (…)") -> DataError:
    """There is nothing to look at."""
    return DataError(f"no data in '{shown_value('', path)}' to tell columns from", hint=hint)


def format_by_name(path: str) -> str | None:
    """The format that the end of a file's name says; None where it says none."""
    name = os.path.basename(path)
    if compression_of(name):
        name = os.path.splitext(name)[0]
    return _EXTENSIONS.get(os.path.splitext(name)[1][1:].lower())


def guessed_format(
    files: Sequence[FileEntry], stores: Stores, canceled: Callable[[], bool], said: str
) -> dict[str, str]:
    """Option 'format' of files, and the delimiter that a .tsv has: by their names, else by how the first one begins.
    `said`: what to write where that cannot be told."""
    by_name = {f.path: format_by_name(f.path) for f in files}
    there = {v: k for k, v in reversed(by_name.items())}
    if len(there) > 1:
        names = ", ".join(f"{os.path.basename(k)} ({v or 'unknown'})" for v, k in sorted(there.items(), key=str))
        raise DataError(
            f"files of several formats: {names}", hint="a narrower glob, such as 'logs/*.json', or UNION ALL of several"
        )
    (form,) = there
    if form is not None:
        tabs = all(os.path.basename(f.path).lower().partition(".tsv")[1] for f in files)
        return {"format": form, **({"csv.field-delimiter": "\\t"} if tabs else {})}
    first = files[0].path
    stream = is_stream(first)
    if stream:
        head, _ = peek(first, 2**20, canceled)
    else:
        with _reading(first), opened(first, 0, stores) as file:
            head = file.read(512)
    found = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    if found in _WHOLE and not stream:
        return {"format": found}
    if found is not None:
        how = (
            "write it to a file, whose end says where the rows are" if found in _WHOLE else f"unpack it first ({found})"
        )
        raise NotSupported(f"{first} begins as a {found} file, which is not read so", hint=how)
    if not head:
        raise no_data(first)
    start = head.removeprefix(BOM).lstrip()[:1]
    if start in (b"{", b"["):
        return {"format": "json"}
    if first == STDIN or stream:  # which no read_csv is needed for
        return {"format": "csv"}
    raise DataError(f"'{shown_value('', first)}': its name does not say what format it has", hint=said)


def told(
    table: TableContext,
    files: Sequence[FileEntry],
    form: Format,
    options: Mapping[str, Any],
    guesses: bool,
    canceled: Callable[[], bool],
    root: str,
    columns: bool = True,
) -> Told:
    """What `files` (not empty) say; without `columns` only how they are read. `guesses`: options that are not given are told, too, and so are partitions, which
    are in the names of directories below `root`. DataError that names file and line where they say nothing."""
    chosen = [f for f in files if f.size or is_stream(f.path)][: options["schema.sample-files"]]
    partitions, null = [], options[_DEFAULT_NAME]
    if guesses and not table.partitioned_by:
        values = _partitions(files, root)
        if _DEFAULT_NAME not in table.options and any(_HIVE_NULL in vs for vs in values.values()):
            null = _HIVE_NULL
        partitions = _partition_types(values, null)
    cursor = own_cursor()
    with sampled(chosen, options["schema.sample-size"], form, options, table.stores, canceled) as sample:
        try:
            found = form.guess(cursor, sample, table.options, options) if guesses else {}
            found |= {_DEFAULT_NAME: null} if null != options[_DEFAULT_NAME] else {}
            if not columns:
                return Told([], found, partitions)
            there = form.infer(cursor, sample, {**options, **_converted(form, found)})
        except duckdb.Error as e:
            raise DataError(sample.named(f"{sample.names[0]}: {str(e).splitlines()[0]}")) from e
    _check_names(table, there, sample.names[0])
    names = {n for n, _ in partitions}
    if form.name == "csv" and (both := [n for n, _ in there if n in names]):
        raise NotSupported(
            f"'{both[0]}' is a column of {sample.names[0]}, and a directory's name", hint="write the columns"
        )
    return Told([c for c in there if c[0] not in names], found, partitions)


def _converted(form: Format, found: Mapping[str, str]) -> dict[str, Any]:
    return {o.key: o.convert(found[o.key]) for o in form.options if o.key in found}


def _check_names(table: TableContext, columns: Sequence[tuple[str, Type]], path: str) -> None:
    if not columns:
        raise DataError(f"{path}: its records have no fields", hint="write the columns")
    names = [n for n, _ in columns]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        hint = "columns => 'a STRING, b STRING, …' gives them names"
        if "csv.header" in table.options or path.endswith("csv"):
            hint += "; with csv.header => false the first line is a record like others"
        raise DataError(f"{path}: two columns are called '{twice[0]}'", hint=hint)


# ---- samples


@contextlib.contextmanager
def sampled(
    files: Sequence[FileEntry],
    size: int,
    form: Format,
    options: Mapping[str, Any],
    stores: Stores,
    canceled: Callable[[], bool],
) -> Iterator[Sample]:
    """The beginnings of files, `size` bytes in all, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="sqlstream-sample-") as directory:
        paths, whole = [], True
        for number, f in enumerate(files):
            target = os.path.join(directory, f"{number}.{form.extension}")
            with _reading(f.path):
                if form.blocks:
                    data, all_of_it = _beginning(f.path, size // len(files), form, options, stores, canceled)
                    Path(target).write_bytes(data)
                    whole = whole and all_of_it
                    paths.append(target)
                else:
                    paths.append(f.path if opens_by_name(f.path) else _first_rows(f.path, target, form, stores))
        names = tuple(shown_value("", f.path) for f in files)
        yield Sample(tuple(paths), names, whole and len(paths) == len(files), any(is_stream(f.path) for f in files))


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Errors of reading a file name it, and say what may help."""
    try:
        with remote.os_errors():
            yield
    except (OSError, EOFError, pa.ArrowException) as e:
        hint = (remote.hint(e, path) if isinstance(e, OSError) else None) or damaged_hint(path)
        if isinstance(e, PermissionError):
            hint = hint or "check its permissions"
        reason = remote.reason(e) if isinstance(e, OSError) else str(e).splitlines()[0]
        raise DataError(f"{shown_value('', path)} cannot be read: {reason}", hint=hint) from e


def _beginning(
    path: str, size: int, form: Format, options: Mapping[str, Any], stores: Stores, canceled: Callable[[], bool]
) -> tuple[bytes, bool]:
    """Whole records, of `size` bytes or one record if that is longer; and whether these are all."""
    if is_stream(path):
        if compression_of(path):
            raise NotSupported(f"{path} is a pipe of compressed data", hint="unpack it before: zcat file.gz | …")
        data, whole = peek(path, size, canceled)
        if len(data) > size:  # it came at once
            data, whole = data[: max(size, data.find(b"\n") + 1)], False
    else:
        with opened(path, 0, stores) as file:
            data, whole = _read(file, size)
            while not whole and len(data) < _LONGEST and not form.whole(data.removeprefix(BOM), options):
                more, whole = _read(file, len(data))
                data += more
    data = data.removeprefix(BOM)
    return (data, True) if whole else (data[: form.whole(data, options)], False)


def _read(file: Any, size: int) -> tuple[bytes, bool]:
    pieces, left = [], size
    while left > 0 and (piece := bytes(file.read(left))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces), left > 0


def _first_rows(path: str, target: str, form: Format, stores: Stores) -> str:
    """A file with the beginning of one that is not read by its name."""
    with open_binary(path, stores) as file:
        form.beginning(file, target)
    return target


# ---- partitions


def _partitions(files: Sequence[FileEntry], root: str) -> dict[str, list[str]]:
    """The values of directories key=value below `root`, where all files are in such ones of the same keys."""
    keys: list[str] | None = None
    values: dict[str, list[str]] = {}
    for f in files:
        parts = os.path.relpath(f.path, root).split("/")[:-1] if f.path.startswith(root) else []
        pairs = [p.partition("=") for p in parts]
        here = [unescaped(k) for k, eq, _ in pairs if eq and k]
        if len(here) != len(parts) or (keys is not None and here != keys):
            return {}
        keys = here
        for key, (_, _, value) in zip(here, pairs, strict=True):
            values.setdefault(key, []).append(unescaped(value))
    return values


def _partition_types(values: Mapping[str, list[str]], null: str) -> list[tuple[str, Type]]:
    """The columns of such directories, of which one that is called `null` says nothing."""
    cursor = own_cursor()
    return [(k, type_of_values(cursor, [v for v in dict.fromkeys(vs) if v != null])) for k, vs in values.items()]


__all__ = ["OPTIONS", "Told", "format_by_name", "guessed_format", "sampled", "told"]
