"""Where the machine code of kernels is kept between runs: a file a kernel, its name says what it is of.

In order: XDG_CACHE_HOME/sqlstream/kernels (XDG_CACHE_HOME defaults to ~/.cache); a directory of this user's under the
system's temporary directory; none, with a warning, and then every start compiles (some seconds). The package's own
directory is never written, so a read-only install works. Cache files are code that we load: a directory that others
may write is not used, and a file that is not whole is not loaded.
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
    @cached_property
    def directory(self) -> Path | None:
        """The directory in use, made if need be; None, after a warning, when there is none."""
        for directory in candidates():
            if usable(directory):
                return directory
        warnings.warn(
            "no writable cache directory for compiled kernels: every start compiles them anew (some seconds); "
            "set XDG_CACHE_HOME to a directory that you can write",
            RuntimeWarning,
            stacklevel=2,
        )
        return None

    def read(self, name: str) -> bytes | None:
        """The code kept under the name; None when there is none that is whole."""
        if self.directory is None:
            return None
        try:
            content = (self.directory / name).read_bytes()
        except OSError:
            return None
        code = content[_DIGEST:]
        return code if hashlib.sha256(code).digest() == content[:_DIGEST] else None

    def write(self, name: str, code: bytes) -> None:
        """Keeps the code; what cannot be written is compiled again next time."""
        if self.directory is None:
            return
        partial = self.directory / f".{name}-{os.getpid()}"
        try:
            partial.write_bytes(hashlib.sha256(code).digest() + code)
            partial.replace(self.directory / name)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()


CACHE = KernelCache()


def candidates() -> list[Path]:
    """Directories to try, best first."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return [
        Path(home) / "sqlstream" / "kernels",
        Path(tempfile.gettempdir()) / f"sqlstream-{os.getuid()}" / "kernels",
    ]


def usable(directory: Path) -> bool:
    """True when `directory` exists (made if need be), only we may write in it, and we can."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for d in (directory, directory.parent):
            info = d.stat()
            if info.st_uid != os.getuid() or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return False
        return os.access(directory, os.W_OK | os.X_OK)
    except OSError:
        return False
