"""A file system of a few kilobytes, for tests of disks that are full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """`path`, a new directory, is a disk of `size` ("8m") meanwhile. Skips the test where mounting is not allowed.

    A process of its own takes the disk away when this one lets go of it, also by being killed: what stays mounted is in the
    way of whoever cleans up.
    """
    path.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)], capture_output=True)
    if made.returncode:
        pytest.skip("mounting a small disk is not allowed: " + made.stderr.decode())
    end = ["sh", "-c", 'cat > /dev/null; exec umount -l "$0"', str(path)]
    with subprocess.Popen(end, stdin=subprocess.PIPE, cwd="/", start_new_session=True) as guard:
        yield path
    assert guard.returncode == 0
