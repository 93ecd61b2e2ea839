"""Partitions of a table of files: directories `dt=2026-01-01/hour=10`, made of the values of its partition columns.

As Hive has them, and Flink: in the order of PARTITIONED BY, characters that mean something in a path escaped (`%2F`),
NULL and the empty string under `partition.default-name`, which is read as NULL. The columns are not in the files.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.connectors.print import column_text
from sqlstream.connectors.tree import hidden
from sqlstream.contracts import ScanColumn, ScanRequest, TableContext
from sqlstream.errors import DataError, NotSupported, OptionError, did_you_mean
from sqlstream.formats.conversion import literal
from sqlstream.formats.cursor import own_cursor
from sqlstream.types import Column, Schema, Type

_ESCAPED = re.compile(r"""[\x00-\x1f"#%'*/:=?\\\x7f{\[\]^]""")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_KINDS = ("BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "CHAR", "VARCHAR", "DATE",
          "TIMESTAMP")  # fmt: skip
_INTEGER = re.compile(r"[+-]?\d+")
PARTITION = "$partition."  # before a column's name: the key of its constant in a scan


def escaped(text: str) -> str:
    """As a part of a path."""
    return _ESCAPED.sub(lambda m: f"%{ord(m.group()):02X}", text)


def unescaped(text: str) -> str:
    """The inverse of `escaped`."""
    return _ESCAPE.sub(lambda m: chr(int(m.group(1), 16)), text)


