"""All kernels, for who compiles them ahead (`sqlstream warmup`)."""

from __future__ import annotations

import time
from importlib import import_module

from sqlstream.state.kernel import Kernel
from sqlstream.state.kernel_cache import CACHE

MODULES = (
    "sqlstream.formats.avro.decode_kernels",
    "sqlstream.formats.avro.encode_kernels",
    "sqlstream.formats.csv_kernels",
    "sqlstream.formats.csv_scan.cut",
    "sqlstream.formats.csv_scan.records",
    "sqlstream.formats.encode_kernels",
    "sqlstream.formats.json_kernels",
    "sqlstream.formats.json_scan.lines",
    "sqlstream.formats.protobuf.decode_kernels",
    "sqlstream.formats.protobuf.encode_kernels",
    "sqlstream.formats.text_kernels",
    "sqlstream.state.arena_kernels",
    "sqlstream.state.chain_kernels",
    "sqlstream.state.filter_kernels",
    "sqlstream.state.hash_kernels",
    "sqlstream.state.index_kernels",
    "sqlstream.state.packing_kernels",
    "sqlstream.state.uniques",
    "sqlstream.state.waiting",
    "sqlstream.aggregates.streaming.kernels",
    "sqlstream.aggregates.streaming.deviation_kernels",
    "sqlstream.operators.join_kernels",
    "sqlstream.operators.session_kernels",
    "sqlstream.connectors.kafka.message_kernels",
    "sqlstream.connectors.postgres_cdc.change_kernels",
    "sqlstream.connectors.jdbc.mysql_kernels",
    "sqlstream.connectors.mysql_cdc.row_kernels",
    "sqlstream.connectors.value_kernels",
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
