"""Functions of text that neither DuckDB nor Arrow has, worked out text by text, as Java does it. Each takes and gives
Arrow arrays and is called by DuckDB like a function of the user's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

import pyarrow as pa

from sqlstream.errors import DataError
from sqlstream.functions import user
from sqlstream.functions.pattern_tree import PatternError
from sqlstream.functions.python_patterns import compiled
from sqlstream.types import BIGINT, BYTES_TYPE, INT, STRING, Type, map_of

_HASHES = {224: hashlib.sha224, 256: hashlib.sha256, 384: hashlib.sha384, 512: hashlib.sha512}
_SCHEMES = ("http", "https", "ftp", "file", "jar", "mailto")  # what java.net.URL opens
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_AUTHORITY = re.compile(r"(?:(.*)@)?(\[[^\]]*\]|[^:@]*)(?::(\d*))?", re.DOTALL)


def _each(f: Callable[..., Any], to: pa.DataType, columns: tuple[pa.Array, ...]) -> pa.Array:
    """`f` of each row's values, NULL where one of them is."""
    rows = zip(*(c.to_pylist() for c in columns), strict=True)
    return pa.array([None if None in row else f(*row) for row in rows], to)


def sha2(texts: pa.Array, bits: pa.Array) -> pa.Array:
    """SHA2: the digest of that many bits, in hexadecimal digits."""

    def digest(text: str, size: int) -> str:
        if size not in _HASHES:
            raise DataError(f"SHA2: there is no digest of {size} bits", hint="224, 256, 384 or 512")
        return _HASHES[size](text.encode()).hexdigest()

    return _each(digest, pa.string(), (texts, bits))


def url_decode(texts: pa.Array) -> pa.Array:
    """URL_DECODE of texts whose every % is followed by two digits. What is no UTF-8 becomes U+FFFD."""
    return _each(lambda s: unquote_to_bytes(s.replace("+", " ")).decode("utf-8", "replace"), pa.string(), (texts,))


def parse_url(urls: pa.Array, parts: pa.Array) -> pa.Array:
    """PARSE_URL: a part by its name in capitals; NULL of what is no URL of Java's, and where there is none."""
    return _each(lambda url, part: _parts(url).get(part), pa.string(), (urls, parts))


def parse_url_key(urls: pa.Array, parts: pa.Array, keys: pa.Array) -> pa.Array:
    """PARSE_URL of QUERY: the value of a key."""

    def value(url: str, part: str, key: str) -> str | None:
        query = _parts(url).get("QUERY") if part == "QUERY" else None
        found = None if query is None else re.search(f"(?:&|^){re.escape(key)}=([^&]*)", query)
        return None if found is None else found[1]

    return _each(value, pa.string(), (urls, parts, keys))


@lru_cache(maxsize=4096)
def _parts(url: str) -> dict[str, str | None]:
    found = _URL.fullmatch(url.strip())
    if found is None or found[1].lower() not in _SCHEMES:
        return {}
    authority, path, query = found[2], found[3], found[4]
    within = _AUTHORITY.fullmatch(authority or "")
    if within is None:
        return {}
    return {
        "HOST": within[2],
        "PATH": path,
        "QUERY": query,
        "REF": found[5],
        "PROTOCOL": found[1].lower(),
        "FILE": path if query is None else f"{path}?{query}",
        "AUTHORITY": authority,
        "USERINFO": within[1],
    }


def inet_aton(texts: pa.Array) -> pa.Array:
    """INET_ATON: an address of one to four numbers, as MySQL reads it: the last one fills what the others leave."""

    def number(text: str) -> int | None:
        if re.fullmatch(r"\d{1,3}(\.\d{1,3}){0,3}", text, re.ASCII) is None:
            return None
        *first, last = (int(n) for n in text.split("."))
        if any(n > 255 for n in (*first, last)):
            return None
        return sum(n << (24 - 8 * i) for i, n in enumerate(first)) + last

    return _each(number, pa.int64(), (texts,))


