"""What a kernel is declared with: the types of its arguments, and what its compiler asks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

Loop = Callable[..., Any]

# Element types, as NumPy writes them.
I64, U64, U8, I32, F64, B = "<i8", "<u8", "|u1", "<i4", "<f8", "|b1"
VOID = ""
SIZES = {I64: 8, U64: 8, U8: 1, I32: 4, F64: 8, B: 1}


@dataclass(frozen=True)
class ArrayType:
    """A contiguous array."""

    element: str
    dimensions: int
    written: bool


def w(element: str, dimensions: int = 1) -> ArrayType:
    """An array that the kernel may write."""
    return ArrayType(element, dimensions, True)


def r(element: str, dimensions: int = 1) -> ArrayType:
    """An array that the kernel only reads (accepts read-only ones)."""
    return ArrayType(element, dimensions, False)


SYMBOL = "kernel"  # the one entry of a kernel's machine code


class Declared(Protocol):
    """A kernel to its compiler."""

    name: str
    loop: Loop
    result: str
    arguments: tuple[ArrayType | str, ...]
