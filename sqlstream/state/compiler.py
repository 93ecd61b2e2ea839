"""Numba's side of kernels: loops to machine code. Imported only to compile.

Nothing that Python needs to call the code is made (`kernel.py` calls it natively), and no memory is managed, which
together halve the time that a compilation takes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
from numba.core import compiler, typed_passes, types, untyped_passes
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.registry import cpu_target
from numba.core.types.misc import unliteral
from numba.core.typing.templates import AbstractTemplate

from sqlstream.errors import InternalError
from sqlstream.state import intrinsics
from sqlstream.state.kernel_types import F64, I32, I64, SYMBOL, U8, U64, VOID, ArrayType, B, Declared, Loop

_TYPES = {
    I64: types.int64,
    U64: types.uint64,
    U8: types.uint8,
    I32: types.int32,
    F64: types.float64,
    B: types.boolean,
    VOID: types.void,
}


class Pipeline(compiler.CompilerBase):  # type: ignore[misc, unused-ignore]
    """Numba's passes without those for what no kernel has (closures, contexts, literals unrolled, array expressions):
    each goes over the whole function, and Numba's time is what a compilation takes."""

    def define_pipelines(self) -> list[PassManager]:
        """The passes in their order."""
        passes = PassManager("kernel")
        for each in (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.GenericRewrites,
            untyped_passes.ReconstructSSA,
            typed_passes.NopythonTypeInference,
            typed_passes.PreLowerStripPhis,
            typed_passes.IRLegalization,
            typed_passes.NativeLowering,
            typed_passes.NoPythonBackend,
        ):
            passes.add_pass(each, each.__name__)
        passes.finalize()
        return [passes]


# Helpers by key and argument types, and by the symbol that their callers name; what is said of a symbol's inlining.
_helpers: dict[Any, Any] = {}
_libraries: dict[str, Any] = {}
_inlining: dict[str, str] = {}


def machine_code(kernel: Declared) -> bytes:
    """The kernel as a relocatable object with the one entry `SYMBOL`, which needs no library."""
    with global_compiler_lock:
        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()
        made = _made(kernel.loop, tuple(_type(a) for a in kernel.arguments), _TYPES[kernel.result])
        library, module = made.library, made.library._final_module
        _link(library, module)
        entry = module.get_function(made.fndesc.llvm_func_name)
        _check(kernel, entry)
        entry.name = SYMBOL
        for f in module.functions:
            if not f.is_declaration and f.name != SYMBOL:
                f.linkage = "internal"
                if f.name in _inlining:
                    f.add_function_attribute(_inlining[f.name])
        library._optimize_final_module()
        module.verify()
        if needed := [f for f in _declared(module) if not f.startswith("llvm.")]:
            raise InternalError(f"kernel {kernel.name} needs {', '.join(needed)}")
        code: bytes = library.codegen._tm.emit_object(module)
        return code


def _made(loop: Loop, arguments: tuple[Any, ...], result: Any) -> Any:
    """A loop as LLVM's intermediate code, neither optimised nor linked."""
    flags = compiler.Flags()
    flags.error_model = "numpy"
    flags.nrt = False
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    typing, target = cpu_target.typing_context, cpu_target.target_context
    return compiler.compile_extra(typing, target, loop, arguments, result, flags, {}, pipeline_class=Pipeline)


def _declared(module: Any) -> list[str]:
    return [f.name for f in module.functions if f.is_declaration]


def _link(library: Any, module: Any) -> None:
    """Adds the helpers that are called, theirs too, and what Numba wants of its own."""
    todo, linked = [library], set()
    while todo:
        for other in dict.fromkeys(todo.pop()._linking_libraries):
            module.link_in(other._get_module_for_linking(), preserve=True)
        for name in _declared(module):
            if name in _libraries and name not in linked:
                linked.add(name)
                module.link_in(_libraries[name]._final_module, preserve=True)
                todo.append(_libraries[name])


def _check(kernel: Declared, entry: Any) -> None:
    """That the entry is called as `kernel._Native` does."""
    expected = 2 + sum(5 + 2 * a.dimensions if isinstance(a, ArrayType) else 1 for a in kernel.arguments)
    found = len(list(entry.arguments))
    if found != expected:
        raise InternalError(f"Numba {numba.__version__} gives kernel {kernel.name} {found} parameters, not {expected}")


def _type(a: ArrayType | str) -> Any:
    if isinstance(a, ArrayType):
        return types.Array(_TYPES[a.element], a.dimensions, "C", readonly=not a.written)
    return _TYPES[a]


@cache
def helper_type(loop: Loop, inlining: str | None) -> Any:
    """What a helper is to Numba: a function that is compiled for the types of each call, and linked by `_link`.

    A helper of `numba.njit` would be optimised and made executable by itself, which took most of the time.
    """

    class Call(AbstractTemplate):  # type: ignore[misc, unused-ignore]
        key = f"{loop.__module__}.{loop.__qualname__}"

        def generic(self, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
            of = tuple(unliteral(a) for a in args)
            if (self.key, of) not in _helpers:
                made = _made(loop, of, None)
                cpu_target.target_context.insert_user_function(self.key, made.fndesc)
                _libraries[made.fndesc.llvm_func_name] = made.library
                if inlining is not None:
                    _inlining[made.fndesc.llvm_func_name] = inlining
                _helpers[self.key, of] = made.signature
            return _helpers[self.key, of]

    return types.Function(Call)


def intrinsic_type(name: str) -> Any:
    """What the intrinsic of this name is to Numba."""
    return cpu_target.typing_context.resolve_value_type(getattr(intrinsics, name))
