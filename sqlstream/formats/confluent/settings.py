"""The options of formats with a registry: Flink's, and what they make of its client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlstream.errors import NotSupported, OptionError, did_you_mean
from sqlstream.formats.confluent.client import Registry
from sqlstream.options import Option
from sqlstream.secrets import learn, redacted

# Properties of Confluent's client that say the same as options.
_PROPERTIES = {
    "basic.auth.credentials.source": "basic-auth.credentials-source",
    "basic.auth.user.info": "basic-auth.user-info",
    "schema.registry.basic.auth.user.info": "basic-auth.user-info",
    "bearer.auth.credentials.source": "bearer-auth.credentials-source",
    "bearer.auth.token": "bearer-auth.token",
    "schema.registry.ssl.truststore.location": "ssl.truststore.location",
    "schema.registry.ssl.truststore.password": "ssl.truststore.password",
    "schema.registry.ssl.keystore.location": "ssl.keystore.location",
    "schema.registry.ssl.keystore.password": "ssl.keystore.password",
}
_TIMEOUT = "http.read.timeout.ms"
SUBJECT = (
    "under which the schema of a table that is written is registered; <topic>-value or <topic>-key where it is not said"
)


def options_of(name: str) -> tuple[Option, ...]:
    """Of a format of this name whose records are Avro's."""
    return (
        Option(f"{name}.url", required=True, doc="where the schema registry is; several with ',' between", compared="nothing",
               former=(f"{name}.schema-registry.url",)),
        Option(f"{name}.subject", doc=SUBJECT, former=(f"{name}.schema-registry.subject",)),
        Option(f"{name}.schema", doc="the schema that the table is written by, as JSON; where it is not said Flink's of the table's columns",
               former=(f"{name}.schema-registry.schema",)),
        *client_options(name),
    )  # fmt: skip


def client_options(name: str) -> tuple[Option, ...]:
    """Those of the registry's client, of a format of this name."""
    return (
        Option(f"{name}.auto.register.schemas", "bool", True, "whether the schema is registered if it is not there", compared="nothing"),
        Option(f"{name}.basic-auth.credentials-source", doc="USER_INFO, or URL: where user and password stand", compared="nothing"),
        Option(f"{name}.basic-auth.user-info", doc="user:password", compared="nothing"),
        Option(f"{name}.bearer-auth.credentials-source", doc="STATIC_TOKEN", compared="nothing"),
        Option(f"{name}.bearer-auth.token", doc="a token that says who asks", compared="nothing"),
        Option(f"{name}.ssl.truststore.location", "path", doc="certificates that are trusted, a file in PEM", compared="nothing"),
        Option(f"{name}.ssl.truststore.password", doc="no effect: a file in PEM has none", compared="nothing"),
        Option(f"{name}.ssl.keystore.location", "path", doc="who asks: a certificate and its key, a file in PEM", compared="nothing"),
        Option(f"{name}.ssl.keystore.password", doc="of the key", compared="nothing"),
        Option(f"{name}.properties.*", "string", doc="a property of Confluent's client that says the same as one of these options, or "
               "http.read.timeout.ms", compared="nothing"),
    )  # fmt: skip


def registry_of(name: str, table: str, options: Mapping[str, Any], directory: str = ".") -> Registry:
    """By the options of a table. OptionError, NotSupported."""
    where = f"table {table}: option '{name}"
    given = {k.removeprefix(name): v for k, v in options.items() if v is not None}
    timeout = _of_properties(given, where)

    def of(key: str, default: str = "") -> str:
        return str(given.get(key, default))

    urls = tuple(u.strip() for u in of(".url").split(",") if u.strip())
    for u in urls or ("",):
        _check_url(u, f"{where}.url'")
    info = of(".basic-auth.user-info")
    source = of(".basic-auth.credentials-source", "USER_INFO" if info else "URL")
    if source not in ("USER_INFO", "URL"):
        raise NotSupported(
            f"{where}.basic-auth.credentials-source': USER_INFO and URL alone are there",
            hint="USER_INFO, and '….basic-auth.user-info' says who asks; or URL, and it stands in '….url'",
        )
    if source == "USER_INFO" and not info:
        raise OptionError(f"{where}.basic-auth.user-info' is missing", hint="user:password")
    if of(".bearer-auth.credentials-source", "STATIC_TOKEN") != "STATIC_TOKEN":
        raise NotSupported(
            f"{where}.bearer-auth.credentials-source': STATIC_TOKEN alone is there",
            hint="and '….bearer-auth.token' is the token",
        )
    learn("password", info.partition(":")[2])
    if not all(c.isascii() and c.isprintable() for c in of(".bearer-auth.token")):
        raise OptionError(f"{where}.bearer-auth.token' has characters that no token has", hint="a line end, perhaps")
    trusted, own = of(".ssl.truststore.location"), of(".ssl.keystore.location")
    return Registry(
        urls, info if source == "USER_INFO" else "", of(".bearer-auth.token"),
        _pem(trusted, f"{where}.ssl.truststore.location'", directory), _pem(own, f"{where}.ssl.keystore.location'", directory),
        of(".ssl.keystore.password"), timeout,
    )  # fmt: skip


def _of_properties(given: dict[str, Any], where: str) -> float:
    """What the properties of Confluent's client say, as options that are not given; seconds until an answer has to be there."""
    timeout = 10.0
    for key, value in list(given.items()):
        prop = key.removeprefix(".properties.")
        if prop == key or prop == "*":
            continue
        if prop == _TIMEOUT:
            timeout = int(value) / 1000 if str(value).isascii() and str(value).isdigit() else 0
            if timeout <= 0:
                raise OptionError(f"{where}{key}' = '{value}' is no number of milliseconds", subject=value)
        elif prop in _PROPERTIES:
            given.setdefault(f".{_PROPERTIES[prop]}", value)
        else:
            hint = did_you_mean(prop, (*_PROPERTIES, _TIMEOUT), "properties")
            raise OptionError(f"{where}{key}': there is no such property", hint=hint, subject=key)
    return timeout


def _check_url(url: str, where: str) -> None:
    """OptionError unless it names a server."""
    try:
        parts = urlsplit(url)
        named = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and not any(map(str.isspace, url))
        _ = parts.port
    except ValueError:  # a port that is none, brackets
        named = False
    if not named:
        raise OptionError(f"{where} = '{redacted(url)}' is no URL", hint="http://host:8081", subject=url)


def _pem(given: str, where: str, directory: str) -> str:
    """The path of a file, which is none of Java's stores."""
    if not given:
        return ""
    path = Path(directory) / given
    try:
        with path.open("rb") as file:
            begin = file.read(4)
    except OSError as e:
        raise OptionError(f"{where}: {path} cannot be read: {e.strerror}", subject=given) from None
    if begin == b"\xfe\xed\xfe\xed" or begin[:1] == b"\x30":
        raise NotSupported(
            f"{where}: {path} is a keystore of Java's: a file in PEM is read",
            hint="keytool -exportcert -rfc, or openssl pkcs12 -in … -out ….pem, makes one",
        )
    return str(path)
