"""What must never be shown: values of options such as 'sasl.password', and what stands before the @ of a URL."""

from __future__ import annotations

import re

_NAMES = r"password|passwd|secret|token|credential|api[-_.]?key|access[-_.]?key|private[-_.]?key|sasl\.jaas"
_SECRET = re.compile(_NAMES, re.I)
_OPTION = re.compile(rf"('(?:[^']|'')*(?:{_NAMES})(?:[^']|'')*'\s*=\s*')((?:[^']|'')*)(?=')", re.I)
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
    return _OPTION.sub(lambda m: m[1] + hidden(m[2]), text)
