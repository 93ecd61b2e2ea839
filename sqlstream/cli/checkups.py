"""What `sqlstream doctor` looks at: each check tells what it found, and what to do where that is not well."""

from __future__ import annotations

import locale
import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

from sqlstream import distribution
from sqlstream.cli import libraries
from sqlstream.cli.of_jobs import counted, size

OK, WARN, FAIL = "OK", "WARN", "FAIL"
_LITTLE, _NOTHING = 2 << 30, 200 << 20  # bytes on a disk that are few, and that are too few
_FILES = 1024  # that a process should be able to open: RocksDB keeps its files open
_SHOWN = 3  # jobs of a kind that are told of one by one
_MODULES = ("sqlglot", "pyarrow", "duckdb", "fsspec", "numba", "numpy", "rocksdict")


@dataclass(frozen=True)
class Finding:
    """`about`: what was looked at; `state`: OK, WARN or FAIL; `text`: what was found; `advice`: what to do."""

    about: str
    state: str
    text: str
    advice: str = ""


Findings = Iterator[Finding]


def findings() -> Findings:
    """Of all checks, in order. One that goes wrong itself is a finding, too."""
    for check in CHECKS:
        about = check.__name__.strip("_").replace("_", " ")
        try:
            yield from check()
        except Exception as e:
            yield Finding(about, FAIL, f"it cannot be checked: {type(e).__name__}: {e}")


def _installation() -> Findings:
    package = Path(__file__).parents[1]
    yield Finding("sqlstream", OK, f"{distribution.VERSION} in {package}")
    if (other := distribution.clash()) is not None:
        yield Finding("sqlstream", FAIL, "another tool of this name is installed here, too", other)
    if not libraries.libraries():
        yield Finding(
            "sqlstream",
            WARN,
            "it was not installed by pip: versions of libraries cannot be compared",
            "pip install -e .",
        )
    command = shutil.which("sqlstream")
    here = Path(sys.prefix) / "bin" / "sqlstream"
    if command is not None and here.exists() and os.path.realpath(command) != os.path.realpath(here):
        yield Finding(
            "command", WARN, f"`sqlstream` on the path is {command}, and not that of this Python, {here}",
            f"put {here.parent} before it on PATH, or activate the environment",
        )  # fmt: skip
    else:
        yield Finding("command", OK, command or f"{here} (not on the path)")


def _python() -> Findings:
    text = f"{platform.python_version()} {platform.machine()}, {sys.executable}"
    yield Finding("python", OK, text)


def _libraries() -> Findings:
    known = {x.name: x for x in libraries.libraries() if not x.extra}
    for name in _MODULES:
        library = known.get(name)
        try:
            version = library.version if library is not None else metadata.version(name)
            import_module(name)
        except Exception as e:  # a library of C that cannot be loaded raises all kinds
            yield Finding(name, FAIL, f"it cannot be imported: {e}", f"pip install --force-reinstall {name}")
            continue
        if library is not None and not library.fits:
            yield Finding(
                name, FAIL, f"{version}, and {library.wanted} is needed", f"pip install '{name}{library.wanted}'"
            )
        else:
            yield Finding(name, OK, version or "?")


def _extras() -> Findings:
    for library in libraries.libraries():
        if library.extra and library.version is None:
            yield Finding(
                f"extra {library.extra}", OK, "not installed", f"to have it: {distribution.install(library.extra)}"
            )
        elif library.extra and not library.fits:
            text = f"{library.name} {library.version}, and {library.wanted} is needed"
            yield Finding(f"extra {library.extra}", WARN, text, distribution.install(library.extra))
        elif library.extra:
            yield Finding(f"extra {library.extra}", OK, f"{library.name} {library.version}")


def _configuration() -> Findings:
    from sqlstream.catalog.objects import View
    from sqlstream.configuration import collected, files, values
    from sqlstream.errors import SqlStreamError
    from sqlstream.session import Session

    try:
        found = collected(Path.cwd(), os.environ)
        read = files(Path.cwd(), os.environ)
    except SqlStreamError as e:
        yield Finding("configuration", FAIL, e.message, str(e).replace("\n", " "))
        return
    where = ", ".join(map(str, read)) or "no file"
    yield Finding("configuration", OK, f"{counted(len(found), 'option')} set ({where})")
    if (kept := found.get("table.catalog-store.file.path")) is not None:
        try:
            session = Session(options=values(found), dry=True)
        except SqlStreamError as e:
            yield Finding("catalog", FAIL, e.message, f"mend {kept.value}/catalog.sql: {str(e).splitlines()[0]}")
            return
        names = session.catalog.names()
        yield Finding("catalog", OK, f"{counted(len(names), 'table or view')} in {kept.value}")
        for name in names:
            view = session.catalog.find(name)
            if not isinstance(view, View):
                continue
            try:
                session.environment.bind(view.query, within=view.within)
            except SqlStreamError as e:
                yield Finding(f"view {name}", FAIL, e.message, f"ALTER VIEW {name} AS …, or DROP VIEW {name}")


def _directories() -> Findings:
    from sqlstream.runtime.registry import home

    here = Path.cwd()
    jobs = here / ".sqlstream"
    yield _writable(
        "working directory",
        jobs if jobs.exists() else here,
        "durable jobs keep their state here: work elsewhere, or chmod",
    )
    try:
        yield _writable(
            "list of jobs", home(), "set XDG_STATE_HOME; without it `sqlstream jobs` knows those of this directory only"
        )
    except RuntimeError as e:
        yield Finding("list of jobs", WARN, str(e), "set HOME or XDG_STATE_HOME")
    yield _writable("temporary files", Path(tempfile.gettempdir()), "set TMPDIR")


