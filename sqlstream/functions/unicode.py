"""Letters beyond ASCII as Java has them: full case mapping, and texts turned round by code points.

DuckDB maps letter to letter: ß to ẞ, ﬁ to ﬁ, every Σ to σ. Java's (and Python's) mapping is Unicode's full one:
STRASSE, FI, and ς at the end of a word. The two differ in the letters of UPPER and LOWER below alone, so only texts
that have one go to Python; ASCII is told by its length and costs nothing.
"""

from __future__ import annotations

import pyarrow as pa

from sqlstream.functions import user
from sqlstream.functions.numbers import once
from sqlstream.types import BYTES_TYPE, STRING, Type

# What full mapping writes as several letters (Unicode's SpecialCasing: ß, ŉ, ΐ, ﬁ, …), and İ and Σ. By code: some look alike.
UPPER = (
    "\u00df\u0149\u01f0\u0390\u03b0\u0587\u1e96-\u1e9a\u1f50\u1f52\u1f54\u1f56\u1f80-\u1faf\u1fb2-\u1fb4\u1fb6\u1fb7\u1fbc"
    "\u1fc2-\u1fc4\u1fc6\u1fc7\u1fcc\u1fd2\u1fd3\u1fd6\u1fd7\u1fe2-\u1fe4\u1fe6\u1fe7\u1ff2-\u1ff4\u1ff6\u1ff7\u1ffc"
    "\ufb00-\ufb06\ufb13-\ufb17"
)
LOWER = "\u0130\u03a3"

_IS_ASCII = "strlen({0}) = length({0})"  # as many bytes as characters


def upper_texts(texts: pa.Array) -> pa.Array:
    """Full upper case, text by text: Arrow's own maps letter to letter."""
    return pa.array([None if s is None else s.upper() for s in texts.to_pylist()], pa.string())


def lower_texts(texts: pa.Array) -> pa.Array:
    """Full lower case."""
    return pa.array([None if s is None else s.lower() for s in texts.to_pylist()], pa.string())


def decoded_texts(texts: pa.Array) -> pa.Array:
    """UTF-8, with U+FFFD for what is none."""
    return pa.array([None if b is None else b.decode("utf-8", "replace") for b in texts.to_pylist()], pa.string())


_HERE = "sqlstream.functions.unicode."
UPPER_TEXTS = user.UserFunction(_HERE + "upper_texts", (STRING,), STRING, deterministic=True, arrow=True)
LOWER_TEXTS = user.UserFunction(_HERE + "lower_texts", (STRING,), STRING, deterministic=True, arrow=True)
DECODED_TEXTS = user.UserFunction(_HERE + "decoded_texts", (BYTES_TYPE,), STRING, deterministic=True, arrow=True)


def _mapped(x: str, plain: str, letters: str, full: user.UserFunction) -> str:
    return once(
        x,
        lambda x: (
            f"CASE WHEN {_IS_ASCII.format(x)} OR NOT regexp_matches({x}, '[{letters}]') THEN {plain}({x}) "
            f"ELSE {full.called([x])} END"
        ),
    )


def upper(args: list[str], types: list[Type], result: Type) -> str:
    """UPPER."""
    return _mapped(args[0], "upper", UPPER, UPPER_TEXTS)


def lower(args: list[str], types: list[Type], result: Type) -> str:
    """LOWER."""
    return _mapped(args[0], "lower", LOWER, LOWER_TEXTS)


def decoded(x: str) -> str:
    """SQL of bytes as text. What is no UTF-8 becomes U+FFFD, as in Java; DuckDB raises on it, so Python does those."""
    return f"CASE WHEN {x} IS NOT NULL THEN coalesce(TRY(decode({x})), {DECODED_TEXTS.called([x])}) END"


def reverse(args: list[str], types: list[Type], result: Type) -> str:
    """REVERSE by code points; DuckDB's keeps an accent with its letter."""
    whole = "array_to_string(list_reverse(string_split({0}, '')), '')"
    return once(args[0], lambda x: f"CASE WHEN {_IS_ASCII.format(x)} THEN reverse({x}) ELSE {whole.format(x)} END")
