"""What a compiled loop is: declared here without Numba, loaded from the cache without it, compiled with it.

    @kernel(I64, r(I64), w(U64), I64)      result, arguments: arrays read or written, numbers
    def loop(values, table, start): ...

A kernel gets its machine code when it is first called, so a query waits only for those that it uses: from the cache
(some milliseconds, and only LLVM is loaded), else from `compiler.py`. It runs without Python's lock, never parallel,
and must not allocate: what it needs it is given. Calls check their arrays as C code must.

The key of cached code covers all that it was made from: the bytecode of the loop and of its helpers, the numbers that
these name, the compiler's source, LLVM, and the processor. So code that is found is right, and nothing expires.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import threading
from collections.abc import Callable
from ctypes import CFUNCTYPE, addressof, c_int32, c_int64, c_uint8, c_void_p
from functools import cache, cached_property
from pathlib import Path
from types import CodeType
from typing import Any

from sqlstream.errors import InternalError
from sqlstream.state.kernel_cache import CACHE
from sqlstream.state.kernel_types import F64, I32, I64, SIZES, SYMBOL, U8, U64, VOID, ArrayType, B, Loop, r, w

__all__ = [
    "F64", "I32", "I64", "U64", "U8", "VOID", "ArrayType", "B", "Helper", "Instruction", "Kernel", "apart", "helper",
    "inlined", "kernel", "r", "w",
]  # fmt: skip

_lock = threading.RLock()


class Helper:
    """A function that is compiled into the kernels that call it. `inlining`: LLVM's attribute, where it is not to choose."""

    def __init__(self, loop: Loop, inlining: str | None = None) -> None:
        self.loop, self.inlining = loop, inlining

    @cached_property
    def _numba_type_(self) -> Any:
        """Numba's own protocol: what this name is, in code that it compiles."""
        from sqlstream.state.compiler import helper_type

        return helper_type(self.loop, self.inlining)


class Instruction:
    """A name for one of `intrinsics.py`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any) -> Any:
        raise InternalError(f"{self.name} is for kernels")

    @cached_property
    def _numba_type_(self) -> Any:
        from sqlstream.state.compiler import intrinsic_type

        return intrinsic_type(self.name)


class Kernel:
    """A compiled loop. It cannot be called by another kernel: `helper` is for that."""

    def __init__(self, loop: Loop, result: str, arguments: tuple[ArrayType | str, ...]) -> None:
        self.loop, self.result, self.arguments = loop, result, arguments
        self.name = f"{loop.__module__.rpartition('.')[2]}.{loop.__name__}"
        self._native: Loop | None = None

    def __call__(self, *args: Any) -> Any:
        return (self._native or self.load())(*args)

    def load(self) -> Loop:
        """The kernel's native function, from the cache or compiled into it. From any thread."""
        with _lock:
            if self._native is None:
                data = CACHE.read(self.file)
                if data is None:
                    data = self.compile()
                self._native = _Native(self, data)
            return self._native

    def compile(self) -> bytes:
        """Compiles anew, and keeps the machine code where there is a cache."""
        from sqlstream.state.compiler import machine_code

        with _lock:
            data = machine_code(self)
            CACHE.write(self.file, data)
            return data

    @cached_property
    def file(self) -> str:
        """The cache file's name: what the machine code is of."""
        digest = hashlib.sha256(_platform())
        digest.update(repr((self.result, self.arguments)).encode())
        _add(digest, self.loop, set())
        return f"{self.name}-{digest.hexdigest()[:24]}"


def kernel(result: str, *arguments: ArrayType | str) -> Callable[[Loop], Kernel]:
    """Declares a kernel with its result and argument types."""
    return lambda loop: Kernel(loop, result, arguments)


def helper(loop: Loop) -> Any:
    """Declares a helper; its types are those of each call. Nothing but a kernel can call it."""
    return Helper(loop)


def inlined(loop: Loop) -> Any:
    """A helper that becomes part of each of its callers."""
    return Helper(loop, "alwaysinline")