def _writable(about: str, path: Path, advice: str) -> Finding:
    """Whether files can be made there, or in the nearest directory that there is."""
    there = next(p for p in (path, *path.parents) if p.exists())
    if not there.is_dir():
        return Finding(about, FAIL, f"{there} is no directory", advice)
    try:
        with tempfile.TemporaryFile(dir=there):
            return Finding(about, OK, str(path))
    except OSError as e:
        return Finding(about, WARN, f"{there} cannot be written: {e.strerror or e}", advice)


def _disks() -> Findings:
    seen: dict[int, list[str]] = {}
    for path in (Path.cwd(), Path(tempfile.gettempdir())):
        seen.setdefault(path.stat().st_dev, []).append(str(path))
    for places in seen.values():
        usage = os.statvfs(places[0])
        free, whole = usage.f_bavail * usage.f_frsize, usage.f_blocks * usage.f_frsize
        text = f"{size(free)} free of {size(whole)} ({', '.join(places)})"
        state = FAIL if free < _NOTHING else WARN if free < _LITTLE else OK
        yield Finding("disk", state, text, "make room: jobs stop when it is full" if state != OK else "")
        if usage.f_files and usage.f_favail < 1000:
            yield Finding(
                "disk", FAIL, f"{usage.f_favail} files can be made in {places[0]}", "delete files that are not needed"
            )


def _limits() -> Findings:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        yield Finding("open files", WARN, f"{soft} at most", f"ulimit -n {max(_FILES, min(hard, 65536))}")
    else:
        yield Finding("open files", OK, "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,} at most")


def _kernels() -> Findings:
    from sqlstream.operators.kernels import all_kernels, is_cached
    from sqlstream.state.kernel_cache import CACHE

    if CACHE.directory is None:
        yield Finding(
            "kernel cache",
            WARN,
            "there is no directory for it: each start compiles",
            "set XDG_CACHE_HOME to one that you can write",
        )
        return
    kernels = all_kernels()
    there = sum(is_cached(k) for k in kernels.values())
    text = f"{there} of {len(kernels)} compiled in {CACHE.directory}"
    missing = there < len(kernels)
    advice = (
        "the first streaming query will wait a second or three: `sqlstream warmup` compiles all now" if missing else ""
    )
    yield Finding("kernel cache", WARN if missing else OK, text, advice)


def _engines() -> Findings:
    import contextlib

    from sqlstream.duck import connect
    from sqlstream.state.rocks import Store

    with contextlib.closing(connect()) as duck:
        duck.execute("SELECT 1").fetchall()
    yield Finding("duckdb works", OK, "a query was answered")
    with (
        tempfile.TemporaryDirectory(prefix="sqlstream-doctor-") as place,
        contextlib.closing(Store(Path(place) / "store")) as s,
    ):
        s.flush()
    yield Finding("rocksdb works", OK, f"a store was made in {tempfile.gettempdir()}")


def _time_zones() -> Findings:
    import zoneinfo

    count = len(zoneinfo.available_timezones())
    if count < 100:
        yield Finding(
            "time zones", FAIL, f"{count} are known", "install tzdata: apt install tzdata, or pip install tzdata"
        )
    else:
        yield Finding("time zones", OK, f"{count} are known; local time is {os.environ.get('TZ') or 'the system’s'}")


def _terminal() -> Findings:
    encoding = (getattr(sys.stdout, "encoding", None) or locale.getpreferredencoding(False)).lower()
    if encoding.replace("-", "") != "utf8":
        yield Finding("terminal", WARN, f"text is written in {encoding}", "export LANG=C.UTF-8, or PYTHONUTF8=1")
        return
    kind = f"TERM={os.environ.get('TERM', '')}" if sys.stdout is not None and sys.stdout.isatty() else "no terminal"
    colours = ", no colours (NO_COLOR)" if os.environ.get("NO_COLOR") else ""
    yield Finding("terminal", OK, f"{kind}, {encoding}{colours}")


def _jobs() -> Findings:
    from sqlstream.runtime.client import currents

    found = list(currents())
    running = [v for v in found if v.running and not v.silent]
    yield Finding("jobs", OK, f"{len(running)} of {counted(len(found), 'job')} running")
    kinds: dict[str, list[Finding]] = {}
    for v in found:
        about, directory, status = f"job {v.place.name}", v.place.directory, v.status
        said = next(iter((status.message or status.failure or "").splitlines()), "")
        if v.silent:
            advice = f"`sqlstream status {directory}`; was its process halted?"
            kinds.setdefault("silent", []).append(Finding(about, WARN, f"it does not answer: {v.silent}", advice))
        elif status.state == "LOST":
            advice = f"start it again, and it goes on from its last checkpoint, or delete {directory}"
            kinds.setdefault("lost", []).append(Finding(about, WARN, said or "its process is gone", advice))
        elif status.state == "FAILED":
            advice = f"`sqlstream status {directory}`; start it again, or delete the directory"
            kinds.setdefault("failed", []).append(Finding(about, WARN, f"it failed: {said}", advice))
    for kind, of_kind in kinds.items():
        yield from of_kind[:_SHOWN]
        if (more := len(of_kind) - _SHOWN) > 0:
            yield Finding("jobs", WARN, f"{counted(more, 'more job')} like that ({kind})", "`sqlstream jobs` lists all")


CHECKS: tuple[Callable[[], Findings], ...] = (
    _installation, _python, _libraries, _extras, _configuration, _directories, _disks, _limits, _kernels, _engines,
    _time_zones, _terminal, _jobs,
)  # fmt: skip
