"""What tells one file's content from another's: digests of its first bytes, and of those before a position."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlstream.connectors.paths import BLOCK, compression_of, is_local, open_binary, opened
from sqlstream.stores import Stores

WINDOW = 256  # bytes of each digest
SAMPLES, SAMPLE = 8, 4096  # of a complete file: so many pieces of so many bytes


def digest(data: bytes) -> str:
    """16 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


@dataclass(frozen=True)
class Mark:
    """How far a file was read, in bytes (of its decompressed content), and what stands there.

    `head`: the first `size_of_head` bytes; `tail`: up to WINDOW bytes before `byte`. `size`: how large the file was
    then. `whole`: of one that cannot grow, its `content`.
    """

    byte: int = 0
    size: int = 0
    size_of_head: int = 0
    head: str = ""
    tail: str = ""
    whole: str = ""

    @staticmethod
    def of(position: Any) -> Mark:
        """What a reader's position says of it."""
        p = position or {}
        size_of_head, head = p.get("head") or (0, "")
        byte = int(p.get("byte", 0))
        return Mark(byte, int(p.get("size", byte)), int(size_of_head), head, p.get("tail") or "", p.get("whole") or "")

    def begins(self, start: bytes) -> bool:
        """Whether a file that begins with `start` (WINDOW bytes, or all there are) begins as this one."""
        return len(start) >= self.size_of_head and digest(start[: self.size_of_head]) == self.head

    def stands_in(self, path: str, stores: Stores) -> bool:
        """Whether the file at `path` goes on from what was read. Reads to the position, if it is compressed."""
        if not self.byte or not self.begins(piece(path, 0, WINDOW, stores)):
            return False
        begin = max(0, self.byte - WINDOW)
        before = piece(path, begin, self.byte, stores)
        return len(before) == self.byte - begin and (not self.tail or digest(before) == self.tail)


def piece(path: str, begin: int, end: int, stores: Stores) -> bytes:
    """Bytes [begin, end) of a file's content, decompressed; fewer where it has fewer."""
    if compression_of(path):
        out = b""
        with opened(path, begin, stores) as file:
            while len(out) < end - begin and (got := bytes(file.read(end - begin - len(out)))):
                out += got
        return out
    if not is_local(path):
        fs, inner = stores.filesystem(path)
        return bytes(fs.cat_file(inner, start=begin, end=end))
    with open(path, "rb") as file:
        file.seek(begin)
        return file.read(end - begin)


def is_whole(path: str, stores: Stores) -> bool:
    """Whether a compressed file has its end. Reads all of it. OSError: it is broken otherwise, or cannot be read."""
    try:
        with opened(path, 0, stores) as content:
            while content.read(BLOCK):
                continue
            return True
    except OSError as e:
        if isinstance(e, FileNotFoundError | PermissionError) or "runcated" not in str(e):
            raise
        return False


def sample(path: str, size: int, stores: Stores) -> str:
    """A digest of the first `size` bytes of a local file: beginning, end and pieces between; '' for a remote one."""
    if not is_local(path):
        return ""
    out = hashlib.blake2b(digest_size=8)
    with open_binary(path, stores) as file:
        for i in range(SAMPLES):
            file.seek(max(0, size - SAMPLE) * i // (SAMPLES - 1))
            out.update(file.read(min(SAMPLE, size)))
            if size <= SAMPLE:
                break
    return out.hexdigest()
