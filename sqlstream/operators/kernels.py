"""All kernels, for who compiles them ahead (`sqlstream warmup`)."""

from __future__ import annotations

import time
from importlib import import_module

from sqlstream.state.kernel import Kernel
from sqlstream.state.kernel_cache import CACHE

MODULES = (
    "sqlstream.formats.text_kernels",
    "sqlstream.state.kernels",
    "sqlstream.operators.aggregate_kernels",
    "sqlstream.operators.deviation_kernels",
    "sqlstream.operators.join_kernels",
)


def all_kernels() -> dict[str, Kernel]:
    """By name; the long ones, which take longest to compile, come first."""
    found = [k for m in MODULES for k in vars(import_module(m)).values() if isinstance(k, Kernel)]
    found.sort(key=lambda k: (-len(k.loop.__code__.co_code), k.name))
    return {k.name: k for k in found}


def compile_kernel(name: str) -> float:
    """Compiles one into the cache; the seconds that it took. For a process that does only this."""
    started = time.perf_counter()
    all_kernels()[name].compile()
    return time.perf_counter() - started


def is_cached(kernel: Kernel) -> bool:
    """Whether its machine code is where `compile` puts it."""
    return CACHE.keeps(kernel.file)