def _parts_between(separator: re.Pattern[str], text: str) -> list[str]:
    """Java's split: what groups match is no part, and empty parts at the end are none."""
    ends = [m.span() for m in separator.finditer(text) if m.end() > m.start()]
    starts = [0, *(end for _, end in ends)]
    parts = [text[a:b] for a, b in zip(starts, [*(start for start, _ in ends), len(text)], strict=True)]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def str_to_map(texts: pa.Array, separators: pa.Array, betweens: pa.Array) -> pa.Array:
    """STR_TO_MAP: pairs between the separators, both of which are regular expressions; a key alone has NULL."""

    def pairs(text: str, separator: str, between: str) -> list[tuple[str, str | None]]:
        if not text:
            return []
        try:
            found: dict[str, str | None] = {}
            for pair in _parts_between(compiled(separator), text):
                m = compiled(between).search(pair)
                found[pair if m is None else pair[: m.start()]] = None if m is None else pair[m.end() :]
        except PatternError as e:
            raise DataError(f"STR_TO_MAP: regular expression {e}") from None
        return list(found.items())

    return _each(pairs, pa.map_(pa.string(), pa.string()), (texts, separators, betweens))


_CHARSETS = {
    "UTF-8": "utf-8", "UTF-16": "utf-16", "UTF-16BE": "utf-16-be", "UTF-16LE": "utf-16-le", "US-ASCII": "ascii",
    "ISO-8859-1": "latin-1", "ISO-8859-15": "iso8859-15", "WINDOWS-1252": "cp1252", "GBK": "gbk", "GB18030": "gb18030",
    "BIG5": "big5", "SHIFT_JIS": "shift_jis", "EUC-JP": "euc_jp", "EUC-KR": "euc_kr", "KOI8-R": "koi8-r",
}  # fmt: skip


def _charset(name: str) -> str:
    found = _CHARSETS.get(name.upper())
    if found is None:
        raise DataError(f"there is no character set {name}", hint=", ".join(_CHARSETS))
    return found


def encode(texts: pa.Array, charsets: pa.Array) -> pa.Array:
    """ENCODE: what the character set has not becomes a question mark. UTF-16 is written with the mark of its order."""

    def encoded(text: str, charset: str) -> bytes:
        name = _charset(charset)
        return b"\xfe\xff" + text.encode("utf-16-be") if name == "utf-16" else text.encode(name, "replace")

    return _each(encoded, pa.binary(), (texts, charsets))


def decode(data: pa.Array, charsets: pa.Array) -> pa.Array:
    """DECODE: what is no text of the character set becomes U+FFFD."""

    def decoded(data: bytes, charset: str) -> str:
        name = _charset(charset)
        if name == "utf-16" and data[:2] not in (b"\xfe\xff", b"\xff\xfe"):
            name = "utf-16-be"
        return data.decode(name, "replace")

    return _each(decoded, pa.string(), (data, charsets))


def _function(name: str, takes: tuple[Type, ...], gives: Type) -> user.UserFunction:
    return user.UserFunction(f"sqlstream.functions.text_rows.{name}", takes, gives, deterministic=True, arrow=True)


SHA2 = _function("sha2", (STRING, INT), STRING)
URL_DECODE = _function("url_decode", (STRING,), STRING)
PARSE_URL = _function("parse_url", (STRING, STRING), STRING)
PARSE_URL_KEY = _function("parse_url_key", (STRING, STRING, STRING), STRING)
INET_ATON = _function("inet_aton", (STRING,), BIGINT)
STR_TO_MAP = _function("str_to_map", (STRING, STRING, STRING), map_of(STRING, STRING))
ENCODE = _function("encode", (STRING, STRING), BYTES_TYPE)
DECODE = _function("decode", (BYTES_TYPE, STRING), STRING)
