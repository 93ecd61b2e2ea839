"""A registry of schemas, by Confluent's HTTP protocol. What it has said once of a number is not asked again by this process."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from sqlstream.errors import OptionError, RunError
from sqlstream.secrets import learn

if TYPE_CHECKING:
    import ssl

PAUSES = (0.1, 0.3, 1.0, 2.0)  # seconds between attempts, of which there is one more
CONTENT = "application/vnd.schemaregistry.v1+json"
UNKNOWN_SUBJECT, UNKNOWN_SCHEMA = 40401, 40403
LARGEST = 64 << 20  # bytes of an answer
_lock = threading.Lock()
AVRO, JSON, PROTOBUF = "AVRO", "JSON", "PROTOBUF"  # types of schemas
_schemas: dict[tuple[tuple[str, ...], str, str, str], Found] = {}


class RegistryError(RunError):
    """The registry does not answer, or will not do it. `transient`: a job may do better after a restart."""

    def __init__(self, message: str, transient: bool, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient


class UnknownSchema(Exception):
    """The registry has no such schema; says which."""


@dataclass(frozen=True)
class Reference:
    """A schema that another one imports as `name`."""

    name: str
    subject: str
    version: int

    def body(self) -> dict[str, Any]:
        """As requests have it."""
        return {"name": self.name, "subject": self.subject, "version": self.version}


@dataclass(frozen=True)
class Found:
    """A schema that the registry has."""

    text: str
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Registry:
    """Where it is, and who asks. `urls`: any of them may answer; `timeout`: seconds; `ca`, `certificate`: files in PEM.

    `user_info`: name:password; `token`: instead of these."""

    urls: tuple[str, ...] = field(repr=False)
    user_info: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    ca: str = ""
    certificate: str = ""
    certificate_password: str = field(default="", repr=False)
    timeout: float = 10.0
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """As an error names it."""
        return ", ".join(_without_user(u) for u in self.urls)

    def schema(self, number: int, kind: str = AVRO, form: str = "") -> Found:
        """The schema of a number, which is of type `kind`. `form`: how it is said, if not as it is written. UnknownSchema, RegistryError."""
        return self._found(f"/schemas/ids/{number}", kind, form, f"schema {number}")

    def version(self, reference: Reference, kind: str, form: str = "") -> Found:
        """A schema that another one imports. UnknownSchema, RegistryError."""
        path = f"/subjects/{quote(reference.subject, safe='')}/versions/{reference.version}?deleted=true"
        return self._found(path, kind, form, f"version {reference.version} of subject '{reference.subject}'")

    def _found(self, path: str, kind: str, form: str, what: str) -> Found:
        path += f"{'&' if '?' in path else '?'}format={form}" if form else ""
        key = (self.urls, self.user_info, self.token, path)
        with _lock:
            found = _schemas.get(key)
        if found is None:
            answer = self._asked("GET", path, None, what)
            given = answer.get("schemaType") or AVRO
            if given != kind:
                raise UnknownSchema(f"{what} of the registry {self.shown} is of type {given}, not {kind}")
            references = (Reference(r["name"], r["subject"], int(r["version"])) for r in answer.get("references") or ())
            found = Found(self._field(answer, "schema", str), tuple(references))
            with _lock:
                _schemas[key] = found
        return found

    def number(
        self, subject: str, schema: str, register: bool, kind: str = AVRO, references: Sequence[Reference] = ()
    ) -> int:
        """The number of a schema under a subject, where it is registered if it is not there. RegistryError."""
        answer = self._known(subject, "/versions" if register else "", schema, kind, references)
        return int(self._field(answer, "id", int))

    def _field(self, answer: Mapping[str, Any], name: str, kind: type) -> Any:
        found = answer.get(name)
        if not isinstance(found, kind):
            raise RegistryError(
                f"the schema registry {self.shown} answers what none does: {json.dumps(answer)[:100]}",
                False,
                hint="'….url' says where it is",
            )
        return found

    def reference(
        self, name: str, subject: str, schema: str, kind: str, references: Sequence[Reference] = ()
    ) -> Reference:
        """What another schema imports as `name`, which is registered. RegistryError."""
        return Reference(
            name, subject, int(self._field(self._known(subject, "", schema, kind, references), "version", int))
        )

    def _known(
        self, subject: str, then: str, schema: str, kind: str, references: Sequence[Reference]
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"schema": schema}
        if kind != AVRO:
            body["schemaType"] = kind
        if references:
            body["references"] = [r.body() for r in references]
        try:
            return self._asked("POST", f"/subjects/{quote(subject, safe='')}{then}", body, f"subject '{subject}'")
        except UnknownSchema as e:
            raise RegistryError(
                f"{e}: the table's schema is not registered there",
                False,
                hint="'….auto.register.schemas' = 'true' registers it",
            ) from None

    def _asked(self, method: str, path: str, body: Any, what: str) -> dict[str, Any]:
        said = "nothing"
        for pause in (*PAUSES, None):
            for url in self.urls:
                try:
                    return self._answer(method, url, path, body, what)
                except _Passing as e:
                    said = str(e)
            if pause is not None:
                time.sleep(pause)
        raise RegistryError(
            f"the schema registry {self.shown} does not answer for {what}: {said}",
            True,
            hint="is it there, and can it be reached from here? '….url' says where it is",
        )

    def _answer(self, method: str, url: str, path: str, body: Any, what: str) -> dict[str, Any]:
        # here: a query without a registry starts sooner without them
        import ssl
        import urllib.error
        import urllib.request
        from http.client import HTTPException

        request = urllib.request.Request(
            _without_user(url).rstrip("/") + path,
            None if body is None else json.dumps(body).encode(),
            {"Accept": f"{CONTENT}, application/json", "Content-Type": CONTENT, **self.headers},
            method=method,
        )
        for name, value in self._authorization(url).items():
            request.add_unredirected_header(name, value)  # not for another server, to which the registry may point
        try:
            with urllib.request.urlopen(request, timeout=self.timeout, context=self._tls(url)) as answer:
                said = answer.read(LARGEST)
        except urllib.error.HTTPError as e:
            with e:
                self._refused(e.code, _body(e), what)
        except ValueError as e:  # what is in the headers, and is not said
            raise RegistryError(f"the schema registry {self.shown} cannot be asked for {what}", False) from e
        except (OSError, HTTPException) as e:  # URLError is an OSError
            reason = getattr(e, "reason", None) or e
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise RegistryError(
                    f"the schema registry {self.shown} is not trusted: {reason.verify_message}",
                    False,
                    hint="'….ssl.truststore.location' names a file of certificates that are, in PEM",
                ) from None
            raise _Passing(str(reason) or type(reason).__name__) from None
        try:
            found = json.loads(said)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise _Passing(f"its answer is none of a schema registry: {said[:60].decode('utf-8', 'replace')!r}")
        return found

    def _refused(self, status: int, body: bytes, what: str) -> None:
        """Raises what an answer that is an error means."""
        try:
            answer = json.loads(body)
            said, code = str(answer.get("message", "")), int(answer["error_code"])
        except (ValueError, AttributeError, TypeError, LookupError, RecursionError):
            said, code = body.decode("utf-8", "replace").strip()[:200], 0  # no registry says so
        if status >= 500 or status in (408, 429):
            raise _Passing(f"HTTP {status}: {said}")
        if status == 404 and (code in (UNKNOWN_SUBJECT, UNKNOWN_SCHEMA, 404)):
            raise UnknownSchema(f"the schema registry {self.shown} does not know {what}")
        hint = None
        if status in (401, 403):
            hint = "'….basic-auth.credentials-source' = 'USER_INFO' and '….basic-auth.user-info', or '….bearer-auth.token', say who asks"
        elif status == 404:
            hint = "'….url' says where the registry is, with its path if it has one"
        elif status == 409:
            hint = "the subject's compatibility does not allow the table's columns; '….subject' is another one"
        raise RegistryError(f"the schema registry {self.shown} refuses {what}: HTTP {status}: {said}", False, hint)

    def _authorization(self, url: str) -> dict[str, str]:
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        parts = urlsplit(url)
        info = self.user_info or (f"{parts.username}:{parts.password or ''}" if parts.username else "")
        return {"Authorization": "Basic " + base64.b64encode(info.encode()).decode()} if info else {}

    def _tls(self, url: str) -> ssl.SSLContext | None:
        if not url.lower().startswith("https:"):
            return None
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.certificate:
                context.load_cert_chain(self.certificate, password=self.certificate_password or None)
        except (OSError, ssl.SSLError) as e:
            raise OptionError(
                f"the certificates for the schema registry {self.shown} cannot be read: {e}",
                hint="files in PEM are read; keytool -exportcert -rfc, or openssl pkcs12, makes one of a Java keystore",
            ) from None
        return context


class _Passing(Exception):
    """It may do so in a moment."""


def _body(answer: Any) -> bytes:
    """Of an answer that is an error, as far as it comes."""
    from http.client import HTTPException

    try:
        found: bytes = answer.read(LARGEST)
        return found
    except (OSError, HTTPException):
        return b""


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    if parts.username is None:
        return url
    learn("password", parts.password or "")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
