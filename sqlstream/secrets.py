"""What must never be shown: values of options such as 'sasl.password', and what stands before the @ of a URL."""

from __future__ import annotations

import re

_NAMES = r"password|passwd|secret|token|credential|api[-_.]?key|access[-_.]?key|private[-_.]?key|sasl\.jaas"
_SECRET = re.compile(_NAMES, re.I)
# A string, also one that does not end: then nothing is scanned twice, however long the text.
_STRING = re.compile(r"'(?:[^']|'')*+(?:'|\Z)")
_EQUALS = re.compile(r"\s*=\s*")
_USER = re.compile(r"(?<=://)[^/@\s'\"]+(?=@)")
_QUERY = re.compile(rf"(?<=[?&])([^=&\s'\"]*(?:{_NAMES}|sig)[^=&\s'\"]*=)([^&\s'\"]+)", re.I)
HIDDEN_VALUE = "******"


def is_secret(key: str) -> bool:
    """Whether the value of option `key` must never be shown."""
    return _SECRET.search(key) is not None


def redacted(text: str, aligned: bool = False) -> str:
    """`text` without user names and passwords in URLs, and without values of secret options in SQL.

    `aligned`: as long as before, for what has a caret below it.
    """

    def hidden(value: str) -> str:
        return "*" * len(value) if aligned else HIDDEN_VALUE

    if "://" in text:
        text = _USER.sub(lambda m: hidden(m[0]), text)
        text = _QUERY.sub(lambda m: m[1] + hidden(m[2]), text)
    out, done, name = [], 0, None
    for m in _STRING.finditer(text):
        if name is not None and _EQUALS.fullmatch(text, name.end(), m.start()) and is_secret(name[0]):
            closed = m[0].endswith("'") and len(m[0]) > 1
            out += [text[done : m.start() + 1], hidden(m[0][1:-1] if closed else m[0][1:]), "'" if closed else ""]
            done = m.end()
        name = m
    return "".join([*out, text[done:]])
