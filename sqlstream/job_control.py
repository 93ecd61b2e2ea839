"""CREATE SAVEPOINT and STOP JOB: what a session asks of jobs, its own and those of other processes.

A job that runs is asked through its directory, whichever process has it; of one that does not run, the last checkpoint is
made into a savepoint here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlstream.environment import Environment
from sqlstream.errors import BindError, SqlStreamError
from sqlstream.results import Result, table_result
from sqlstream.sql import statements as st

if TYPE_CHECKING:
    from sqlstream.runtime.jobs import JobView

_TITLE = "savepoint path"  # Flink's


def create_savepoint(env: Environment, s: st.CreateSavepoint) -> Result:
    """The path of the savepoint, when it is complete."""
    from sqlstream.runtime.client import ask

    name = s.job or env.settings.name
    if name is None:
        raise BindError("of which job?", hint="CREATE SAVEPOINT FOR JOB 'name'", position=s.position)
    view = _view(env, name, s)
    path = s.path and _resolved(env, s.path)
    if view.holder is not None:
        path = str(ask(view.place, "savepoint", wait=True, savepoint=path or "")["savepoint"])
    else:
        from sqlstream.runtime.savepoints import directory_of, savepoint_of

        directory = directory_of(view, env.settings.checkpoint_dir, env.stores, env.working_directory)
        path = savepoint_of(directory, path, env.settings).path
    return table_result("SAVEPOINT", [_TITLE], [[path]])


def stop_job(env: Environment, s: st.StopJob) -> Result:
    """The job has ended when it returns."""
    from sqlstream.runtime.client import ask, not_running, until_ended

    view = _view(env, s.job, s)
    if view.holder is None:
        raise not_running(view)
    where: str | None = None
    if s.savepoint:
        where = _resolved(env, env.settings.savepoint_dir) if env.settings.savepoint_dir else ""
    answer = ask(view.place, "stop", wait=s.savepoint, savepoint=where, drain=s.drain)
    ended = until_ended(view.place, view.holder)
    if s.savepoint:
        return table_result("STOP JOB", [_TITLE], [[str(answer["savepoint"])]])
    return Result("STOP JOB", message=f"job {view.place.name}: {ended.status.state}")


def _view(env: Environment, name: str, s: st.Statement) -> JobView:
    try:
        return env.job_named(name)
    except SqlStreamError as e:
        e.position = s.position
        raise


def _resolved(env: Environment, path: str) -> str:
    """A directory that is named here, for a job that runs elsewhere."""
    return path if "://" in path else str((Path(env.working_directory) / path).resolve())
