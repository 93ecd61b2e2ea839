"""librdkafka's C functions that are called here, by ctypes; their documentation is rdkafka.h.

The library is the one that confluent-kafka has loaded: nothing else is installed, and nothing is compiled.
"""

from __future__ import annotations

import ctypes as c
import ctypes.util
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sqlstream.distribution import install
from sqlstream.errors import OptionError, RunError, did_you_mean

CONSUMER, PRODUCER = 1, 0
UNKNOWN_PROPERTY, OK = -2, 0
DELIVERY_EVENT, ERROR_EVENT = 1, 8
ERROR_TEXT = 512
NAMED = 64  # bytes of an error's name

_P, _S, _I, _L = c.c_void_p, c.c_char_p, c.c_int, c.c_size_t
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_conf_new": (_P, []),
    "rd_kafka_conf_set": (_I, [_P, _S, _S, _S, _L]),
    "rd_kafka_conf_destroy": (None, [_P]),
    "rd_kafka_conf_set_events": (None, [_P, _I]),
    "rd_kafka_conf_dump": (_P, [_P, c.POINTER(_L)]),
    "rd_kafka_conf_dump_free": (None, [_P, _L]),
    "rd_kafka_new": (_P, [_I, _P, _S, _L]),
    "rd_kafka_destroy_flags": (None, [_P, _I]),
    "rd_kafka_err2name": (_S, [_I]),
    "rd_kafka_err2str": (_S, [_I]),
    "rd_kafka_topic_partition_list_new": (_P, [_I]),
    "rd_kafka_topic_partition_list_add": (_P, [_P, _S, c.c_int32]),
    "rd_kafka_topic_partition_list_set_offset": (_I, [_P, _S, c.c_int32, c.c_int64]),
    "rd_kafka_topic_partition_list_destroy": (None, [_P]),
    "rd_kafka_incremental_assign": (_P, [_P, _P]),
    "rd_kafka_incremental_unassign": (_P, [_P, _P]),
    "rd_kafka_commit": (_I, [_P, _P, _I]),
    "rd_kafka_get_watermark_offsets": (_I, [_P, _S, c.c_int32, c.POINTER(c.c_int64), c.POINTER(c.c_int64)]),
    "rd_kafka_poll_set_consumer": (_I, [_P]),
    "rd_kafka_queue_get_consumer": (_P, [_P]),
    "rd_kafka_queue_get_main": (_P, [_P]),
    "rd_kafka_queue_get_partition": (_P, [_P, _S, c.c_int32]),
    "rd_kafka_queue_forward": (None, [_P, _P]),
    "rd_kafka_queue_destroy": (None, [_P]),
    "rd_kafka_queue_poll": (_P, [_P, _I]),
    "rd_kafka_queue_yield": (None, [_P]),
    "rd_kafka_event_type": (_I, [_P]),
    "rd_kafka_event_error": (_I, [_P]),
    "rd_kafka_event_error_string": (_S, [_P]),
    "rd_kafka_event_destroy": (None, [_P]),
    "rd_kafka_consume_batch_queue": (c.c_ssize_t, [_P, _I, _P, _L]),
    "rd_kafka_message_destroy": (None, [_P]),
    "rd_kafka_topic_new": (_P, [_P, _S, _P]),
    "rd_kafka_topic_destroy": (None, [_P]),
    "rd_kafka_produce_batch": (_I, [_P, c.c_int32, _I, _P, _I]),
    "rd_kafka_produceva": (_P, [_P, _P, _L]),
    "rd_kafka_flush": (_I, [_P, _I]),
    "rd_kafka_outq_len": (_I, [_P]),
    "rd_kafka_purge": (_I, [_P, _I]),
    "rd_kafka_fatal_error": (_I, [_P, _S, _L]),
    "rd_kafka_event_message_next": (_P, [_P]),
    "rd_kafka_init_transactions": (_P, [_P, _I]),
    "rd_kafka_begin_transaction": (_P, [_P]),
    "rd_kafka_commit_transaction": (_P, [_P, _I]),
    "rd_kafka_abort_transaction": (_P, [_P, _I]),
    "rd_kafka_message_timestamp": (c.c_int64, [_P, _P]),
    "rd_kafka_message_leader_epoch": (c.c_int32, [_P]),
    "rd_kafka_message_headers": (_I, [_P, c.POINTER(_P)]),
    "rd_kafka_header_get_all": (_I, [_P, _L, c.POINTER(_S), c.POINTER(_P), c.POINTER(_L)]),
    "rd_kafka_message_errstr": (_S, [_P]),
    "rd_kafka_error_code": (_I, [_P]),
    "rd_kafka_error_string": (_S, [_P]),
    "rd_kafka_error_is_fatal": (_I, [_P]),
    "rd_kafka_error_is_retriable": (_I, [_P]),
    "rd_kafka_error_txn_requires_abort": (_I, [_P]),
    "rd_kafka_error_destroy": (None, [_P]),
}


