"""Texts of JSON values: what a column's type has, what it may have, and what no JSON is."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable

from harness.json_shapes import a_scalar
from sqlstream.formats.conversion import ISO_STANDARD, is_scalar
from sqlstream.types import Type

Unusual = Callable[[Type, str], list[str]]  # texts that are good values of a type, by the standard of timestamps

SPACE = ("", "", "", "", "", "", "", "", " ", "  ", "\t", "\r", " \t\r ", " " * 70)

STRINGS = (
    '""', '"a"', '"plain text"', '"https://www.nexmark.com/a/b/item.htm?query=1"', '"with \\"quote"', '"\\\\"', '"\\\\\\\\\\""',
    '"tab\\t"', '"\\u0041"', '"\\u00e9"', '"\\u6771"', '"\\ud83d\\ude00"', '"\\uD83D\\uDE00x"', '"\\u0000"', '"\\u001f"',
    '"é"', '"東京 данные"', '"😀"', '"a/b\\/c"', f'"{"x" * 70}"', f'"{"y" * 63}\\\\"', '"' + "\\\\" * 40 + '"', f'"{"z" * 31}"',
    f'"{"é" * 40}"', f'"{"w" * 300}"', '"\\b\\f\\n\\r"', '"1"', '"-12.50"', '"true"', '"null"', '"\\uFFFF"', '"\\uFFFE\\uFEFF"',
    '"\x7f"', '"\u2028"', '"\ufeff"', '"{\\"x\\":1}"', '"  padded  "', '"NaN"', '"2020-01-01 00:00:00"', '"="',
)  # fmt: skip
BROKEN_STRINGS = (
    '"\\ud83d"', '"\\ude00"', '"\\ud83d\\u0041"', '"\\ud83d\\ud83d\\ude00"', '"\\ud83dx"', '"\\x"', "'x'", '"\\u12"', '"\\u12G4"',
    '"\\u"', '"', '"\\"', '"a\x01b"', '"\x1f"', '"a\tb"', '"\x00"', '"\\U0041"', '"\\ "',
)  # fmt: skip
BROKEN_BYTES = (b'"\xff"', b'"\x80"', b'"\xc0\xaf"', b'"\xc3"', b'"\xe2\x82"', b'"\xed\xa0\x80"', b'"\xf0\x9f\x98"', b'"\xf5\x80\x80\x80"',
                b'"\xf0\x80\x80\xaf"', b'"\xe0\x80\xaf"', b'"' + b"x" * 31 + b'\xe9"', b'"\xf4\x90\x80\x80"', b'"\xc3\xa9\xa9"')  # fmt: skip
NUMBERS = tuple(
    ["0", "-0", "0.0", "-0.0", "1", "-1", "1.0", "1.5", "-1.50", "1e3", "1E3", "1e+3", "1e-3", "1.5e2", "100.00", "1e0", "10e-1", "0e5", "0e-5", "-0e1", "127", "128", "-128", "-129", "32767", "32768", "-32768", "-32769", "2147483647", "2147483648", "-2147483648", "-2147483649", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "18446744073709551616", "123456789012345678", "1234567890123456789", "12345678901234567890123", "99999999999999999999999999999999999999", "100000000000000000000000000000000000000", "-99999999999999999999999999999999999999", "0.99999999999999999999999999999999999999", "0.1", "0.30000000000000004", "1e308", "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "1e309", "1e400", "-1e400", "5e-324", "2.5e-324", "2e-324", "4.9406564584124654e-324", "2.2250738585072014e-308", "2.2250738585072011e-308", "2.225073858507201e-308", "1e-400", "9007199254740991", "9007199254740992", "9007199254740993", "9007199254740992.5", "9007199254740993.0", "9007199254740995", "4503599627370496.5", "4503599627370497.5", "1152921504606846977", "123456.789", "0.000001", "0.0000001", "99999999.995", "9999999999.99", "10000000000.00", "1234567890.125", "0.005", "0.015", "0.025", "2.675", "12345678901234.56", "123456789.123456789", "0.1234567890123456", "0.12345678901234567", "0.123456789012345678", "1e22", "1e23", "8.5e22", "123456789012345e-7", "100000000000000000", "1000000000000000000", "10000000000000000000", "0.00001", "3.4028235e38", "3.4028236e38", "1.4e-45", "16777217", "16777219", "0.1e1", "1e19", "1e18", "123e16", "9.2e18", "6.02214076e23", "179769313486231580793728971405301e276", "1.00000000000000011102230246251565", "1.00000000000000011102230246251566", "0.500000000000000166533453693773481063544750213623046875"]
)  # fmt: skip
BROKEN_NUMBERS = tuple(
    [
        "01",
        "-01",
        "00",
        "1.",
        ".5",
        "+1",
        "--1",
        "1e",
        "1e+",
        "1.e5",
        "0x10",
        "NaN",
        "Infinity",
        "-Infinity",
        "nan",
        "inf",
        "-inf",
        "-nan",
        "1_000",
        "-",
        "-.",
        "1.5.5",
        "1e5.5",
        "1e5e5",
        "1-",
        "0-1",
        "-a",
        "1a",
        "iNf",
        "-INFINITY",
        "NAN",
        "Inf",
        "12345678901234567890x",
        "0.1x",
        "1e5x",
        "0123",
        "-0x1",
    ]
)
OTHERS = (
    "null", "true", "false", "{}", "[]", '[1,2,{"a":[]}]', '{"x":1}', '{"x":5,"y":"k"}', '{"p":{"q":1.5}}', "[[[]]]", "[[" * 35 + "]]" * 35,
    '[{"s":"\\\\\\""}]', "[null,true,false,-1.5e3]", '{"x":{"x":1}}', '{"k\\u0041":1}', '{"":0}', "[1.50,2E5]", '{"x":1, "y" : 2}', '[ 1 , 2 ]',
)  # fmt: skip
BROKEN = (
    "nul", "nul", "True", "NULL", "TRUE", "False", "tru", "fals", "nulll", "truex", "undefined", "", "[1,]", '{"a":1,}', "{,}", "[,]", "[1 2]", '{"a" 1}', "[", "]",
    "{", "}", "{]", "[}", "/*c*/1", "1//", "[tru]", "[01]", '["\\q"]', '["\x01"]', '{"x":1,"x":2}', "[" * 70 + "]" * 69, '{"a":}', '{:1}', '{1:1}', "{'a':1}",
    '["\\ud800"]', '{"\\ud800":1}', "[-]", "[1.]", "[.5]", "[NaN]", '"a" "b"', "1 2", ",", ":", '{"a":1 "b":2}', "[\x0c]", "[\xa0]",
)  # fmt: skip


def good(t: Type, rng: random.Random, standard: str, unusual: Unusual | None = None) -> str:
    """The text of a value of the type: a usual one, or now and then one of the `unusual`."""
    if rng.random() < 0.03:
        return "null"
    if unusual is not None and is_scalar(t) and rng.random() < 0.1:
        return rng.choice(unusual(t, standard))
    if t.kind == "ROW":
        fields = [f for f in t.fields if rng.random() < 0.95]
        if rng.random() < 0.2:
            rng.shuffle(fields)
        return (
            "{"
            + ",".join(
                f"{key(f.name, rng)}{space(rng)}:{space(rng)}{good(f.type, rng, standard, unusual)}" for f in fields
            )
            + "}"
        )
    if t.kind == "ARRAY":
        return (
            "["
            + ("," + space(rng)).join(good(t.element, rng, standard, unusual) for _ in range(rng.choice((0, 1, 2, 5))))
            + "]"
        )
    if t.kind == "MAP":
        entries = {
            good(t.fields[0].type, rng, standard).strip('"').replace("\\", ""): good(t.element, rng, standard, unusual)
            for _ in range(3)
        }
        return "{" + ",".join(f"{json.dumps(k)}:{v}" for k, v in entries.items()) + "}"
    text = _scalar(t, rng, standard)
    return (
        json.dumps(text)
        if t.kind not in ("VARCHAR", "CHAR", "BOOLEAN") and rng.random() < 0.1 and text[:1] != '"'
        else text
    )


def _scalar(t: Type, rng: random.Random, standard: str) -> str:
    if t.is_integer:
        most = 8 * {"TINYINT": 1, "SMALLINT": 2, "INT": 4, "BIGINT": 8}[t.kind] - 1
        return str(rng.randrange(-(2**most), 2**most) >> rng.randrange(most + 1))
    if t.kind == "BOOLEAN":
        return rng.choice(("true", "false"))
    if t.kind in ("FLOAT", "DOUBLE"):
        most = 3.4e38 if t.kind == "FLOAT" else 1.7e308
        return next(text for text in iter(lambda: _real(rng), "") if abs(float(text)) < most)
    if t.kind == "DECIMAL":
        assert t.precision is not None
        digits = rng.randrange(10 ** rng.randrange(1, t.precision + 1))
        text = f"{digits:0{(t.scale or 0) + 1}d}"
        return rng.choice(("", "-")) + (f"{text[: -t.scale]}.{text[-t.scale :]}" if t.scale else text)
    if t.is_string:
        return rng.choice(STRINGS) if rng.random() < 0.8 else json.dumps(_text(rng), ensure_ascii=rng.random() < 0.5)
    if t.kind == "VARBINARY":
        return json.dumps(base64.b64encode(rng.randbytes(rng.randrange(9))).decode())
    day = f"{rng.choice((1, 1582, 1900, 1969, 1970, 2000, 2020, 2024, 2026, 9999)):04d}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
    time = f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}"
    fraction = rng.choice(
        ("", ".1", ".12", ".123", ".123", ".123", ".1239", ".12345", ".123456", ".000", ".999999", ".123456789")
    )
    if t.kind == "DATE":
        return f'"{day}"'
    if t.kind == "TIME":
        return f'"{time}{fraction}"'
    separator = "T" if standard == ISO_STANDARD else " "
    zone = rng.choice(("Z", "Z", "Z", "+02:00", "-0330", "+14")) if t.kind == "TIMESTAMP_LTZ" else ""
    return f'"{day}{separator}{time}{fraction}{zone}"'


def _real(rng: random.Random) -> str:
    x = rng.random()
    if x < 0.3:
        return repr(rng.uniform(-1, 1) * 10 ** rng.randrange(-12, 20))
    if x < 0.5:
        return f"{rng.randrange(10**6)}.{rng.randrange(10 ** rng.randrange(1, 12)):0{rng.randrange(1, 12)}d}"
    if x < 0.6:
        return f"{rng.randrange(10 ** rng.randrange(1, 20))}e{rng.randrange(-30, 30)}"
    if x < 0.8:  # exactly between two doubles, or a digit beside
        value = rng.randrange(2**52, 2**53) * 2 + 1
        shift = rng.randrange(0, 40)
        digits = str(value * 5**shift)
        text = f"{digits[:-shift]}.{digits[-shift:]}" if shift and len(digits) > shift else digits
        return text + rng.choice(("", "", "0", "1", "0001") if "." in text else ("",))
    if x < 0.9:
        return f"{rng.randrange(10**17, 10**18)}e{rng.randrange(-340, 290)}"
    return rng.choice(NUMBERS)


def _text(rng: random.Random) -> str:
    letters = 'abc "\\/\n\t\x00\x1f\x7féß東😀\ud7ff\ue000\uffff'
    return "".join(rng.choice(letters) for _ in range(rng.choice((1, 3, 8, 15, 16, 17, 31, 32, 33, 64, 200))))


def odd(t: Type, rng: random.Random, standard: str) -> bytes:
    """The bytes of what may stand where a value of the type should: good JSON, or none."""
    x = rng.random()
    if x < 0.3:
        text = rng.choice(NUMBERS)
    elif x < 0.4:
        text = rng.choice(BROKEN_NUMBERS)
    elif x < 0.45:
        text = "".join(rng.choice("0123456789.-+eE") for _ in range(rng.randrange(1, 24)))
    elif x < 0.55:
        text = rng.choice(STRINGS)
    elif x < 0.6:
        text = rng.choice(BROKEN_STRINGS)
    elif x < 0.63:
        return rng.choice(BROKEN_BYTES)
    elif x < 0.72:
        text = rng.choice(OTHERS)
    elif x < 0.78:
        text = rng.choice(BROKEN)
    elif x < 0.9 and is_scalar(t):  # nearly right
        text = _scalar(t, rng, standard)
        i = rng.randrange(len(text) + 1)
        text = rng.choice((
            text[:i] + text[i + 1 :], text[:i] + rng.choice(" 0159.-+eETZ:\"\\u/x,") + text[i:], f'"{text}"', f" {text} ", text.replace('"', ""),
            text.replace("T", " "), text.replace(" ", "T"), text[:-1] + 'Z"', text[:-1] + ' "', text[:-1] + '+02:00"', text.upper(), text.replace("-", "/"),
            text.replace("1", "\\u0031"), '" ' + text.strip('"') + ' "', '"+' + text.strip('"') + '"',
        ))  # fmt: skip
    elif x < 0.95:
        return broken_times(rng, standard).encode()
    else:
        text = good(a_scalar(rng), rng, standard)
    return text.encode("utf-8", "surrogatepass")


def broken_times(rng: random.Random, standard: str) -> str:
    """Days and hours that there are not, next to those that there are."""
    day = rng.choice(("2020-02-29", "2021-02-29", "1900-02-29", "2000-02-29", "2020-02-30", "2020-04-31", "2020-13-01", "2020-00-10", "2020-01-00", "0000-01-01",
                      "10000-01-01", "2020-1-1", "9999-12-31", "0001-01-01", "-001-01-01", "2020-01-32"))  # fmt: skip
    time = rng.choice(
        (
            "23:59:59",
            "24:00:00",
            "23:60:00",
            "23:59:60",
            "12:13",
            "12",
            "1:2:3",
            "12:13:14.",
            "12:13:14.1234567890",
            "12:13:14,5",
            "00:00:00.0000001",
        )
    )
    separator = rng.choice((" ", "T", "T" if standard == ISO_STANDARD else " ", "  ", "t", "_"))
    text = rng.choice((f"{day}{separator}{time}", day, time)) + rng.choice(
        ("", "", "", "Z", "z", "+25:00", "+02", "-00:00", " Z")
    )
    return json.dumps(text) if rng.random() < 0.95 else f'"{text[:1]}\\u00{ord(text[1]):02x}{text[2:]}"'


def key(name: str, rng: random.Random) -> str:
    """A name as a key is written: mostly plain."""
    x = rng.random()
    if x < 0.97:
        return json.dumps(name, ensure_ascii=False)
    if x < 0.98:
        return json.dumps(name)
    if x < 0.99:
        return '"' + "".join(f"\\u{ord(c):04x}" for c in name if ord(c) < 65536) + '"'
    return json.dumps(
        rng.choice((name.upper(), name.lower(), name + name, name[:-1], name + " ", name + "\\", name + "\x00"))
    )


def space(rng: random.Random) -> str:
    return rng.choice(SPACE) if rng.random() < 0.05 else ""