@dataclass(frozen=True)
class Partitions:
    """The partition columns of a table. `default`: what stands for NULL and the empty string."""

    table: str
    columns: tuple[Column, ...]
    default: str

    def __bool__(self) -> bool:
        return bool(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, in the order of PARTITIONED BY."""
        return tuple(c.name for c in self.columns)

    # ---- writing

    def directories(self, batch: pa.RecordBatch) -> tuple[np.ndarray, list[str]]:
        """For each row of `batch` (under the users' names) which of the directories it belongs to."""
        codes = np.zeros(batch.num_rows, np.int64)
        levels: list[list[str]] = []
        for c in self.columns:
            encoded = batch.column(c.name).dictionary_encode()
            texts = column_text(encoded.dictionary, c.type).to_pylist()
            parts = [self._part(c.name, t) for t in texts] + [self._part(c.name, None)]
            codes = codes * len(parts) + encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
            levels.append(parts)
        found, at = np.unique(codes, return_inverse=True)
        names = [self._name(int(code), levels) for code in found]
        number = {name: i for i, name in enumerate(dict.fromkeys(names))}  # NULL and '' are one
        return np.array([number[n] for n in names])[at], list(number)

    def _name(self, code: int, levels: list[list[str]]) -> str:
        parts = []
        for level in reversed(levels):
            code, at = divmod(code, len(level))
            parts.append(level[at])
        return "/".join(reversed(parts))

    def _part(self, name: str, text: str | None) -> str:
        return f"{escaped(name)}={escaped(text or self.default)}"

    # ---- reading

    def texts(self, directory: str) -> dict[str, str] | None:
        """The texts in the last directories of this path that are a partition's; None when it has none."""
        parts = directory.split("/")
        for last in range(len(parts), len(self.columns) - 1, -1):
            pairs = [p.partition("=") for p in parts[last - len(self.columns) : last]]
            if all(sep and unescaped(key) == c.name for (key, sep, _), c in zip(pairs, self.columns, strict=True)):
                return {c.name: unescaped(text) for (_, _, text), c in zip(pairs, self.columns, strict=True)}
        return None

    def is_partition(self, directory: str) -> bool:
        """Whether it is the directory of one partition, as `directories` makes them."""
        parts = directory.split("/")
        named = zip(parts, self.columns, strict=False)
        return len(parts) == len(self.columns) and all(p.startswith(f"{escaped(c.name)}=") for p, c in named)

    def constants(self, path: str) -> dict[str, str]:
        """SQL of the columns of a file, by key. DataError when its path has no values, or wrong ones."""
        if not self.columns:
            return {}
        texts = self.texts(path.rpartition("/")[0])
        if texts is None:
            wanted = "/".join(f"{escaped(n)}=…" for n in self.names)
            raise DataError(
                f"table {self.table}: {path} is in no partition",
                hint=f"the table is PARTITIONED BY ({', '.join(self.names)}): its files are in directories {wanted}",
            )
        return {PARTITION + c.name: self._constant(c, texts[c.name], path) for c in self.columns}

    def _constant(self, column: Column, text: str, path: str) -> str:
        kind = column.type.duckdb()
        if text == self.default:
            if not column.type.nullable:
                raise DataError(
                    f"table {self.table}: {path}: partition column '{column.name}' is NULL, and NOT NULL",
                    hint=f"'{self.default}' is NULL ('partition.default-name')",
                )
            return f"CAST(NULL AS {kind})"
        if column.type.is_string:
            return " || chr(0) || ".join(literal(part) for part in text.split("\0"))
        if not _is_value(text, column.type, kind):
            raise DataError(
                f"table {self.table}: {path}: '{text}' is no {column.type.text()} for partition column '{column.name}'",
                hint="move the file to a directory of a value, or declare the column STRING",
            )
        return f"CAST({literal(text)} AS {kind})"

    def request(self, request: ScanRequest) -> ScanRequest:
        """`request` with partition columns as metadata, which a reader has as constants of a file."""
        if not self.columns:
            return request
        columns = tuple(
            ScanColumn(("$metadata", PARTITION + c.path[0]), c.type) if c.path[0] in self.names else c
            for c in request.columns
        )
        return replace(request, columns=columns)


@functools.lru_cache(4096)
def _is_value(text: str, t: Type, kind: str) -> bool:
    if t.is_integer and not _INTEGER.fullmatch(text):
        return False
    if t.kind == "BOOLEAN":
        return text.lower() in ("true", "false")
    try:
        found = own_cursor().execute(f"SELECT TRY_CAST(? AS {kind}) IS NOT NULL", [text]).fetchone()
    except duckdb.Error:
        return False
    return found is not None and bool(found[0])


def partitions_of(table: TableContext, options: Mapping[str, Any]) -> tuple[Partitions, TableContext]:
    """The partition columns, and the table as its files have it: without them. OptionError, NotSupported."""
    default = options["partition.default-name"]
    columns = []
    for name in table.partitioned_by:
        found = next((c for c in table.schema if c.name == name), None)
        if found is None:
            raise OptionError(
                f"table {table.name}: PARTITIONED BY '{name}': there is no such stored column",
                hint=did_you_mean(name, [c.name for c in table.schema], "columns"),
            )
        if found.type.kind not in _KINDS:
            raise NotSupported(
                f"table {table.name}: PARTITIONED BY '{name}', which is {found.type.text()}: its values are no names",
                hint="partition by a STRING, a number, a DATE, a TIMESTAMP or a BOOLEAN; CAST it in the query",
            )
        if hidden(name):
            raise NotSupported(
                f"table {table.name}: PARTITIONED BY '{name}': readers pass over directories that begin with _ or .",
                hint="rename the column",
            )
        columns.append(found)
    if len(set(table.partitioned_by)) != len(columns):
        raise OptionError(f"table {table.name}: PARTITIONED BY names a column twice")
    if columns and len(columns) == len(table.schema):
        raise OptionError(
            f"table {table.name}: all its columns are partition columns, so its files would have none",
            hint="leave one out of PARTITIONED BY",
        )
    if not default:
        raise OptionError(f"table {table.name}: option 'partition.default-name' is empty")
    rest = Schema(tuple(c for c in table.schema if c.name not in table.partitioned_by))
    return Partitions(table.name, tuple(columns), default), replace(table, schema=rest)