@cache
def library() -> Any:
    """librdkafka. RunError where it is not there."""
    confluent_kafka()
    found = next(iter(_candidates()), None)
    if found is None:
        raise RunError(
            "librdkafka was not found beside the package confluent-kafka",
            hint="install confluent-kafka from a wheel, which has it: pip install --force-reinstall confluent-kafka",
        )
    lib = c.CDLL(found)
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def confluent_kafka() -> Any:
    """The package. RunError where it is not there."""
    try:
        import confluent_kafka as package
    except ImportError:
        raise RunError("connector 'kafka' needs the package confluent-kafka", hint=install("kafka")) from None
    return package


def _candidates() -> list[str]:
    """Where it may be: in the wheel, else where the system keeps its libraries."""
    package = Path(confluent_kafka().__file__).parent
    beside = [package.parent / "confluent_kafka.libs", package / ".dylibs"]
    found = [str(f) for d in beside if d.is_dir() for f in sorted(d.glob("librdkafka[-.]*"))]
    system = ctypes.util.find_library("rdkafka") if not found and sys.platform != "win32" else None
    return found or ([system] if system else [])


def address(name: str) -> int:
    """Of one of its functions, for a compiled loop to call."""
    return c.cast(getattr(library(), name), _P).value or 0


class KafkaError(RunError):
    """What librdkafka has said. `code`: its number; a job may do better after a restart."""

    transient = True

    def __init__(self, message: str, code: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def name_of(code: int) -> str:
    """The name of an error."""
    return (library().rd_kafka_err2name(code) or b"?").decode()


def text_of(code: int) -> str:
    """What an error means."""
    return (library().rd_kafka_err2str(code) or b"?").decode()


def check_error(error: int | None, doing: str) -> None:
    """Raises what an rd_kafka_error_t says; NULL says nothing."""
    if error:
        lib = library()
        code, text = lib.rd_kafka_error_code(error), (lib.rd_kafka_error_string(error) or b"").decode()
        lib.rd_kafka_error_destroy(error)
        raise KafkaError(f"{doing}: {name_of(code)}: {text}", code)


def new_client(kind: int, settings: Mapping[str, str], table: str) -> int:
    """An rd_kafka_t. OptionError for properties that librdkafka has not, and for values that it does not take."""
    lib = library()
    conf = configured(settings, table)
    lib.rd_kafka_conf_set_events(conf, ERROR_EVENT | (DELIVERY_EVENT if kind == PRODUCER else 0))
    text = c.create_string_buffer(ERROR_TEXT)
    made: int | None = lib.rd_kafka_new(kind, conf, text, ERROR_TEXT)
    if not made:
        lib.rd_kafka_conf_destroy(conf)
        raise OptionError(f"table {table}: {text.value.decode()}")
    return made


def configured(settings: Mapping[str, str], table: str) -> int:
    """An rd_kafka_conf_t that has these settings."""
    lib = library()
    conf: int = lib.rd_kafka_conf_new()
    text = c.create_string_buffer(ERROR_TEXT)
    for key, value in settings.items():
        got = lib.rd_kafka_conf_set(conf, key.encode(), value.encode(), text, ERROR_TEXT)
        if got == OK:
            continue
        known = properties(conf)
        lib.rd_kafka_conf_destroy(conf)
        if got == UNKNOWN_PROPERTY:
            raise OptionError(
                f"table {table}: option 'properties.{key}': librdkafka has no such property",
                hint=did_you_mean(f"properties.{key}", [f"properties.{k}" for k in known], "properties"),
                subject=f"properties.{key}",
            )
        raise OptionError(f"table {table}: option 'properties.{key}': {text.value.decode()}", subject=value)
    return conf


def properties(conf: int) -> list[str]:
    """The names of librdkafka's properties."""
    lib = library()
    count = _L()
    pairs = lib.rd_kafka_conf_dump(conf, c.byref(count))
    names = c.cast(pairs, c.POINTER(_S))
    found = [(names[i] or b"").decode() for i in range(0, count.value, 2)]
    lib.rd_kafka_conf_dump_free(pairs, count)
    return found
