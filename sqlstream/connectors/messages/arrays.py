"""Messages that a client's library hands over one by one, as arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.messages.decoder import OF_VALUE
from sqlstream.connectors.messages.messages import Messages
from sqlstream.contracts import ScanRequest
from sqlstream.formats.messages import Texts
from sqlstream.formats.readers import METADATA
from sqlstream.types import Type

Known = Mapping[
    str, tuple[Type, Callable[[Any], Any]]
]  # METADATA: its type, and its value of a message as the library has it


def wanted(request: ScanRequest) -> tuple[str, ...]:
    """The METADATA keys that are asked for, but for those that values have."""
    found = (c.path[1] for c in request.columns if c.path[0] == METADATA)
    return tuple(dict.fromkeys(key for key in found if not key.startswith(OF_VALUE)))


def types_of(known: Known) -> dict[str, Type]:
    """What `Connector.metadata` says of them."""
    return {key: t for key, (t, _) in known.items()}


def messages_of(
    found: Sequence[Any],
    values: Sequence[bytes | None],
    places: Sequence[int],
    keys: Sequence[str],
    known: Known,
    marks: Sequence[dict[str, Any]] | None = None,
) -> Messages:
    """`found`: the messages as the library has them; `keys`: the METADATA that is wanted."""
    columns = {key: pa.array([known[key][1](m) for m in found], known[key][0].arrow()) for key in keys}
    return Messages(Texts.of(values), np.array(places, np.int64), None, columns, marks)


def microseconds(seconds: float) -> int:
    """Of a time as libraries give it, as Arrow wants it for TIMESTAMP_LTZ(3): whole milliseconds."""
    return math.floor(seconds * 1000) * 1000
