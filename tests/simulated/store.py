"""An object store that fails, hangs, is slow and lies: `simulated://…`.

Its weather says what it does to whom asks. `away`: nobody gets an answer. `hanging`: answers come when it is over. `flaky`:
some calls fail before anything was done, some after all of it was, and nobody is told which. `full`: nothing is
written. `late`: lists are those of some time before. Whatever it is, a call takes time, and others go on meanwhile; what
is on its way when a process dies is done, or not, or when the next process is at work already.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
from collections.abc import Callable
from typing import Any

import fsspec
from fsspec.spec import AbstractFileSystem

from simulated.scheduler import START, Killed, Scheduler

FINE, AWAY, HANGING, FLAKY, FULL, LATE = WEATHERS = ("fine", "away", "hanging", "flaky", "full", "late")
LAG = 3.0  # seconds by which lists are late


class Objects:
    """What is in the store, and how it is. One for all who open it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.random = scheduler.random
        self.weather = FINE
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.before: list[tuple[float, dict[str, tuple[bytes, float]]]] = []  # for late lists
        self.on_its_way: list[Callable[[], None]] = []  # of processes that died
        self.patience = 60.0  # seconds after which a client gives up

    def changed(self) -> None:
        """Lists remember."""
        if self.weather == LATE:
            self.before.append((self.scheduler.time, dict(self.objects)))
            self.before = [b for b in self.before if b[0] >= self.scheduler.time - 4 * LAG]

    def listed(self) -> dict[str, tuple[bytes, float]]:
        """As a list shows it."""
        if self.weather != LATE or self.random.random() < 0.5:
            return self.objects
        old = [o for when, o in self.before if when <= self.scheduler.time - LAG * self.random.random()]
        return old[-1] if old else self.objects

    def call(self, what: str, path: str, writes: bool, do: Callable[[], Any]) -> Any:
        """A call of a client: it comes there, is done or not, and an answer comes back or not."""
        s = self.scheduler
        if s._current is None or s._current.outside:
            return do()
        name = f"store {what} {shown(path)}"
        s.effect(name)
        until = s.time + self.patience
        if self.weather == HANGING:
            self._wait(s, lambda: self.weather != HANGING, until, do if writes else None)
            if self.weather == HANGING:
                s.note(f"{name}: no answer")
                raise TimeoutError("the store does not answer")
        if self.weather == AWAY:
            s.note(f"{name}: away")
            raise ConnectionError("the store is away")
        if self.weather == FULL and writes:
            s.note(f"{name}: full")
            raise OSError(errno.ENOSPC, "no space left on device")
        chance = self.random.random()
        if self.weather == FLAKY and chance < 0.15:
            s.note(f"{name}: fails")
            raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
        took = self.random.choice([0.0, 0.001, 0.02, 0.2]) if self.weather != FINE else self.random.choice([0.0, 0.002])
        if took:
            self._wait(s, lambda: False, s.time + took, do if writes else None)
        out = do()
        if writes:
            self.changed()
        s.effect(f"{name}: done")
        if self.weather == FLAKY and 0.15 <= chance < 0.3:
            s.note(f"{name}: done, and fails")
            raise TimeoutError("no answer")
        return out

    def _wait(self, s: Scheduler, ready: Callable[[], bool], until: float, do: Callable[[], Any] | None) -> None:
        s._pause("store", lambda: s.dead or ready(), until)
        if s.dead:
            if do is not None:
                self.on_its_way.append(do)
            raise Killed

    def died(self) -> None:
        """Of what is on its way some is done now, some later, some never."""
        s = self.scheduler
        for do in self.on_its_way:
            fate = self.random.random()
            if fate < 0.3:
                continue
            wait = 0.0 if fate < 0.6 else self.random.choice([0.01, 0.5, 5.0])

            def arrive(do: Callable[[], None] = do, wait: float = wait) -> None:
                s.sleep(wait)
                s.note("store: what a dead process wrote arrives")
                with contextlib.suppress(OSError):
                    do()
                self.changed()

            s.start("zombie", arrive, outside=True)
        self.on_its_way = []


def shown(path: str) -> str:
    """A name as a trace shows it: RocksDB's files have other contents in each run."""
    head, _, name = path.rpartition("/")
    return f"{head}/*" if head.endswith("/shared") or name.startswith(".tmp") else path


class SimulatedFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """fsspec's door to it."""

    protocol = "simulated"
    cachable = False
    objects: Objects

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(p) for p in path]
        return str(path).removeprefix("simulated://").strip("/")

    def _key(self, path: str) -> str:
        return str(self._strip_protocol(path))

    def _put(self, path: str, data: bytes) -> None:
        o = self.objects
        o.objects[self._key(path)] = (data, START + o.scheduler.time)

    def pipe_file(self, path: str, value: bytes, **more: Any) -> None:
        data = bytes(value)
        self.objects.call("put", path, True, lambda: self._put(path, data))

    def put_file(self, lpath: str, rpath: str, **more: Any) -> None:
        with open(lpath, "rb") as f:
            self.pipe_file(rpath, f.read())

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        out: bytes = self.objects.call("get", path, False, lambda: self._get(path))
        return out[start:end]

    def _get(self, path: str) -> bytes:
        try:
            return self.objects.objects[self._key(path)][0]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such object", path) from None

    def get_file(self, rpath: str, lpath: str, **more: Any) -> None:
        data = self.cat_file(rpath)
        with open(lpath, "wb") as f:
            f.write(data)

    def rm_file(self, path: str) -> None:
        def remove() -> None:
            self.objects.objects.pop(self._key(path), None)

        self.objects.call("delete", path, True, remove)

    def cp_file(self, path1: str, path2: str, **more: Any) -> None:
        def copy() -> None:
            self._put(path2, self._get(path1))

        self.objects.call("copy", path2, True, copy)

    def _info(self, key: str, found: dict[str, tuple[bytes, float]]) -> dict[str, Any]:
        if key in found:
            data, when = found[key]
            tag = hashlib.md5(data).hexdigest()
            return {"name": key, "size": len(data), "type": "file", "mtime": when, "ETag": tag}
        if any(k.startswith(key + "/") for k in found) or not key:
            return {"name": key, "size": 0, "type": "directory"}
        raise FileNotFoundError(errno.ENOENT, "no such object", key)

    def info(self, path: str, **more: Any) -> dict[str, Any]:
        out: dict[str, Any] = self.objects.call(
            "head", path, False, lambda: self._info(self._key(path), self.objects.objects)
        )
        return out

    def ls(self, path: str, detail: bool = True, **more: Any) -> list[Any]:
        key = self._key(path)

        def look() -> list[dict[str, Any]]:
            found = self.objects.listed()
            start = key + "/" if key else ""
            names = sorted({start + k[len(start) :].split("/")[0] for k in found if k.startswith(start)})
            if not names:
                return [self._info(key, found)]
            return [self._info(n, found) for n in names]

        out: list[dict[str, Any]] = self.objects.call("list", path, False, look)
        return out if detail else [i["name"] for i in out]

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **more: Any
    ) -> Any:
        key = self._key(path)

        def look() -> dict[str, dict[str, Any]]:
            found = self.objects.listed()
            names = sorted(k for k in found if k.startswith(key + "/") or k == key)
            return {k: self._info(k, found) for k in names}

        out: dict[str, dict[str, Any]] = self.objects.call("list", path, False, look)
        return out if detail else list(out)

    def exists(self, path: str, **more: Any) -> bool:
        try:
            self.info(path)
            return True
        except FileNotFoundError:
            return False

    def invalidate_cache(self, path: str | None = None) -> None:
        pass

    def _open(self, path: str, mode: str = "rb", **more: Any) -> Any:
        if mode == "rb":
            return _Read(self.cat_file(path))
        return _Written(self, path)


class _Read(io.BytesIO):
    @property
    def size(self) -> int:
        return len(self.getbuffer())


class _Written(io.BytesIO):
    """There when it is closed, like an object."""

    def __init__(self, fs: SimulatedFileSystem, path: str) -> None:
        super().__init__()
        self._fs, self._path = fs, path

    def close(self) -> None:
        if not self.closed:
            data = self.getvalue()
            super().close()
            self._fs.pipe_file(self._path, data)

    def __del__(self) -> None:
        pass  # what nobody has closed is not there


fsspec.register_implementation("simulated", SimulatedFileSystem, clobber=True)
