"""PRINTF: texts by a format of java.util.Formatter, row by row. A format that is wrong for its arguments gives NULL, as in Flink.

An argument comes as a text with a mark of its kind in front: `i32:5` a whole number of so many bits, `f:1.5|1.5` a number in
floating point (its text in Java, and the one of its DOUBLE), `b:true`, `s:` any other text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal

import pyarrow as pa

from sqlstream.errors import BindError, DataError
from sqlstream.expressions import Expr
from sqlstream.functions import user
from sqlstream.functions.numbers import number_text
from sqlstream.functions.scalar_function import Typing
from sqlstream.functions.typing import implicit
from sqlstream.types import STRING, Type, array

_PLACE = re.compile(r"%(?:(\d+)\$)?([-#+ 0,(<]*)(\d+)?(?:\.(\d+))?([tT]?[a-zA-Z%])")
_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_EXACT = Context(prec=1100)  # more digits than any DOUBLE has
# what only Java can write: hashes, and the binary digits of a number
_JAVAS = ("h", "H", "a", "A")
_TAKEN = {
    "b": "-", "s": "-", "c": "-", "d": "-+ 0,(", "o": "-#0", "x": "-#0", "e": "-#+ 0(", "f": "-#+ 0,(", "g": "-+ 0,(",
    "%": "-", "n": "",
}  # fmt: skip


class _Wrong(Exception):
    """The format is none, or not for these arguments."""


def rule(args: Sequence[Expr]) -> Typing:
    """The type rule. BindError of what has no text in Java that a user could want."""
    if not implicit(args[0].type, STRING):
        raise BindError(f"PRINTF: the format must be STRING, not {args[0].type.text()}", hint="PRINTF('%d', x)")
    for i, a in enumerate(args[1:], 2):
        if a.type.kind in ("ARRAY", "MAP", "MULTISET", "ROW", "BINARY", "VARBINARY"):
            raise BindError(f"PRINTF: argument {i} is {a.type.text()}", hint="CAST it to STRING")
    return Typing((STRING, *(None for _ in args[1:])), STRING)


def printf(args: list[str], types: list[Type], result: Type) -> str:
    """Its DuckDB text."""
    given = ", ".join(_marked(a, t) for a, t in zip(args[1:], types[1:], strict=True))
    return PRINTF.called([args[0], f"CAST([{given}] AS VARCHAR[])"])


def _marked(x: str, t: Type) -> str:
    """An argument as a text. A time is written as Java has it: a DATE as its days since 1970, a TIME as its milliseconds."""
    if t.is_integer:
        return f"'i{_BITS[t.kind]}:' || CAST({x} AS VARCHAR)"
    if t.kind in ("FLOAT", "DOUBLE"):
        return f"'f:' || {number_text(x, t)} || '|' || CAST(CAST({x} AS DOUBLE) AS VARCHAR)"
    if t.kind == "BOOLEAN":
        return f"'b:' || CAST({x} AS VARCHAR)"
    if t.kind == "DECIMAL":
        return f"'s:' || {number_text(x, t)}"
    if t.kind == "DATE":
        return f"'i32:' || CAST(date_diff('day', DATE '1970-01-01', {x}) AS VARCHAR)"
    if t.kind == "TIME":
        return f"'i32:' || CAST(date_diff('millisecond', TIME '00:00:00', {x}) AS VARCHAR)"
    if t.is_timestamp:
        zoned = f"timezone('UTC', {x})" if t.kind == "TIMESTAMP_LTZ" else x
        return f"'t:' || strftime({zoned}, '%Y-%m-%dT%H:%M:%S.%f')"
    if t.is_interval:
        return f"'i{64 if t.kind == 'INTERVAL_DAY' else 32}:' || CAST({x}{' // 1000' if t.kind == 'INTERVAL_DAY' else ''} AS VARCHAR)"
    return f"'s:' || {x}"


def written(formats: pa.Array, arguments: pa.Array) -> pa.Array:
    """The texts."""
    rows = zip(formats.to_pylist(), arguments.to_pylist(), strict=True)
    return pa.array([None if f is None else _formatted(f, a) for f, a in rows], pa.string())


def _formatted(text: str, args: list[str | None]) -> str | None:
    out, at, ordinary, last = [], 0, 0, -1
    try:
        for place in _PLACE.finditer(text):
            out.append(_plain(text[at : place.start()]))
            at = place.end()
            index, flags, width, precision, conversion = place.groups()
            kind = conversion.lower()
            if len(set(flags)) < len(flags) or kind not in _TAKEN and conversion not in _JAVAS:
                raise _Wrong
            if conversion in _JAVAS:
                raise DataError(f"PRINTF: %{conversion} is not supported", hint="%s, %d, %x, %f, %e, %g, %b, %c")
            if kind in ("%", "n"):
                out.append(_sign(kind, conversion, flags, width, precision))
                continue
            if "<" in flags:
                this = last
            elif index is not None:
                this = int(index) - 1
            else:
                this, ordinary = ordinary, ordinary + 1
            if not 0 <= this < len(args):
                raise _Wrong
            last = this
            made = _one(args[this], kind, set(flags) - {"<"}, width, precision)
            out.append(made.upper() if conversion.isupper() else made)
        out.append(_plain(text[at:]))
    except _Wrong:
        return None
    return "".join(out)


def _plain(text: str) -> str:
    if "%" in text:
        raise _Wrong
    return text


def _sign(kind: str, conversion: str, flags: str, width: str | None, precision: str | None) -> str:
    """%% and %n, which stand for no argument."""
    if precision is not None or conversion == "N" or set(flags) - set(_TAKEN[kind]) or (kind == "n" and width):
        raise _Wrong
    return "\n" if kind == "n" else _padded("%", set(flags), width)


def _padded(text: str, flags: set[str], width: str | None) -> str:
    if "-" in flags and width is None:
        raise _Wrong
    return text.ljust(int(width or 0)) if "-" in flags else text.rjust(int(width or 0))


def _one(given: str | None, kind: str, flags: set[str], width: str | None, precision: str | None) -> str:
    if (
        flags - set(_TAKEN[kind])
        or {"-", "0"} <= flags
        or {"+", " "} <= flags
        or (flags & {"-", "0"} and width is None)
    ):
        raise _Wrong
    if precision is not None and kind in ("c", "d", "o", "x"):
        raise _Wrong
    if kind == "b":
        text = "false" if given is None else given[2:] if given.startswith("b:") else "true"
        return _padded(text[: None if precision is None else int(precision)], flags, width)
    if given is None:
        text = "null" if kind in ("d", "o", "x", "c") or precision is None or kind != "s" else "null"[: int(precision)]
        return _padded(text, flags - {"0"}, width)
    mark, _, value = given.partition(":")
    if kind == "s":
        text = value.partition("|")[0] if mark == "f" else _time(value) if mark == "t" else value
        return _padded(text[: None if precision is None else int(precision)], flags, width)
    if kind in ("e", "f", "g"):
        if mark != "f":
            raise _Wrong
        return _floating(float(value.partition("|")[2]), kind, flags, width, 6 if precision is None else int(precision))
    if not mark.startswith("i"):
        raise _Wrong
    n, bits = int(value), int(mark[1:])
    if kind == "c":
        if bits == 64 or not 0 <= n <= 0x10FFFF:
            raise _Wrong
        return _padded(chr(n), flags, width)
    if kind == "d":
        return _signed(str(abs(n)), n < 0, flags, width)
    digits = format(n + (1 << bits) if n < 0 else n, kind)
    prefix = {"o": "0", "x": "0x"}[kind] if "#" in flags else ""
    if "0" in flags:
        digits = digits.rjust(int(width or 0) - len(prefix), "0")
    return _padded(prefix + digits, flags - {"0"}, width)


def _time(text: str) -> str:
    """A time's fraction in steps of three digits, as Java shows it."""
    whole, _, fraction = text.partition(".")
    while fraction.endswith("000"):
        fraction = fraction[:-3]
    return f"{whole}.{fraction}" if fraction else whole