def apart(loop: Loop) -> Any:
    """A helper that is called: what is rare stays out of the way of what is not."""
    return Helper(loop, "noinline")


# ---- the cache key


@cache
def _platform() -> bytes:
    """What all kernels depend on."""
    import llvmlite.binding as llvm  # type: ignore[import-untyped, unused-ignore]
    from llvmlite import __version__

    compiler = b"".join(Path(__file__).with_name(name).read_bytes() for name in ("compiler.py", "intrinsics.py"))
    given = (os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES"))  # Numba compiles for that one then
    host = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), *filter(None, given))
    facts = (sys.implementation.cache_tag, platform.machine(), __version__, llvm.llvm_version_info, host)
    return hashlib.sha256(repr(facts).encode() + compiler).digest()


def _add(digest: Any, loop: Loop, seen: set[Loop]) -> None:
    """Adds a function's bytecode and what its global names stand for."""
    if loop in seen:
        return
    seen.add(loop)
    code: CodeType = loop.__code__
    digest.update(code.co_code + repr((code.co_consts, code.co_names, code.co_varnames)).encode())
    for name in code.co_names:
        value = loop.__globals__.get(name)
        if isinstance(value, Helper):
            digest.update((value.inlining or "").encode())
            _add(digest, value.loop, seen)
        elif value is not None and not isinstance(value, Instruction):
            digest.update(f"{name}={value!r};".encode() if hasattr(value, "__float__") else name.encode())


# ---- calling


@cache
def _target() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple()


class _Native:
    """Calls the entry by Numba's native convention: `status f(result*, exception**, arguments…)`, where an array is
    (owner, parent, elements, element size, data, shape…, strides…). `compiler.py` makes sure that it is that."""

    def __init__(self, kernel: Kernel, code: bytes) -> None:
        import llvmlite.binding as llvm

        # An engine for each: helpers of the same name in two objects stay apart.
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target().create_target_machine(jit=True))
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        address = engine.get_function_address(SYMBOL)
        if not address:
            raise InternalError(f"the machine code of {kernel.name} has no entry")
        self._engine = engine  # owns the code
        self._kernel = kernel
        kinds: list[Any] = [c_void_p, c_void_p]
        for a in kernel.arguments:
            if isinstance(a, ArrayType):
                kinds += [c_void_p, c_void_p, c_int64, c_int64, c_void_p, *[c_int64] * (2 * a.dimensions)]
            else:
                kinds.append(c_uint8 if a == B else c_int64)
        self._entry = CFUNCTYPE(c_int32, *kinds)(address)

    def __call__(self, *args: Any) -> Any:
        kernel = self._kernel
        if len(args) != len(kernel.arguments):
            raise TypeError(f"{kernel.name} takes {len(kernel.arguments)} arguments, not {len(args)}")
        result, exception = c_int64(0), c_void_p(0)
        native: list[Any] = [addressof(result), addressof(exception)]
        for value, kind in zip(args, kernel.arguments, strict=True):
            if isinstance(kind, ArrayType):
                about = value.__array_interface__
                pointer, readonly = about["data"]
                shape = about["shape"]
                size = SIZES[kind.element]
                if (
                    about["typestr"] != kind.element
                    or len(shape) != kind.dimensions
                    or not (about["strides"] is None or value.flags.c_contiguous)
                    or (readonly and kind.written)
                    or pointer % size
                ):
                    raise TypeError(f"{kernel.name}: an argument is {about}, not {kind}")
                if kind.dimensions == 1:
                    native += (None, None, shape[0], size, pointer, shape[0], size)
                else:
                    rows, width = shape
                    native += (None, None, rows * width, size, pointer, rows, width, width * size, size)
            else:
                native.append(int(value))
        if self._entry(*native):
            raise InternalError(f"{kernel.name} failed")
        if kernel.result == VOID:
            return None
        return bool(result.value) if kernel.result == B else result.value
