"""MySQL's charsets, by Python's codecs."""

from __future__ import annotations

import codecs
from collections.abc import Callable

Decode = Callable[[bytes], str]
_CODECS = {
    "utf8": None, "utf8mb3": None, "utf8mb4": None, "ascii": None, "ucs2": "utf-16-be", "utf16": "utf-16-be",
    "utf16le": "utf-16-le", "utf32": "utf-32-be", "latin2": "iso8859-2", "latin5": "iso8859-9", "latin7": "iso8859-13",
    "greek": "iso8859-7", "hebrew": "iso8859-8", "sjis": "shift_jis", "cp932": "cp932", "ujis": "euc-jp", "eucjpms": "euc-jp",
    "euckr": "euc-kr", "gb2312": "gb2312", "gbk": "gbk", "gb18030": "gb18030", "big5": "big5", "koi8r": "koi8-r", "koi8u": "koi8-u",
    "cp850": "cp850", "cp852": "cp852", "cp866": "cp866", "cp1250": "cp1250", "cp1251": "cp1251", "cp1256": "cp1256",
    "cp1257": "cp1257", "tis620": "tis-620", "macroman": "mac-roman", "macce": "mac-latin2",
}  # fmt: skip
# MySQL's latin1 is cp1252, in which five bytes are no characters: there they are what they are in Unicode.
_LATIN1 = "".join(chr(b) if b in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([b]).decode("cp1252") for b in range(256))


def is_utf8(charset: str) -> bool:
    """Whether its bytes are those of UTF-8."""
    return _CODECS.get(charset, "") is None


def decoder(charset: str) -> Decode:
    """What makes text of its bytes, or raises UnicodeDecodeError. LookupError where it is not known."""
    if charset == "latin1":
        return lambda data: codecs.charmap_decode(data, "strict", _LATIN1)[0]
    codec = _CODECS.get(charset, charset) or "utf-8"
    codecs.lookup(codec)
    return lambda data: data.decode(codec)