def _signed(digits: str, negative: bool, flags: set[str], width: str | None) -> str:
    """Digits with the sign, the commas between thousands and the zeros in front that the flags want."""
    if "," in flags:
        whole, point, rest = digits.partition(".")
        digits = f"{int(whole):,}{point}{rest}"
    before, behind = ("(", ")") if negative and "(" in flags else ("-", "") if negative else ("", "")
    if not negative:
        before = "+" if "+" in flags else " " if " " in flags else ""
    if "0" in flags:
        digits = digits.rjust(int(width or 0) - len(before) - len(behind), "0")
    return _padded(before + digits + behind, flags - {"0"}, width)


def _floating(x: float, kind: str, flags: set[str], width: str | None, precision: int) -> str:
    negative = math.copysign(1, x) < 0 and not math.isnan(x)
    if not math.isfinite(x):
        text = "NaN" if math.isnan(x) else "Infinity"
        return _signed(text, negative, flags - {"0", ","} - ({"+", " ", "("} if text == "NaN" else set()), width)
    size = abs(Decimal(repr(x)))
    if kind == "g":
        precision = precision or 1
        rounded = _EXACT.create_decimal(size)
        if size:
            rounded = size.quantize(Decimal(1).scaleb(size.adjusted() - precision + 1), ROUND_HALF_UP, _EXACT)
        if not rounded or Decimal("1e-4") <= rounded < Decimal(10) ** precision:
            kind, precision = "f", precision - (rounded.adjusted() if rounded else 0) - 1
        else:
            kind, precision = "e", precision - 1
    return _signed(_digits(size, kind, precision), negative, flags - {"#"}, width)


def _digits(size: Decimal, kind: str, precision: int) -> str:
    """Digits of a number, rounded half up, with an exponent of two digits at least (e) or without (f)."""
    if kind == "f":
        return f"{size.quantize(Decimal(1).scaleb(-max(precision, 0)), ROUND_HALF_UP, _EXACT):f}"
    exponent = size.adjusted() if size else 0
    mantissa = size.scaleb(-exponent, _EXACT).quantize(Decimal(1).scaleb(-precision), ROUND_HALF_UP, _EXACT)
    if mantissa >= 10:
        mantissa, exponent = (
            (mantissa / 10).quantize(Decimal(1).scaleb(-precision), ROUND_HALF_UP, _EXACT),
            exponent + 1,
        )
    return f"{mantissa:f}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


PRINTF = user.UserFunction(
    "sqlstream.functions.formats.written", (STRING, array(STRING)), STRING, deterministic=True, arrow=True
)
