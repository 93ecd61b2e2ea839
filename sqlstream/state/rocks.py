"""The only door to RocksDB (rocksdict): sorted files are written, ingested into a fresh store, and scanned.

What rocksdict does that a caller must not meet, each with a test in test_rocksdict_facts.py: everything is
raw (else it pickles); iterating with `keys()` or `items()` hides corruption, so scans go through an iterator
whose status is asked at the end; errors are plain `Exception`s, and become CheckpointErrors here. A store has
no write-ahead log and is never opened again: what survives are the sorted files that it was made from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import rocksdict

from sqlstream.errors import CheckpointError
from sqlstream.state.rows import BYTES_A_BLOCK, ROWS_A_BLOCK, Block


def _options() -> rocksdict.Options:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_error_if_exists(True)
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    options.set_max_background_jobs(1)
    options.set_keep_log_file_num(1)
    return options


def _error(doing: str, path: Path | str, error: Exception) -> CheckpointError:
    text = str(error)
    full = "No space left" in text or "File too large" in text or "quota" in text.lower()
    out = CheckpointError(
        f"{doing} {path}: {text}",
        hint="free space on that disk, or move the directory" if full else None,
    )
    out.transient = full
    return out


def write_sst(path: Path, blocks: Iterable[Block]) -> int:
    """A sorted file of the rows (value None: a tombstone); returns their number. Keys ascend strictly.

    Without a row no file is made. After an error there is none either.
    """
    rows = 0
    writer = rocksdict.SstFileWriter(_options())
    try:
        for keys, values in blocks:
            if keys and not rows:
                writer.open(str(path))
            for key, value in zip(keys, values, strict=True):
                if value is None:
                    del writer[key]
                else:
                    writer[key] = value
            rows += len(keys)
        if rows:
            writer.finish()
        return rows
    except CheckpointError:
        path.unlink(missing_ok=True)
        raise
    except Exception as e:
        path.unlink(missing_ok=True)
        raise _error("cannot write state file", path, e) from e


class RocksStore:
    """A store in a directory that must not exist yet. `close` does not delete it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            self._db = rocksdict.Rdict(str(directory), _options())
            write = rocksdict.WriteOptions()
            write.disable_wal = True
            self._db.set_write_options(write)
        except Exception as e:
            raise _error("cannot make the state store", directory, e) from e

    def ingest(self, files: Sequence[Path]) -> None:
        """Rows of later files replace those of earlier ones; tombstones remove them. The files stay."""
        for f in files:
            try:
                self._db.ingest_external_file([str(f)])
            except Exception as e:
                raise _error("cannot read state file", f, e) from e

    def scan(self, begin: bytes, end: bytes | None = None) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Rows with begin <= key < end in order, in blocks. CheckpointError when a file is damaged."""
        try:
            read = rocksdict.ReadOptions()
            read.fill_cache(False)
            read.set_readahead_size(1 << 21)
            if end is not None:
                read.set_iterate_upper_bound(end)
            it = self._db.iter(read)
            it.seek(begin)
            valid, key_of, value_of, forward = it.valid, it.key, it.value, it.next
            keys: list[bytes] = []
            values: list[bytes] = []
            size = 0
            while valid():
                value = value_of()
                keys.append(key_of())
                values.append(value)
                size += len(value)
                if len(keys) >= ROWS_A_BLOCK or size >= BYTES_A_BLOCK:
                    yield keys, values
                    keys, values, size = [], [], 0
                forward()
            it.status()  # an iterator that met corruption is just at its end
        except CheckpointError:
            raise
        except Exception as e:
            raise _error("cannot read the state in", self.directory, e) from e
        if keys:
            yield keys, values

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """The value of each key, None where there is none."""
        try:
            return list(self._db.get(keys))
        except Exception as e:
            raise _error("cannot read the state in", self.directory, e) from e

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._db.close()

    def __enter__(self) -> RocksStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
