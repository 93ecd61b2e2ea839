"""Where the machine code of kernels is kept between runs: a file a kernel, its name says what it is of.

In order: XDG_CACHE_HOME/sqlstream/kernels (XDG_CACHE_HOME defaults to ~/.cache); a directory of this user's under the
system's temporary directory. Code is read from both, and written to the first that we can write; without one there is
a warning, and every start compiles what it finds nowhere (some seconds). The package's own directory is never written,
so a read-only install works. Cache files are code that we load: a directory that others may write is not used, and a
file that is not whole is not loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import warnings
from functools import cached_property
from pathlib import Path

_DIGEST = 32  # bytes of sha256 before the code


class KernelCache:
    """Reads and keeps code, by names that say all that it depends on. Warns once where it can keep none."""

    def __init__(self) -> None:
        self._warned = False

    @cached_property
    def directory(self) -> Path | None:
        """Where code is written, made if need be; None when that is nowhere."""
        return next((d for d in candidates() if usable(d)), None)

    def read(self, name: str) -> bytes | None:
        """The code kept under the name; None when there is none that is whole."""
        for directory in candidates():
            with contextlib.suppress(OSError):
                if trusted(directory) and (code := _whole(directory / name)) is not None:
                    return code
        return None

    def keeps(self, name: str) -> bool:
        """Whether whole code is where it would be written."""
        return self.directory is not None and _whole(self.directory / name) is not None

    def write(self, name: str, code: bytes) -> None:
        """Keeps the code; what cannot be written is compiled again next time."""
        if self.directory is None:
            self._warn()
            return
        partial = self.directory / f".{name}-{os.getpid()}"
        try:
            partial.write_bytes(hashlib.sha256(code).digest() + code)
            partial.replace(self.directory / name)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()

    def _warn(self) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            "no writable cache directory for compiled kernels: every start compiles them anew (some seconds); "
            "set XDG_CACHE_HOME to a directory that you can write",
            RuntimeWarning,
            stacklevel=2,
        )


CACHE = KernelCache()


def candidates() -> list[Path]:
    """Directories to try, best first."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return [
        Path(home) / "sqlstream" / "kernels",
        Path(tempfile.gettempdir()) / f"sqlstream-{os.getuid()}" / "kernels",
    ]


def _whole(file: Path) -> bytes | None:
    """The code of a file, if it is there and as it was written."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    code = content[_DIGEST:]
    return code if hashlib.sha256(code).digest() == content[:_DIGEST] else None


def trusted(directory: Path) -> bool:
    """True when only we, or root, may write in it. OSError when it is not there."""
    for d in (directory, directory.parent):
        info = d.stat()
        if info.st_uid not in (os.getuid(), 0) or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False
    return True


def usable(directory: Path) -> bool:
    """True when `directory` exists (made if need be), is trusted, and we can write in it."""
    try:
        directory.parent.parent.mkdir(parents=True, exist_ok=True)
        for d in (directory.parent, directory):  # `parents` would make the upper one as the umask says
            d.mkdir(mode=0o700, exist_ok=True)
        if not trusted(directory):
            return False
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False
