"""Files that sqlstream keeps: read with care, deleted only where they are ours."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sqlstream.catalog.catalog import FILE
from sqlstream.errors import RunError
from sqlstream.own_files import OwnDirectory, is_name, read_text, replace_text
from sqlstream.session import Session


@pytest.mark.parametrize(
    "name", ["", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", ".", "./a", "a/./b", "a\0b", "a\\b", None, 5]
)
def test_not_a_name(name: object, tmp_path: Path) -> None:
    assert not is_name(name)
    own = OwnDirectory(str(tmp_path))
    for remove in (own.remove, own.remove_tree, own.remove_directory):
        with pytest.raises(RunError, match="nothing is deleted or replaced outside"):
            remove(name)  # type: ignore[arg-type]


def test_nothing_outside_is_deleted_by_links(tmp_path: Path) -> None:
    own_place, victim = tmp_path / "own", tmp_path / "victim"
    (victim / "deep").mkdir(parents=True)
    (victim / "deep/file").write_text("mine")
    (own_place / "tree").mkdir(parents=True)
    (own_place / "out").symlink_to(victim)
    (own_place / "tree/out").symlink_to(victim)
    (own_place / "tree/file").write_text("ours")
    own = OwnDirectory(str(own_place))
    for remove in (own.remove, own.remove_tree, own.remove_directory):
        for name in ("out/deep/file", "out/deep", "tree/out/deep"):
            with pytest.raises(RunError, match="outside"):
                remove(name)
    own.remove_tree("tree")  # links in it go, what they lead to stays
    own.remove_tree("out")
    own.remove("gone")
    own.remove_tree("gone/too")
    assert list(own_place.iterdir()) == []
    assert (victim / "deep/file").read_text() == "mine"


def test_an_own_directory_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "own").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/file").write_text("ours")
    OwnDirectory(str(tmp_path / "own")).remove("file")
    assert list((tmp_path / "disk").iterdir()) == []


def test_reading_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("ä" * 5)
    assert read_text(file, 10) == "ä" * 5
    with pytest.raises(ValueError, match="more than 9 bytes"):
        read_text(file, 9)
    file.write_bytes(b"ok\xff")
    with pytest.raises(ValueError, match=r"not UTF-8 \(byte 2\)"):
        read_text(file)
    with pytest.raises((ValueError, OSError)):
        read_text(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        read_text(tmp_path / "pipe")


def test_writing_goes_through_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "f").symlink_to(victim)
    (tmp_path / "f.tmp").symlink_to(victim)
    replace_text(tmp_path / "f", "ours")
    assert (tmp_path / "f").read_text() == "ours" and victim.read_text() == "mine"


def _pipe(file: Path) -> None:
    os.mkfifo(file)


def _hole(file: Path) -> None:
    with open(file, "wb") as f:
        f.truncate(40 << 30)


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (lambda f: f.write_bytes(b"CREATE VIEW v AS SELECT '\xff'"), "not UTF-8"),
        (_pipe, "not a regular file"),
        (_hole, "more than"),
        (Path.mkdir, "not a regular file|directory"),
    ],
)
def test_a_catalog_that_cannot_be_read(tmp_path: Path, plant: Callable[[Path], object], says: str) -> None:
    plant(tmp_path / FILE)
    with pytest.raises(RunError, match=f"catalog cannot be read: .*({says})"):
        Session(tmp_path)


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_that_is_replaced_for_good_is_in_its_directory_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    """A rename is safe against a loss of power when the directory was synced after it: a simulated one lost a record."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        done.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        fsync(handle)

    def replaced(source: Path, target: Path) -> None:
        done.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    replace_text(tmp_path / "job.json", "{}", sync=sync)
    assert done == (["sync job.json.tmp", "replace", f"sync {tmp_path.name}"] if sync else ["replace"])
