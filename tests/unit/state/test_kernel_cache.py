"""Compiled kernels are kept where we may write, never in the package, and their absence is only slow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sqlstream.state
from sqlstream.operators.kernels import MODULES, all_kernels
from sqlstream.state import hash_kernels, kernel_cache
from sqlstream.state.kernel import I64, Kernel, helper, kernel, w
from sqlstream.state.kernel_cache import KernelCache

PACKAGE = Path(sqlstream.state.__file__).parent
ADD = """
import sys, numpy as np
from sqlstream.state import hash_kernels
h = np.ones(1, np.uint64)
hash_kernels.combine_words(h, np.zeros(1, np.int64), np.empty(0, np.bool_))
print(h[0], 'numba' in sys.modules)
"""


NOWHERE = "from sqlstream.state import kernel_cache\nkernel_cache.candidates = lambda: []\n"


def run(code: str, cache: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parents[1])}
    env |= {"XDG_CACHE_HOME": str(cache), "TMPDIR": str(cache)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)


def test_first_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, second = kernel_cache.candidates()
    assert first == tmp_path / "sqlstream/kernels"
    assert kernel_cache.usable(first) and first.stat().st_mode & 0o777 == 0o700 and not list(first.iterdir())
    assert second.name == "kernels" and str(os.getuid()) in str(second)


def test_directories_of_others_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = tmp_path / "sqlstream/kernels"
    KernelCache().write("test-1", b"code")
    assert KernelCache().read("test-1") == b"code"
    place.chmod(0o777)
    assert not kernel_cache.usable(place) and KernelCache().read("test-1") is None
    (tmp_path / "file").write_text("")
    assert not kernel_cache.usable(tmp_path / "file/kernels")


def test_a_umask_for_groups_does_not_cost_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """002 is what many systems give their users: directories are writable by a group that is theirs alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home/.cache"))
    before = os.umask(0o002)
    try:
        KernelCache().write("test-1", b"code")
    finally:
        os.umask(before)
    assert KernelCache().read("test-1") == b"code"


def test_a_damaged_file_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = KernelCache()
    cache.write("test-1", b"machine code")
    (file,) = (tmp_path / "sqlstream/kernels").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert cache.read("test-1") is None


def test_kernels_of_the_cache_are_used(tmp_path: Path) -> None:
    """The second process finds them and does without Numba."""
    first = run(ADD, tmp_path)
    second = run(ADD, tmp_path)
    assert first.stdout.split()[1] == "True", first.stderr
    assert second.stdout.split() == [first.stdout.split()[0], "False"], second.stderr
    assert [f.name.partition("-")[0] for f in (tmp_path / "sqlstream/kernels").iterdir()] == [
        "hash_kernels.combine_words"
    ]


def test_without_a_directory_it_compiles_each_time(tmp_path: Path) -> None:
    for _ in range(2):
        done = run(NOWHERE + ADD, tmp_path)
        assert done.stdout.split()[1:] == ["True"], done.stderr
        assert done.stderr.count("no writable cache directory") == 1


def test_a_cache_that_cannot_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    KernelCache().write("test-1", b"code")
    monkeypatch.setattr(kernel_cache, "usable", lambda _: False)
    cache = KernelCache()
    assert cache.read("test-1") == b"code"
    with pytest.warns(RuntimeWarning, match="XDG_CACHE_HOME"):
        cache.write("test-2", b"code")
    cache.write("test-3", b"code")  # said once
    assert cache.read("test-2") is None


def test_the_package_is_not_written() -> None:
    hash_kernels.combine_bytes.load()
    assert {p.suffix for p in PACKAGE.rglob("*") if p.is_file()} <= {".py", ".pyc"}


def test_the_key_covers_what_the_code_is_made_from() -> None:
    def made(step: int, scale: float = 0.5) -> tuple[Kernel, Kernel]:
        text = f"SCALE = {scale}\ndef more(x):\n    return x * SCALE + {step}\ndef loop(data):\n    data[0] = more(data[0])\n"
        names: dict[str, object] = {"__name__": "m"}
        exec(text, names)
        names["more"] = helper(names["more"])  # type: ignore[arg-type]
        return kernel("", w(I64))(names["loop"]), kernel("", w(I64, 2))(names["loop"])  # type: ignore[arg-type]

    (a, wide), (same, _), (other, _), (scaled, _) = made(1), made(1), made(2), made(1, 0.25)
    assert a.file == same.file
    assert len({a.file, wide.file, other.file, scaled.file}) == 4


def test_arguments_are_checked() -> None:
    """What comes next is C."""
    word, words, none = np.ones(4, np.uint64), np.zeros(4, np.int64), np.empty(0, np.bool_)
    readonly = word.copy()
    readonly.flags.writeable = False
    for bad in (word.view(np.int64), word.reshape(2, 2), word[::2], readonly, word.view(np.uint8)[:25][1:].view("u8")):
        with pytest.raises(TypeError, match="combine_words"):
            hash_kernels.combine_words(bad, words[: len(bad)], none)
    with pytest.raises(TypeError, match="3 arguments"):
        hash_kernels.combine_words(word, words)
    hash_kernels.combine_words(word, words, none)


def test_every_module_of_kernels_is_listed() -> None:
    package = PACKAGE.parent
    files = {
        ".".join(p.relative_to(package.parent).with_suffix("").parts)
        for p in package.rglob("*.py")
        if "@kernel(" in p.read_text() and p.stem != "kernel"
    }
    assert files == set(MODULES)
    assert len(all_kernels()) >= 30
