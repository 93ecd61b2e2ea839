"""The calls of DuckDB's readers, with everything said that they would otherwise find out by themselves.

By its own defaults DuckDB looks at more than the bytes of a file: a directory named `key=value` gives or replaces a
column, `[`, `*` and `?` in a name make it a pattern, types and the form of lines are guessed from a sample. None of
that is in a table's definition, so every call names files, and nothing is left to a default that reads further.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlstream.formats.conversion import literal

Paths = tuple[str, ...]
LONGEST_OBJECT = 16 * 2**20  # bytes of a JSON record; longer ones are decoded in blocks
METADATA = "$metadata"  # the first name of a path that is the file's, and no record's
FILE = '"sqlstream file"'  # the column with the path read, as an identifier; no column of a table is called so
ROW_NUMBER = "file_row_number"  # the column that `row_numbers` gives
LONGEST_LINE = 64 * 2**20  # bytes of a CSV record
_ONLY_THE_FILE = "hive_partitioning=false, union_by_name=false"


def path_list(paths: Iterable[str]) -> str:
    """A SQL list of the files of these names, none of which is a pattern."""
    return "[" + ", ".join(literal("".join(f"[{c}]" if c in "[*?" else c for c in p)) for p in paths) + "]"


def json_call(
    paths: Paths,
    columns: Mapping[str, str],
    records: bool = True,
    file: bool = False,
    longest: int = LONGEST_OBJECT,
    tolerant: bool = False,
) -> str:
    """`columns`: name -> type. `records`: they are the fields of each line's object; else there is one, the line.

    `longest`: bytes of the longest record. `tolerant`: malformed records are none.
    """
    shape = ", ".join(f"{literal(n)}: {literal(t)}" for n, t in columns.items())
    return (
        f"read_json({path_list(paths)}, format='newline_delimited', records={str(records).lower()}, "
        f"columns={{{shape}}}, auto_detect=false, {_json_options(file, longest, tolerant)})"
    )


def json_guess(paths: Paths, tolerant: bool = False) -> str:
    """With columns as DuckDB finds them in the whole files. `tolerant`: malformed records are none."""
    return (
        f"read_json({path_list(paths)}, format='newline_delimited', records=true, sample_size=-1, "
        f"maximum_sample_files={len(paths)}, {_json_options(False, LONGEST_OBJECT, tolerant)})"
    )


def _json_options(file: bool, longest: int, tolerant: bool) -> str:
    return (
        f"{_ONLY_THE_FILE}, ignore_errors={str(tolerant).lower()}, convert_strings_to_integers=false, "
        f"maximum_object_size={longest}{_file_name(file)}"
    )


def csv_call(paths: Paths, width: int, dialect: str, file: bool = False) -> str:
    """Text columns x0, x1, …; `dialect`: delimiter, quotes and header as options of read_csv."""
    columns = ", ".join(f"'x{i}': 'VARCHAR'" for i in range(width))
    return (
        f"read_csv({path_list(paths)}, columns={{{columns}}}, auto_detect=false, {dialect}, {_ONLY_THE_FILE}, "
        f"ignore_errors=false, null_padding=false, strict_mode=true, max_line_size={LONGEST_LINE}{_file_name(file)})"
    )


def parquet_call(paths: Paths, row_numbers: bool = False, file: bool = False) -> str:
    """Files of one schema. `row_numbers`: with the column ROW_NUMBER."""
    return (
        f"read_parquet({path_list(paths)}, {_ONLY_THE_FILE}, binary_as_string=false, "
        f"file_row_number={str(row_numbers).lower()}{_file_name(file)})"
    )


def bloom_call(path: str, column: str, value: str) -> str:
    """For each row group of a file, whether a Bloom filter says that the column has not this value (SQL)."""
    return f"parquet_bloom_probe({path_list((path,))[1:-1]}, {literal(column)}, {value})"


def _file_name(file: bool) -> str:
    return f", filename={literal(FILE[1:-1])}" if file else ", filename=false"
