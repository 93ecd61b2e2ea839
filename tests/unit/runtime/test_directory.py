"""A job's directory and checkpoints elsewhere: moved, lost, and what is deleted there."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import fsspec
import pytest

import sqlstream
from sqlstream.errors import CheckpointError
from sqlstream.runtime.directory import JobDirectory, JobState
from sqlstream.session import Session

INSERT = """
CREATE TABLE o (a INT) WITH ('connector' = 'filesystem', 'path' = 'o', 'format' = 'json');
INSERT INTO o SELECT a FROM (VALUES (1), (2)) AS t(a);
"""


def run(directory: Path, checkpoints: str, mode: str, fresh: bool = False) -> list[str]:
    said: list[str] = []
    options = {"execution.checkpointing.dir": checkpoints, "pipeline.name": "j", "execution.runtime-mode": mode}
    session = Session(None, options, str(directory), fresh=fresh, on_message=said.append)
    for result in session.execute(INSERT):
        said.append(result.message)
    return said


@pytest.fixture
def store() -> str:
    fs = fsspec.filesystem("memory")
    for place in ("/one", "/two"):
        if fs.exists(place):
            fs.rm(place, recursive=True)
    return "memory://one"


@pytest.mark.parametrize("mode", ["streaming", "batch"])
def test_another_place_of_checkpoints_without_them_is_refused(tmp_path: Path, store: str, mode: str) -> None:
    run(tmp_path, store, mode)
    with pytest.raises(CheckpointError, match=r"are not in memory://two/.*: they were in memory://one/") as e:
        run(tmp_path, "memory://two", mode)
    assert "'execution.checkpointing.dir' as it was" in (e.value.hint or "")
    fs = fsspec.filesystem("memory")
    fs.cp("/one", "/two", recursive=True)
    fs.rm("/one", recursive=True)
    assert any("has finished: nothing to do" in s for s in run(tmp_path, "memory://two", mode))


@pytest.mark.parametrize("mode", ["streaming", "batch"])
def test_checkpoints_without_any_record_are_refused(tmp_path: Path, store: str, mode: str) -> None:
    """On another machine, or after .sqlstream was deleted: an object store knows of a run that nothing here does."""
    run(tmp_path, store, mode)
    shutil.rmtree(tmp_path / ".sqlstream")
    with pytest.raises(CheckpointError, match="the job's state is gone, but it has checkpoints"):
        run(tmp_path, store, mode)
    assert any("2 rows into o" in s for s in run(tmp_path, store, mode, fresh=True))


def test_only_runs_of_the_job_are_forgotten(tmp_path: Path, store: str) -> None:
    run(tmp_path, store, "streaming")
    fs = fsspec.filesystem("memory")
    fs.pipe("/one/j/runs/notes/chk-1/manifest.json", b"mine")
    fs.pipe("/one/j/runs/README", b"mine")
    run(tmp_path, store, "streaming", fresh=True)
    state = json.loads((tmp_path / ".sqlstream/j/job.json").read_text())
    left = {p.split("/")[4] for p in fs.find("/one/j/runs")}
    assert left == {"notes", "README", state["run"]}


def test_the_record_is_relative_when_all_lies_in_one_place(tmp_path: Path) -> None:
    directory = JobDirectory("j", tmp_path, str(tmp_path.resolve()))
    state = directory.new_run()
    assert state.checkpoints == f"runs/{state.run}" and str(tmp_path) not in json.dumps(vars(state))


@pytest.mark.parametrize("run_id", ["", "..", "0123ABCD", "0123abcd0", "../0123ab", "0123abc\n"])
def test_names_of_runs(run_id: str) -> None:
    with pytest.raises(ValueError, match="run "):
        JobState("j", run_id)


# Modules that delete files which they made themselves in this process, under names of their own.
DELETE_THEIR_OWN = {
    "state/files.py",  # a state file that could not be written whole
    "state/clusters.py",  # files in between, in a directory of its own
    "state/kernel_cache.py",  # a half-written kernel
    "checkpoint/chain.py",  # links to a store's files in a directory of its own
    "checkpoint/store_shard.py",  # links to a store's files in the work directory
    "checkpoint/writer.py",  # files of the chain in the work directory
    "checkpoint/coordinator.py",  # a damaged download in the work directory
    "checkpoint/storage.py",  # temporary files of a put
    "savepoint/recovery.py",  # likewise
    "savepoint/writer.py",  # a file that was uploaded
    "state/rocks.py",  # a snapshot that could not be made whole
    "sqlalchemy/places.py",  # a table that it made, when it is dropped
    "runtime/job.py",  # the temporary directory of a job that is not durable
}


def test_every_other_deletion_goes_through_own_files() -> None:
    package = Path(sqlstream.__file__).parent
    deleting = {"unlink", "rmtree", "remove", "rmdir", "rm", "rm_file", "removedirs", "delete_file", "delete_dir"}
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in deleting:
                owner = node.func.value
                name = (
                    owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
                )
                files = name in (
                    "os",
                    "shutil",
                    "fs",
                    "_fs",
                    "path",
                    "_path",
                    "temporary",
                    "target",
                    "local",
                    "partial",
                    "file",
                )
                if files and not (node.func.attr == "remove" and name not in ("os", "fs", "_fs")):
                    found.add(str(path.relative_to(package)))
    assert found - {"own_files.py"} <= DELETE_THEIR_OWN
    assert found >= DELETE_THEIR_OWN  # none that deletes no more
