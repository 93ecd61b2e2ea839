"""Instructions that kernels use and Numba has not: their code in LLVM's language. Imported only to compile.

Those for scanning text count in int64 throughout, and no index wraps around: what they read beyond an array is for their
callers to see to.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np import arrayobj

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)

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


# --- scanning text -----------------------------------------------------------------------------------------


def _place(context: Any, builder: Any, signature: Any, args: Any, array: int, at: int, kind: Any) -> Any:
    """A pointer to a `kind` at element args[at] of array args[array]."""
    made = context.make_array(signature.args[array])(context, builder, args[array])
    return builder.bitcast(builder.gep(made.data, [args[at]]), kind.as_pointer())


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def byte(typingctx: Any, data: Any, at: Any) -> Any:
    """The byte at `at`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(builder.load(_place(context, builder, signature, args, 0, 1, _I8), align=1), _I64)

    return types.int64(data, types.int64), code


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def put_byte(typingctx: Any, data: Any, at: Any, value: Any) -> Any:
    """Writes the lowest 8 bits of `value` at `at`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(builder.trunc(args[2], _I8), _place(context, builder, signature, args, 0, 1, _I8), align=1)
        return context.get_dummy_value()

    return types.void(data, types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def half(typingctx: Any, data: Any, at: Any) -> Any:
    """The 4 bytes from `at` on, little-endian, without a sign."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.zext(builder.load(_place(context, builder, signature, args, 0, 1, _I32), align=1), _I64)

    return types.int64(data, types.int64), code


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def put_half(typingctx: Any, array: Any, at: Any, value: Any) -> Any:
    """Writes the lowest 32 bits of `value` as element `at` of an int32 array."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(builder.trunc(args[2], _I32), _place(context, builder, signature, args, 0, 1, _I32), align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def word(typingctx: Any, data: Any, at: Any) -> Any:
    """Element `at` of an int64 array; of bytes the 8 from `at` on, little-endian."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        align = signature.args[0].dtype.bitwidth // 8
        return builder.load(_place(context, builder, signature, args, 0, 1, _I64), align=align)

    return types.int64(data, types.int64), code


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def put_word(typingctx: Any, array: Any, at: Any, value: Any) -> Any:
    """Writes element `at` of an int64 array."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _place(context, builder, signature, args, 0, 1, _I64), align=8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), code


def _vector(context: Any, builder: Any, signature: Any, args: Any, array: int, at: int, n: int) -> Any:
    return builder.load(_place(context, builder, signature, args, array, at, ir.VectorType(_I8, n)), align=1)


def _splat(builder: Any, value: Any, n: int) -> Any:
    """A vector of n times the lowest byte of `value`."""
    kind = ir.VectorType(_I8, n)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), builder.trunc(value, _I8), _I32(0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(_I32, n), [0] * n))


def _bits(builder: Any, truths: Any, n: int) -> Any:
    bits = builder.bitcast(truths, ir.IntType(n))
    return bits if n == 64 else builder.zext(bits, _I64)


def _equal(n: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator, unused-ignore]
    def equal(typingctx: Any, data: Any, at: Any, c: Any) -> Any:
        """Which of the n bytes from `at` on are `c`, a bit each, the first one lowest."""

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            found = builder.icmp_unsigned(
                "==", _vector(context, builder, signature, args, 0, 1, n), _splat(builder, args[2], n)
            )
            return _bits(builder, found, n)

        return types.int64(data, types.int64, types.int64), code

    return equal


def _below(n: int, least: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator, unused-ignore]
    def below(typingctx: Any, data: Any, at: Any) -> Any:
        """Which of the n bytes from `at` on are less than `least` or not ASCII, as bits."""

        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            bytes_ = _vector(context, builder, signature, args, 0, 1, n)
            return _bits(builder, builder.icmp_signed("<", bytes_, _splat(builder, _I64(least), n)), n)

        return types.int64(data, types.int64), code

    return below


equal64, equal32 = _equal(64), _equal(32)
special64, special32 = _below(64, 32), _below(32, 32)  # control characters, and what is not ASCII
foreign64, foreign32 = _below(64, 0), _below(32, 0)  # what is not ASCII


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def same32(typingctx: Any, data: Any, at: Any, other: Any, there: Any) -> Any:
    """Which of 32 bytes from `at` on are those of the other array from `there` on, as bits."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = _vector(context, builder, signature, args, 0, 1, 32)
        two = _vector(context, builder, signature, args, 2, 3, 32)
        return _bits(builder, builder.icmp_unsigned("==", one, two), 32)

    return types.int64(data, types.int64, other, types.int64), code


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def copy32(typingctx: Any, out: Any, there: Any, data: Any, at: Any) -> Any:
    """Copies 32 bytes to `there`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = _vector(context, builder, signature, args, 2, 3, 32)
        place = _place(context, builder, signature, args, 0, 1, ir.VectorType(_I8, 32))
        builder.store(value, place, align=1)
        return context.get_dummy_value()

    return types.void(out, types.int64, data, types.int64), code


# --- bits --------------------------------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def trailing_zeros(typingctx: Any, x: Any) -> Any:
    """How many of the lowest bits are 0; 64 of 0."""
    return types.int64(types.int64), lambda context, builder, signature, args: builder.cttz(args[0], ir.IntType(1)(0))


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def leading_zeros(typingctx: Any, x: Any) -> Any:
    """How many of the highest bits are 0; 64 of 0."""
    return types.int64(types.int64), lambda context, builder, signature, args: builder.ctlz(args[0], ir.IntType(1)(0))


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def shift_right(typingctx: Any, x: Any, n: Any) -> Any:
    """x by n bits, with zeros from above."""
    return types.int64(types.int64, types.int64), lambda context, builder, signature, args: builder.lshr(*args)


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def high_product(typingctx: Any, x: Any, y: Any) -> Any:
    """The upper half of the product, both without signs."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i128 = ir.IntType(128)
        wide = builder.mul(builder.zext(args[0], i128), builder.zext(args[1], i128))
        return builder.trunc(builder.lshr(wide, i128(64)), _I64)

    return types.int64(types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def below(typingctx: Any, x: Any, y: Any) -> Any:
    """x < y, both without signs."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.icmp_unsigned("<", *args)

    return types.boolean(types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def as_bits(typingctx: Any, x: Any) -> Any:
    """The bits of a double."""
    return types.int64(types.float64), lambda context, builder, signature, args: builder.bitcast(args[0], _I64)


# --- calls of a C library ----------------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def call2(typingctx: Any, function: Any, first: Any, second: Any) -> Any:
    """What the C function at an address gives for two words (addresses, or numbers). One that gives nothing gives anything."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_I64, [_I64, _I64])
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1], args[2]])

    return types.int64(types.int64, types.int64, types.int64), code
