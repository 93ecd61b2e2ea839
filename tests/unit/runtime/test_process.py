"""Settings of the process: two jobs that overlap, in whatever order they end, do not undo each other."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from sqlstream.options import SessionOptions
from sqlstream.runtime.process import PROCESS, SWITCH_SECONDS, Process
from sqlstream.session import Session
from sqlstream.state.memory import MEMORY, Memory

MB = 1 << 20


@pytest.mark.parametrize("first_out", [0, 1])
def test_the_last_job_out_sets_back(first_out: int, tmp_path: Path) -> None:
    memory = Memory(limit=1000 * MB, directories=("before",))
    process = Process(memory)
    interval = sys.getswitchinterval()
    jobs = [ExitStack(), ExitStack()]
    for n, job in enumerate(jobs):
        options = SessionOptions(managed_memory=(n + 1) * 100 * MB)
        job.enter_context(process.running(options, tmp_path / str(n)))
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    assert memory.limit == 300 * MB
    assert memory.directories == (str(tmp_path / "0"), str(tmp_path / "1"))
    stays = 1 - first_out
    jobs[first_out].close()
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    assert memory.limit == (stays + 1) * 100 * MB
    assert memory.directories == (str(tmp_path / str(stays)),)
    jobs[stays].close()
    assert sys.getswitchinterval() == pytest.approx(interval)
    assert (memory.limit, memory.directories) == (1000 * MB, ("before",))


def test_a_job_without_a_limit_leaves_it_to_the_machine(tmp_path: Path) -> None:
    memory = Memory(limit=1000 * MB)
    process = Process(memory)
    with process.running(SessionOptions(managed_memory=10 * MB), tmp_path):
        assert memory.limit == 10 * MB
        with process.running(SessionOptions(tmp_dirs="/a, /b,"), tmp_path):
            assert memory.limit == 1000 * MB
            assert memory.directories == (str(tmp_path), "/a", "/b")
        assert memory.limit == 10 * MB


def test_stores_have_a_part_of_the_memory(tmp_path: Path) -> None:
    """An eighth, from 8 to 64 MB, and only while a durable job with stores runs."""
    memory = Memory(limit=1000 * MB)
    process = Process(memory)
    with process.running(SessionOptions(managed_memory=160 * MB), tmp_path, durable=True) as stores:
        assert stores is process.stores
        assert (memory.limit, stores.buffer_bytes, stores.cache_bytes) == (140 * MB, 20 * MB, 0)
        with process.running(SessionOptions(managed_memory=160 * MB), tmp_path, durable=False):
            assert (memory.limit, stores.buffer_bytes) == (280 * MB, 40 * MB)
        assert (memory.limit, stores.buffer_bytes) == (140 * MB, 20 * MB)
        with process.running(SessionOptions(managed_memory=4000 * MB), tmp_path, durable=True) as others:
            assert others is stores
            assert (memory.limit, stores.buffer_bytes) == (4160 * MB - 64 * MB, 64 * MB)
    with process.running(SessionOptions(managed_memory=1 * MB), tmp_path, durable=True) as stores:
        assert (memory.limit, stores.buffer_bytes) == (MB - MB // 8, 8 * MB)
    with process.running(SessionOptions(managed_memory=160 * MB, backend="hashmap"), tmp_path, durable=True):
        assert memory.limit == 160 * MB
    assert memory.limit == 1000 * MB


def test_how_stores_have_their_memory(tmp_path: Path) -> None:
    memory = Memory(limit=1000 * MB)
    process = Process(memory)
    halves = SessionOptions(managed_memory=160 * MB, store_buffered=0.5)
    with process.running(halves, tmp_path, durable=True) as stores:
        assert (memory.limit, stores.buffer_bytes, stores.cache_bytes) == (140 * MB, 10 * MB, 10 * MB)
        assert stores.cache is not None and stores.buffers.get_buffer_size() == 10 * MB
        fixed = SessionOptions(managed_memory=160 * MB, store_memory=30 * MB, parallelism=2, store_managed=False)
        with process.running(fixed, tmp_path, durable=True):
            assert memory.limit == 320 * MB - 40 * MB
            assert stores.buffer_bytes + stores.cache_bytes == 100 * MB
            assert stores.buffers.get_buffer_size() == stores.buffer_bytes
    own = SessionOptions(managed_memory=160 * MB, store_managed=False, store_cache=3 * MB)
    with process.running(own, tmp_path, durable=True) as stores:
        assert stores is not process.stores
        assert (memory.limit, stores.buffer_bytes, stores.cache_bytes) == (160 * MB, 0, 3 * MB)


def test_two_jobs_at_once() -> None:
    """A short job that begins and ends within a long one, which keeps its memory limit and the switch interval."""
    interval, limit = sys.getswitchinterval(), MEMORY.limit
    begun, over = threading.Event(), threading.Event()
    seen: list[tuple[float, int]] = []

    def look(_: object) -> None:
        if not begun.is_set():
            begun.set()
            assert over.wait(60)
            seen.append((sys.getswitchinterval(), MEMORY.limit))

    def long_job() -> None:
        options = {"execution.runtime-mode": "streaming", "taskmanager.memory.managed.size": "64 mb"}
        session = Session(options=options, on_progress=look)
        for result in session.execute("SELECT a, COUNT(*) FROM (VALUES (1), (2)) AS t(a) GROUP BY a"):
            list(result.batches())

    thread = threading.Thread(target=long_job)
    thread.start()
    assert begun.wait(60)
    session = Session(options={"execution.runtime-mode": "streaming", "taskmanager.memory.managed.size": "32 mb"})
    for result in session.execute("SELECT COUNT(*) FROM (VALUES (1), (2)) AS t(a)"):
        list(result.batches())
    over.set()
    thread.join()
    assert seen == [(pytest.approx(SWITCH_SECONDS), 64 * MB)]
    assert sys.getswitchinterval() == pytest.approx(interval)
    assert MEMORY.limit == limit
    assert PROCESS._shares == []
