"""What must never be shown: values of options such as 'sasl.password', and the passwords in URLs.

Three ways lead there, since a secret may hold any character. A value that is known to be one option's is taken apart as
a whole (`shown_value`). In a text, SQL strings are found and treated so, and URLs outside them up to the next space or
quote (`redacted`). And what options had for secrets is remembered (`learn`): wherever it comes up again, in a library's
message for instance, it is hidden.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Collection
from urllib.parse import unquote

_NAMES = (
    r"password|passwd|pwd|passphrase|secret|token|credential(?!s[-.]source)|api[-_.]?key|access[-_.]?key|account[-_.]?key|"
    r"private[-_.]?key|connection[-_.]?string|user[-_.]?info|\bheaders\.(?!accept|content-|user-agent|cache-control|if-|origin|referer)|notification[-_.]?url|subscribe\.message|sasl\.jaas|ssl\.key\.pem|ssl\.keystore\.key|signature"
)
_SECRET = re.compile(_NAMES, re.I)
# A string, also one that does not end: then nothing is scanned twice, however long the text.
_STRING = re.compile(r"'(?:[^']|'')*+(?:'|\Z)")
_EQUALS = re.compile(r"\s*=\s*")
_PARAMETER = re.compile(
    rf"(?<=[?&;#])(?:[\w.-]*(?:{_NAMES})[\w.-]*|key|sig|sas|auth|authorization|code|pass|pw)=", re.I
)
_NEXT = re.compile(r"[&;#][\w.-]+=")  # where the value of a parameter ends
_PORT = re.compile(r":\d*\Z")
_URL = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"]*")
_WORD = r"""(?:'[^']*'|"[^"]*"|[^\s'"])+"""
_COMMAND = re.compile(
    rf"(--?[\w.-]*(?:{_NAMES})[\w.-]*(?:=|\s+)|\b\w*(?:{_NAMES})\w*=|authorization:\s*(?:\w+\s+)?|"
    rf"\s(?:-u|--user)(?:=|\s+)(?=\S+:)){_WORD}",
    re.I,
)
HIDDEN_VALUE = "******"
SHORTEST = 3  # characters of a secret that is looked for everywhere: shorter ones are parts of any text

_lock = threading.Lock()
_learnt: set[str] = set()
_known: re.Pattern[str] | None = None

Span = tuple[int, int]


def is_secret(key: str) -> bool:
    """Whether the value of option `key` must never be shown."""
    return _SECRET.search(key) is not None


def learn(key: str, value: str) -> None:
    """Remembers what is secret in the value of an option: no text will show it any more."""
    global _known
    found = [value] if is_secret(key) else [value[a:b].partition(":")[2] or value[a:b] for a, b in _in_url(value)]
    ways = {w for s in found for w in (s, unquote(s)) if len(s) >= SHORTEST}
    ways |= {w for s in ways for w in (s.replace("'", "''"), json.dumps(s)[1:-1], repr(s)[1:-1])}
    with _lock:
        if not ways <= _learnt:
            _learnt.update(ways)
            _known = _any_of(_learnt)


def learnt() -> frozenset[str]:
    """What is hidden wherever it comes up."""
    return frozenset(_learnt)


def forget(some: Collection[str]) -> None:
    """These are no secrets (any more)."""
    global _known
    with _lock:
        if not _learnt.isdisjoint(some):
            _learnt.difference_update(some)
            _known = _any_of(_learnt)


def _any_of(texts: Collection[str]) -> re.Pattern[str] | None:
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def shown_value(key: str, value: str) -> str:
    """The value of an option as it may be printed."""
    return HIDDEN_VALUE if is_secret(key) else _without(value, _in_url(value), False)


def redacted(text: str, aligned: bool = False) -> str:
    """`text` without user names and passwords in URLs, values of secret options in SQL, and what was learnt.

    `aligned`: as long as before, for what has a caret below it.
    """
    if _known is not None:
        text = _known.sub(lambda m: "*" * len(m[0]) if aligned else HIDDEN_VALUE, text)
    return _without(text, _in_text(text), aligned)


def redacted_command(text: str) -> str:
    """A line for the system's shell without the secrets in it: `--token X`, `API_KEY=X`, `-u name:X`, `Authorization: Bearer X`."""
    return redacted(_COMMAND.sub(lambda m: m[1] + HIDDEN_VALUE, text))


def _without(text: str, spans: list[Span], aligned: bool) -> str:
    out, done = [], 0
    for a, b in sorted(spans):
        if a >= done:
            out += [text[done:a], "*" * (b - a) if aligned else HIDDEN_VALUE]
            done = b
    return "".join([*out, text[done:]])


def _in_text(text: str) -> list[Span]:
    """Where secrets are in a text that may hold SQL and URLs."""
    spans: list[Span] = []
    if "://" in text:
        for m in _URL.finditer(text):
            spans += _moved(_in_url(m[0]), m.start())
    name: re.Match[str] | None = None
    for m in _STRING.finditer(text):
        begin, end = m.start() + 1, m.end() - (m[0].endswith("'") and len(m[0]) > 1)
        if name is not None and _EQUALS.fullmatch(text, name.end(), m.start()) and is_secret(name[0]):
            spans.append((begin, end))
        elif "://" in m[0]:
            spans += _moved(_in_url(text[begin:end]), begin)
        name = m
    return _united(spans)


def _in_url(url: str) -> list[Span]:
    """Where secrets are in a URL: user and password, and parameters with telling names.

    A password may hold @, / and whatever else, though it should not: what looks like user:password ends at the last @.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return []
    start = len(scheme) + len(mark)
    parameters = _PARAMETER.search(url, start)
    stop = len(url) if parameters is None else parameters.start()
    first = re.split(r"[/?#]", rest, maxsplit=1)[0]
    spans: list[Span] = []
    colon, at = first.find(":"), first.find("@")
    if colon >= 0 and (at < 0 or colon < at) and (at >= 0 or _PORT.search(first) is None):
        end = url.rfind("@", start, stop)
    else:
        end = url.rfind("@", start, start + len(first))
    if end > start:
        spans.append((start, end))
    while parameters is not None:
        following = _NEXT.search(url, parameters.end())
        end = len(url) if following is None else following.start()
        if end > parameters.end():
            spans.append((parameters.end(), end))
        parameters = _PARAMETER.search(url, end)
    return spans


def _moved(spans: list[Span], by: int) -> list[Span]:
    return [(a + by, b + by) for a, b in spans]


def _united(spans: list[Span]) -> list[Span]:
    """Spans that overlap as one."""
    out: list[Span] = []
    for a, b in sorted(spans):
        if out and a <= out[-1][1]:
            out[-1] = (out[-1][0], max(b, out[-1][1]))
        else:
            out.append((a, b))
    return out
