"""Trees with links: each directory once, under its own name where it has one; bounded and growing tables find the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sqlstream.connectors.listing import Listing
from sqlstream.connectors.paths import find_files
from sqlstream.connectors.tree import matches
from sqlstream.errors import DataError


def made(top: Path, *files: str) -> None:
    for name in files:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("{}\n")


def found(top: Path, pattern: str = "") -> list[str]:
    """What is below `top`, said alike by a bounded table and by a growing one."""
    path = os.path.join(top, pattern) if pattern else str(top)
    bounded = [os.path.relpath(f.path, top) for f in find_files(path)]
    growing = [os.path.relpath(p, top) for p in Listing(path, print).look().appeared]
    assert bounded == growing == sorted(set(bounded))
    return bounded


@pytest.mark.parametrize("pattern", ["", "**", "**/*", "**/*.json", "*", "a/../**/*.json"])
def test_a_link_that_leads_up_is_not_followed(tmp_path: Path, pattern: str) -> None:
    top = tmp_path / "top"
    made(top, "x.json", "a/y.json", "a/b/z.json")
    made(tmp_path, "outside.json")
    (top / "a/b/up").symlink_to("..")
    (top / "a/top").symlink_to(top)
    (top / "above").symlink_to(tmp_path)
    (top / "itself").symlink_to(".")
    assert found(top, os.path.normpath(pattern) if pattern else "") == ["a/b/z.json", "a/y.json", "x.json"]


@pytest.mark.parametrize("pattern", ["", "**/*.json", "*/*.json", "*"])
def test_directories_that_link_to_each_other(tmp_path: Path, pattern: str) -> None:
    names = "abcdefgh"
    for name in names:
        made(tmp_path, f"{name}/{name}.json")
    for name in names:
        for other in names:
            (tmp_path / name / f"to-{other}").symlink_to(f"../{other}")
    assert found(tmp_path, pattern) == [f"{n}/{n}.json" for n in names]


def test_the_name_without_links_is_taken(tmp_path: Path) -> None:
    made(tmp_path, "b/deep/x.json")
    (tmp_path / "a").symlink_to("b/deep")
    assert found(tmp_path) == ["b/deep/x.json"]
    assert found(tmp_path, "*") == ["b/deep/x.json"]
    assert found(tmp_path, "a/*.json") == ["a/x.json"]


def test_links_to_elsewhere_are_followed(tmp_path: Path) -> None:
    made(tmp_path / "elsewhere", "x.json", "in/y.json")
    (tmp_path / "top").mkdir()
    (tmp_path / "top/l").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "top/m").symlink_to(tmp_path / "elsewhere/in")  # again what is below l: the first link has it
    for pattern in ("", "**/*.json", "*"):
        assert found(tmp_path / "top", pattern) == ["l/in/y.json", "l/x.json"] or pattern
    assert found(tmp_path / "top", "*/*.json") == ["l/x.json", "m/y.json"]
    (tmp_path / "link").symlink_to("top")
    assert found(tmp_path / "link", "*/x.json") == ["l/x.json"]


def test_hidden_names_match_no_wildcard(tmp_path: Path) -> None:
    made(tmp_path, "a/x.json", "_staged/x.json", ".git/x.json", "a/_x.json", "a/.x.json", "a/_s/x.json")
    assert found(tmp_path, "**/*.json") == ["a/x.json"]
    assert found(tmp_path, "*/x.json") == ["a/x.json"]
    assert found(tmp_path, "?*/_s/x.json") == ["a/_s/x.json"]  # spelled out
    with pytest.raises(DataError, match="no file matches"):
        find_files(str(tmp_path / "**/_*.json"))


def test_patterns(tmp_path: Path) -> None:
    made(tmp_path, "x1.json", "a/x2.json", "a/b/x3.json", "a/b/y.csv", "c/x4.json")
    assert found(tmp_path, "**/x?.json") == ["a/b/x3.json", "a/x2.json", "c/x4.json", "x1.json"]
    assert found(tmp_path, "a/**/x?.json") == ["a/b/x3.json", "a/x2.json"]
    assert found(tmp_path, "**/b/*.json") == ["a/b/x3.json"]
    assert found(tmp_path, "[ac]/*.json") == ["a/x2.json", "c/x4.json"]
    assert found(tmp_path, "a/**/**/*.csv") == ["a/b/y.csv"]
    assert matches(str(tmp_path / "none/**/*.json")) == set()


def test_a_link_that_turns_moves_a_growing_table(tmp_path: Path) -> None:
    made(tmp_path, "days/1/x.json", "days/2/y.json", "top/z.json")
    link = tmp_path / "top/now"
    link.symlink_to("../days/1")
    listing = Listing(str(tmp_path / "top"), print)
    assert [os.path.relpath(p, tmp_path) for p in listing.look().appeared] == ["top/now/x.json", "top/z.json"]
    link.unlink()
    link.symlink_to("../days/2")
    changes = listing.look()
    assert [os.path.relpath(p, tmp_path) for p in changes.appeared] == ["top/now/y.json"]
    assert [os.path.relpath(p, tmp_path) for p in changes.vanished] == ["top/now/x.json"]


def test_a_directory_that_a_glob_matches_no_more_is_forgotten(tmp_path: Path) -> None:
    made(tmp_path, "a/1/x.json", "b/1/y.json")
    listing = Listing(str(tmp_path / "*/1"), print)
    assert len(listing.look().appeared) == 2
    (tmp_path / "a").rename(tmp_path / "_a")
    changes = listing.look()
    assert (changes.appeared, changes.vanished) == ([], [str(tmp_path / "a/1/x.json")])


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/urandom", "/dev/full"])
def test_devices_without_an_end_are_refused(path: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"there is no {path}")
    with pytest.raises(DataError, match=f"path '{path}' is a device"):
        find_files(path)


def test_devices_that_end_are_read() -> None:
    assert [f.path for f in find_files(os.devnull)] == [os.devnull]
    main, terminal = os.openpty()
    try:
        assert [f.path for f in find_files(os.ttyname(terminal))] == [os.ttyname(terminal)]
    finally:
        os.close(main)
        os.close(terminal)


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(DataError, match="is a socket"):
            find_files(str(tmp_path / "s"))
