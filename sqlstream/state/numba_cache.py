"""Where Numba keeps the machine code of `kernels.py` between runs.

In order: NUMBA_CACHE_DIR when the user set it; XDG_CACHE_HOME/sqlstream/numba-<version> (XDG_CACHE_HOME
defaults to ~/.cache); a directory of this user's under the system's temporary directory; none, with a
warning, and then every start compiles (some seconds). The package's own directory is never written, so a
read-only install works. Cache files are code that we load: a directory that others may write is not used.
"""

from __future__ import annotations

import os
import stat
import tempfile
import warnings
from pathlib import Path


def candidates(version: str) -> list[Path]:
    """Directories to try, best first."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    name = f"numba-{version}"
    return [Path(home) / "sqlstream" / name, Path(tempfile.gettempdir()) / f"sqlstream-{os.getuid()}" / name]


def usable(directory: Path) -> bool:
    """True when `directory` exists (made if need be), only we may write in it, and we can."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for d in (directory, directory.parent):
            info = d.stat()
            if info.st_uid != os.getuid() or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return False
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def prepare() -> bool:
    """Point Numba at the cache directory; False when there is none. Called once, by `kernels.py`."""
    import numba
    from numba.core import config

    if config.CACHE_DIR:
        return True
    for directory in candidates(numba.__version__):
        if usable(directory):
            config.CACHE_DIR = str(directory)
            return True
    warnings.warn(
        "no writable cache directory for compiled kernels: every start compiles them anew (some seconds); "
        "set XDG_CACHE_HOME or NUMBA_CACHE_DIR to a directory that you can write",
        RuntimeWarning,
        stacklevel=2,
    )
    return False
