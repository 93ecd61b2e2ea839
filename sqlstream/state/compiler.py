"""Numba's side of kernels: loops to machine code, and the intrinsics that they use. Imported only to compile.

Nothing that Python needs to call the code is made (`kernel.py` calls it natively), and no memory is managed, which
together halve the time that a compilation takes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba.core import cgutils, compiler, typed_passes, types, untyped_passes
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.registry import cpu_target
from numba.core.types.misc import unliteral
from numba.core.typing.templates import AbstractTemplate
from numba.extending import intrinsic
from numba.np import arrayobj

from sqlstream.errors import InternalError
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


# Helpers by key and argument types, and by the symbol that their callers name.
_helpers: dict[Any, Any] = {}
_libraries: dict[str, Any] = {}


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
def helper_type(loop: Loop) -> Any:
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
                _helpers[self.key, of] = made.signature
            return _helpers[self.key, of]

    return types.Function(Call)


def intrinsic_type(name: str) -> Any:
    """What the intrinsic of this module is to Numba."""
    return cpu_target.typing_context.resolve_value_type(globals()[name])


# --- loads and stores of unaligned words in byte arrays ----------------------------------------------------


def _pointer(context: Any, builder: Any, signature: Any, args: Any, bits: int) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.bitcast(builder.gep(array.data, [args[1]]), ir.IntType(bits).as_pointer())


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def load64(typingctx: Any, data: Any, at: Any) -> Any:
    """The 8 bytes from `at` on, little-endian, as uint64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, args, 64), align=1)

    return types.uint64(data, types.int64), code


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def load32(typingctx: Any, data: Any, at: Any) -> Any:
    """The 4 bytes from `at` on, little-endian, as uint64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        small = builder.load(_pointer(context, builder, signature, args, 32), align=1)
        return builder.zext(small, ir.IntType(64))

    return types.uint64(data, types.int64), code


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def store64(typingctx: Any, data: Any, at: Any, value: Any) -> Any:
    """Writes the 8 bytes of `value`, little-endian, from `at` on."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(context, builder, signature, args, 64), align=1)
        return context.get_dummy_value()

    return types.void(data, types.int64, types.uint64), code


# --- the cache and the stack -------------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def prefetch(typingctx: Any, data: Any, at: Any) -> Any:
    """Ask for the cache line of element `at` (of the flat array), and go on."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        pointer = builder.bitcast(builder.gep(array.data, [args[1]]), ir.IntType(8).as_pointer())
        i32 = ir.IntType(32)
        signature_ = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], signature_)
        builder.call(function, [pointer, i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(data, types.int64), code


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def local_words(typingctx: Any, size: Any) -> Any:
    """An array of `size` (a constant) uint64 on the stack, for as long as the kernel runs. Not initialised."""
    if not isinstance(size, types.IntegerLiteral):
        return None
    array = types.Array(types.uint64, 1, "C")

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i64 = ir.IntType(64)
        n = size.literal_value
        memory = cgutils.alloca_once(builder, ir.ArrayType(i64, n))
        made = context.make_array(array)(context, builder)
        data = builder.bitcast(memory, i64.as_pointer())
        arrayobj.populate_array(made, data, [i64(n)], [i64(8)], i64(8), None)
        return made._getvalue()

    return array(size), code
