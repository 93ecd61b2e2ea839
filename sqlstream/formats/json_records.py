"""The records layer of JSON lines: chosen leaves of each line's object, checked and converted.

Two ways to get at the leaves. *By structure*: `read_json` with `columns={…}` built of the requested paths, so that
DuckDB decodes nothing else; this is the fast one. *By document*: every line as one JSON value and the leaves by
JSON pointer; slower (0.8 M events/s), for what the structure cannot say: names that differ only by case, and
missing fields told from NULL ones. A line that is `null` is a record with every field NULL, in both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.errors import NotSupported
from sqlstream.formats.base import Bad, Examined
from sqlstream.formats.conversion import (
    SQL_STANDARD,
    checked_not_null,
    convert,
    is_scalar,
    literal,
    pointer,
    quoted,
    raw_type,
)
from sqlstream.formats.json_numbers import ExactNumbers
from sqlstream.formats.readers import FILE, LONGEST_OBJECT, Paths, json_call
from sqlstream.types import STRING, Type


@dataclass(frozen=True)
class Leaf:
    """Column `name` of the records layer: the value at `path` of the JSON object."""

    name: str
    path: tuple[str, ...]
    type: Type
    presence: str | None = None  # the value is whether an object is there; this names a field it may have
    document: str = (
        ""  # SQL of the value over `j`, the record as JSON, where a path cannot say it; `path` is what it looks at
    )

    @property
    def of_record(self) -> bool:
        """Whether it is about the record as a whole: no record is `null`."""
        return not self.path


@dataclass(frozen=True)
class Rule:
    """A record for which `wrong` (SQL over the leaves' names) holds is malformed."""

    wrong: str
    reason: str


@dataclass(frozen=True)
class JsonRecords:
    """SQL of the leaves of files, or of blocks in a `Slot`.

    fail_on_missing  a record without one of the leaves is malformed
    rules            which records else are
    kept             SQL over `j`, the record as JSON: one for which it does not hold is as one that is `null`
    """

    leaves: tuple[Leaf, ...]
    standard: str = SQL_STANDARD
    fail_on_missing: bool = False
    rules: tuple[Rule, ...] = ()
    as_text: frozenset[str] = frozenset()  # leaves that are given as their text, unchecked
    kept: str = ""

    @cached_property
    def by_document(self) -> bool:
        """Whether the structure of the leaves cannot say what they are: see above."""
        return (
            self.fail_on_missing
            or bool(self.kept)
            or any(leaf.document for leaf in self.leaves)
            or _overlaps(self.leaves)
            or _collides(leaf.path for leaf in self.leaves)
            or any(_row_collides(leaf.type) for leaf in self.leaves)
        )

    def sql(self, paths: Paths, file: bool = False, longest: int = LONGEST_OBJECT) -> str:
        """One row a record, one column a leaf, in order. `file`: and its file; `longest`: as in `Decoder.records`."""
        return self.ruled(self._sql(paths, file, longest))

    def ruled(self, records: str) -> str:
        """The records, raising where a rule is broken: in the first column, since a filter may not raise."""
        if not self.rules:
            return records
        first = self.leaves[0].name
        cases = " ".join(
            f"WHEN {r.wrong} THEN (CASE WHEN CAST(concat({literal(r.reason)}, {first}) AS INTEGER) IS NULL THEN NULL END)"
            for r in self.rules
        )
        return f"SELECT * REPLACE (CASE {cases} ELSE {first} END AS {first}) FROM ({records})"

    def _sql(self, paths: Paths, file: bool, longest: int) -> str:
        also = f", r.{FILE}" if file else ""
        if self.by_document:
            json = json_call(paths, {"j": "JSON"}, False, file, longest)
            json = f"(SELECT * REPLACE ({self._kept()} AS j) FROM {json})" if self.kept else json
            return f"SELECT {self._from_document(tolerant=False)}{also} FROM {json} AS r"
        tree: dict[str, Any] = {}
        for leaf in sorted(self.leaves, key=lambda leaf: (leaf.presence is not None, len(leaf.path))):
            if leaf.presence is not None:
                _put(tree, (*leaf.path, leaf.presence), STRING)
            else:
                _put(tree, leaf.path, leaf.type)
        if any(leaf.of_record for leaf in self.leaves):
            json, above = json_call(paths, {"j": _structure(tree)}, False, file, longest), ["r", "j"]
        else:
            columns = {n: _structure(t) for n, t in tree.items()} or {"-": "VARCHAR"}
            json, above = json_call(paths, columns, True, file, longest), ["r"]
        values = [self._value(leaf, ".".join([*above, *(quoted(p) for p in leaf.path)])) for leaf in self.leaves]
        return f"SELECT {', '.join(values) or '1 AS r0'}{also} FROM {json} AS r"

    def _kept(self) -> str:
        return f"CASE WHEN j IS NULL OR ({self.kept}) THEN j ELSE CAST('null' AS JSON) END"

    def _value(self, leaf: Leaf, x: str) -> str:
        if leaf.presence is not None:
            return f"{x} IS NOT NULL AS {leaf.name}"
        if leaf.name in self.as_text:
            return f"{x} AS {leaf.name}"
        value = convert(leaf.type, x, self.standard)
        if len(leaf.path) == 1:
            value = checked_not_null(leaf.type, value)
        return f"{value} AS {leaf.name}"

    def _from_document(self, tolerant: bool) -> str:
        """Select list over a column `j` (JSON). `tolerant`: values under TRY, and `_why`: the first thing wrong."""
        values: list[str] = []
        why = ["WHEN j IS NULL THEN 'it is not valid JSON'",
               "WHEN json_type(j) NOT IN ('OBJECT', 'NULL') THEN 'it is not a JSON object'"]  # fmt: skip
        checked: set[tuple[str, ...]] = set()
        twice: set[tuple[str, ...]] = set()
        for leaf in self.leaves:
            if leaf.document:
                values.append(f"{f'TRY({leaf.document})' if tolerant else leaf.document} AS {leaf.name}")
                continue
            shown, raising = ".".join(leaf.path), []
            for n in range(len(leaf.path)):
                if (above := leaf.path[:n]) and above not in checked:
                    checked.add(above)
                    reason = f"field {'.'.join(above)} is not an object"
                    other = f"WHEN json_type(j, {pointer(above)}) NOT IN ('OBJECT', 'NULL') THEN"
                    why.append(f"{other} {literal(reason)}")
                    raising.append(f"{other} {_raised(reason)}")
                if (
                    field := leaf.path[: n + 1]
                ) not in twice and not self.by_document:  # a document's value is the first
                    twice.add(field)
                    keys = f"json_keys(j, {pointer(above)})" if above else "json_keys(j)"
                    count = f"len(list_filter({keys}, lambda k: k = {literal(field[-1])}))"
                    reason = literal(f"duplicate key {'.'.join(field)}")
                    why.append(f"WHEN {count} > 1 THEN {reason}")
            if leaf.presence is not None:
                value = f"coalesce(json_type(j, {pointer(leaf.path)}), 'NULL') <> 'NULL'"
                values.append(f"{_unless(raising, value)} AS {leaf.name}")
                continue
            value = self._document_value(leaf.type, leaf.path)
            present = f"json_type(j, {pointer(leaf.path)}) <> 'NULL'"
            if self.fail_on_missing:
                parent = f"json_type(j, {pointer(leaf.path[:-1])})" if leaf.path[1:] else "json_type(j)"
                missing = f"{parent} = 'OBJECT' AND json_type(j, {pointer(leaf.path)}) IS NULL"
                why.append(f"WHEN {missing} THEN {literal(f'field {shown} is missing')}")
                raising.append(f"WHEN {missing} THEN {_raised(f'field {shown} is missing')}")
            value = _unless(raising, value)
            if len(leaf.path) == 1 and not leaf.type.nullable:
                reason = literal(f"field {shown} is NULL but its column is NOT NULL")
                why.append(f"WHEN coalesce({present}, false) = false THEN {reason}")
                value = checked_not_null(leaf.type, value)
            if is_scalar(leaf.type):
                text = f"left(json_extract_string(j, {pointer(leaf.path)}), 60)"
                reason = f"concat({literal(f'field {shown}: ')}, {text}, {literal(f' is not a {leaf.type.text()}')})"
                why.append(f"WHEN {present} AND TRY({value}) IS NULL THEN {reason}")
            values.append(f"{f'TRY({value})' if tolerant else value} AS {leaf.name}")
        values = values or ["1 AS r0"]
        if tolerant:
            values.append(f"CASE {' '.join(why)} END AS _why")
        return ", ".join(values)

    def _document_value(self, t: Type, path: tuple[str, ...]) -> str:
        if not is_scalar(t) and t.kind != "ROW" and _row_collides(t):
            raise NotSupported(
                f"field {'.'.join(path)}: rows inside {t.kind} with field names that differ only by case",
                hint="declare the field as STRING and take it apart with JSON functions",
            )
        return document_value(t, path, self.standard)

    @cached_property
    def numbers(self) -> ExactNumbers:
        """Those that need care."""
        return ExactNumbers.of((leaf.path[-1], leaf.type) for leaf in self.leaves if leaf.presence is None)

    def examine(self, cursor: duckdb.DuckDBPyConnection, block: bytes) -> Examined | None:
        """The good and bad records of `block`; None if some leaf is nested (TRY gives no reason inside one)."""
        if not all(is_scalar(leaf.type) for leaf in self.leaves):
            return None
        numbers, lines = lines_of(self.numbers.quoted(block))
        if not len(numbers):
            return None
        cursor.register("examined", pa.table({"n": numbers, "line": lines}))
        document = "SELECT n, CASE WHEN json_valid(line) THEN CAST(line AS JSON) END AS j FROM examined"
        document = f"SELECT n, {self._kept()} AS j FROM ({document})" if self.kept else document
        sql = f"SELECT n, {self._from_document(tolerant=True)} FROM ({document}) ORDER BY n"
        if self.rules:
            broken = " ".join(f"WHEN {r.wrong} THEN {literal(r.reason)}" for r in self.rules)
            sql = f"SELECT * REPLACE (coalesce(_why, CASE {broken} END) AS _why) FROM ({sql})"
        table = cursor.sql(sql).to_arrow_table()
        cursor.unregister("examined")
        good = pc.is_null(table.column("_why"))
        wrong = table.filter(pc.invert(good))
        lines = wrong.column("n").to_numpy()
        before = np.flatnonzero(~good.to_numpy()) - np.arange(len(lines))
        bad = [
            Bad(n, reason, record, after)
            for n, reason, record, after in zip(
                lines.tolist(),
                wrong.column("_why").to_pylist(),
                block_lines(block, lines),
                before.tolist(),
                strict=True,
            )
        ]
        return Examined(table.filter(good).drop_columns(["n", "_why"]), bad)


def document_value(
    t: Type, path: tuple[str, ...], standard: str, j: str = "j", depth: int = 0, within: tuple[str, ...] = ()
) -> str:
    """SQL of the value at `path` of the JSON value `j`, which is at `within` of its record; raises on what does not fit."""
    at = f"json_extract({j}, {pointer(path)})"
    if t.kind == "ROW":
        fields = [
            f"f{i} := {document_value(f.type, (*path, f.name), standard, j, depth, within)}"
            for i, f in enumerate(t.fields)
        ]
        kind, shown = f"json_type({j}, {pointer(path)})", ".".join((*within, *path))
        packed = f"struct_pack({', '.join(fields)})"
        return f"CASE WHEN {kind} = 'OBJECT' THEN {packed} WHEN {kind} <> 'NULL' THEN {_raised(f'field {shown} is not an object', j)} END"
    if is_scalar(t):  # as the text that the structure has: of a number it is another one than json_extract_string's
        return convert(t, f"json_transform({at}, '\"VARCHAR\"')", standard, depth)
    if not _has_rows(t):
        return convert(t, f"CAST({at} AS {raw_type(t)})", standard, depth)
    e, inner = f"e{depth}", (*within, *path)
    if t.kind == "ARRAY":
        value = document_value(t.element, (), standard, e, depth + 1, inner)
        return f"list_transform(CAST({at} AS JSON[]), lambda {e}: {value})"
    key = convert(t.fields[0].type, f"{e}.key", standard, depth + 1)
    value = document_value(t.element, (), standard, f"{e}.value", depth + 1, inner)
    entries = f"list_transform(map_entries(CAST({at} AS MAP(VARCHAR, JSON))), lambda {e}: struct_pack(k := {key}, v := {value}))"
    return f"CASE WHEN json_type({j}, {pointer(path)}) <> 'NULL' THEN map_from_entries({entries}) END"


def _has_rows(t: Type) -> bool:
    """Whether some value inside is an object with names of its own: a cast would have no others in it."""
    return t.kind == "ROW" or any(_has_rows(f.type) for f in t.fields)


def _raised(reason: str, j: str = "j") -> str:
    """SQL that fails, and says why of which document."""
    return f"(CASE WHEN CAST(concat({literal(f'{reason} in ')}, {j}) AS INTEGER) IS NULL THEN NULL END)"


def _unless(raising: list[str], value: str) -> str:
    return f"CASE {' '.join(raising)} ELSE {value} END" if raising else value


def _put(tree: dict[str, Any], path: tuple[str, ...], t: Type) -> None:
    """Add a path to the tree of what is to decode; a path below a whole column that is there already adds nothing."""
    for p in path[:-1]:
        tree = tree.setdefault(p, {})
        if isinstance(tree, Type):
            return
    tree.setdefault(path[-1], t)


def _structure(node: Any) -> str:
    if isinstance(node, Type):
        return raw_type(node)
    return "STRUCT(" + ", ".join(f"{quoted(n)} {_structure(t)}" for n, t in node.items()) + ")"


def _collides(paths: Iterable[tuple[str, ...]]) -> bool:
    """Whether two names on one level differ only by case, or one is empty: DuckDB has no such names."""
    paths = list(paths)
    if any("" in path for path in paths):
        return True
    names = {path[: n + 1] for path in paths for n in range(len(path))}
    return len({tuple(p.casefold() for p in path) for path in names}) < len(names)


def _overlaps(leaves: Iterable[Leaf]) -> bool:
    """Whether a leaf is inside another one that is no ROW."""
    paths = [leaf.path if leaf.presence is None else (*leaf.path, leaf.presence) for leaf in leaves]
    whole = {leaf.path for leaf in leaves if leaf.presence is None and leaf.type.kind != "ROW"}
    return any(path[:n] in whole for path in paths for n in range(1, len(path)))


def _row_collides(t: Type) -> bool:
    names = [f.name.casefold() for f in t.fields] if t.kind == "ROW" else []
    return len(set(names)) < len(names) or "" in names or any(_row_collides(f.type) for f in t.fields)


def whole_lines(block: bytes | memoryview) -> int:
    """How many leading bytes are whole lines."""
    end, step = len(block), 4096
    while end > 0:
        begin = max(0, end - step)
        found = bytes(block[begin:end]).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end, step = begin, 2 * step
    return 0


def block_lines(block: bytes, numbers: np.ndarray) -> list[bytes]:
    """Lines of a block, by their numbers from 1, without their ends."""
    ends = np.append(np.flatnonzero(np.frombuffer(block, np.uint8) == 10), len(block))
    begins = np.append(0, ends[:-1] + 1)
    return [block[begins[n - 1] : ends[n - 1]].rstrip(b"\r") for n in numbers]


def lines_of(block: bytes) -> tuple[np.ndarray, pa.Array]:
    """Line numbers (from 1) and texts of the lines that are not blank; NULL where a line is not UTF-8."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == 10)
    if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
        ends = np.append(ends, len(data))
    offsets = np.concatenate([[0], ends + 1]).astype(np.int64)
    raw = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(block + b"\n")]
    )
    try:
        text = raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        text = pa.array([_text(v) for v in raw.to_pylist()], pa.large_string())
    trimmed = pc.utf8_trim(text, characters=" \t\r\n")
    keep = pc.fill_null(pc.not_equal(trimmed, ""), True)
    numbers = np.flatnonzero(keep.to_numpy(zero_copy_only=False)) + 1
    return numbers, trimmed.filter(keep)


def _text(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None
