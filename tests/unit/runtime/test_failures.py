"""Which failures a job is started again after."""

from __future__ import annotations

import errno

import pytest

from sqlstream.checkpoint.storage import failing_as
from sqlstream.connectors.file_sink import reported
from sqlstream.errors import (
    Canceled,
    CheckpointError,
    DataError,
    InternalError,
    JobLocked,
    NotSupported,
    OptionError,
    ParseError,
    RunError,
)
from sqlstream.runtime.checkpoints import TooManyFailed
from sqlstream.runtime.failures import causes, passes


def caused(error: Exception, cause: BaseException) -> Exception:
    try:
        raise error from cause
    except Exception as e:
        return e


@pytest.mark.parametrize(
    "error",
    [
        RunError("the disk is full"),
        MemoryError(),
        ConnectionError("gone"),
        OSError(errno.EACCES, "denied"),
        TooManyFailed("checkpoint 7 failed: ✗"),
        caused(TooManyFailed("checkpoint 7 failed"), CheckpointError("it is damaged")),
        caused(CheckpointError("cannot write"), OSError(errno.EIO, "no")),
        caused(DataError("cannot read the file"), OSError(errno.ESTALE, "the server is away")),
        caused(RunError("x"), ConnectionResetError()),
    ],
    ids=repr,
)
def test_what_passes(error: Exception) -> None:
    assert passes(error)


@pytest.mark.parametrize(
    "error",
    [
        DataError("malformed record"),
        caused(DataError("malformed record"), ValueError("no number")),
        ParseError("x"),
        OptionError("x"),
        NotSupported("x"),
        InternalError("two epochs differ"),
        caused(InternalError("x"), OSError(errno.EIO, "x")),
        CheckpointError("the plan is not that of its checkpoint"),
        JobLocked("another process"),
        Canceled("by the user"),
        KeyError("a bug"),
        TypeError("a bug"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_what_comes_again(error: BaseException) -> None:
    assert not passes(error)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO, errno.ENOENT])
def test_what_stores_and_sinks_say_passes(number: int) -> None:
    with pytest.raises(CheckpointError) as store, failing_as("write", "x"):
        raise OSError(number, "why")
    with pytest.raises(RunError) as sink, reported("x", "write"):
        raise OSError(number, "why")
    assert passes(store.value) and passes(sink.value)


@pytest.mark.parametrize("number", [errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP])
def test_a_path_that_cannot_be_one_stays_so(number: int) -> None:
    with pytest.raises(RunError) as sink, reported("x", "write"):
        raise OSError(number, "why")
    assert not passes(sink.value)


def test_causes_end() -> None:
    a, b = ValueError("a"), ValueError("b")
    a.__cause__, b.__cause__ = b, a
    assert list(causes(a)) == [a, b]
