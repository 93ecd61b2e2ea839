"""Files behind URLs: the file system of a URL, and what its client library's errors mean.

What stands in the session's options s3.*, gs.* and fs.azure.* goes with whatever opens files (`Stores`); what they leave open comes
from the environment, as the own tools of AWS, Google and Azure read it. fsspec and its implementations are imported when a URL is
opened.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  fsspec's; it cannot be imported any more when the main thread has ended
import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlstream.distribution import install
from sqlstream.errors import OptionError

S3 = ("s3", "s3a")
GCS = ("gs", "gcs")
AZURE = ("abfs", "abfss", "az")
_TALKATIVE = {**dict.fromkeys(GCS, ("gcsfs", "google.auth")), **dict.fromkeys(AZURE, ("azure", "adlfs"))}
ANONYMOUS = "anon"  # in the place of Google's key file
_EXTRAS = {**dict.fromkeys(S3, "s3"), **dict.fromkeys(GCS, "gcs"), **dict.fromkeys(AZURE, "azure")}
# Packages whose exceptions are not OSErrors although they tell of files and networks.
CLIENTS = ("botocore", "aiobotocore", "aiohttp", "google", "gcsfs", "azure")


@dataclass(frozen=True)
class Stores:
    """How to reach object stores. Shown without its secrets."""

    endpoint: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    path_style: bool = False
    gs_endpoint: str | None = None
    gs_key_file: str | None = None
    azure_account: str | None = None
    azure_key: str | None = field(default=None, repr=False)
    azure_connection: str | None = field(default=None, repr=False)

    def filesystem(self, url: str) -> tuple[Any, str]:
        """The fsspec file system of a URL (or local path) and the path within it.

        OptionError when nothing is installed for its scheme; OSError when it connects at once, and cannot.
        """
        from fsspec.core import url_to_fs

        scheme = url.partition("://")[0]
        for name in _TALKATIVE.get(scheme, ()):  # else what they log, which errors say too, goes to the terminal
            logging.getLogger(name).addHandler(logging.NullHandler())
        try:
            with os_errors():
                found: tuple[Any, str] = url_to_fs(url, **self._options(scheme))
                return found
        except ImportError as e:
            extra = _EXTRAS.get(scheme)
            hint = install(extra) if extra else "install the package that serves this scheme"
            raise OptionError(f"'{url}' cannot be opened: {e}", hint=hint) from e
        except ValueError as e:
            hint = _ASKED.get(_EXTRAS.get(scheme, ""), "install the package that serves this scheme")
            raise OptionError(f"'{url}' cannot be opened: {e}", hint=hint) from e

    def _options(self, scheme: str) -> dict[str, Any]:
        made = {"s3": self._s3, "gcs": self._gcs, "azure": self._azure}.get(_EXTRAS.get(scheme, ""))
        # No cached listings: they hide what other processes write.
        return {"use_listings_cache": False, **made()} if made else {}

    def _s3(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.endpoint is not None:
            options["endpoint_url"] = self.endpoint if "://" in self.endpoint else f"https://{self.endpoint}"
        if self.access_key is not None:
            options["key"] = self.access_key
        if self.secret_key is not None:
            options["secret"] = self.secret_key
        if self.path_style:
            options["config_kwargs"] = {"s3": {"addressing_style": "path"}}
        return options

    def _gcs(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.gs_endpoint is not None:
            options["endpoint_url"] = self.gs_endpoint if "://" in self.gs_endpoint else f"https://{self.gs_endpoint}"
        if self.gs_key_file is not None:
            anonymous = self.gs_key_file == ANONYMOUS
            options["token"] = self.gs_key_file if anonymous else os.path.abspath(os.path.expanduser(self.gs_key_file))
        return options

    def _azure(self) -> dict[str, Any]:
        given = {
            "account_name": self.azure_account,
            "account_key": self.azure_key,
            "connection_string": self.azure_connection,
        }
        return {k: v for k, v in given.items() if v is not None}


ENVIRONMENT = Stores()


@contextlib.contextmanager
def os_errors() -> Iterator[None]:
    """Turns what client libraries of object stores raise into the OSErrors that it stands for."""
    try:
        yield
    except Exception as e:
        name, text = type(e).__name__, str(e).strip()
        if isinstance(e, OSError):
            raise
        if type(e) is ValueError and text.startswith("Invalid endpoint"):  # botocore's, of AWS_ENDPOINT_URL
            raise ConnectionError(text) from e
        if type(e).__module__.partition(".")[0] not in CLIENTS:
            raise
        if "Credential" in name or "Token" in name:
            raise PermissionError(errno.EACCES, text) from e
        if any(word in name for word in ("Connect", "Timeout", "SSL", "Endpoint", "HTTP")):
            raise ConnectionError(text) from e
        raise OSError(errno.EIO, text) from e


def reason(e: OSError) -> str:
    """Why, in the system's or the store's words."""
    return e.strerror or str(e) or type(e).__name__


_ASKED = {  # who asks
    "s3": "check 's3.access-key' and 's3.secret-key' (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), and what they may do in this "
    "bucket",
    "gcs": "check 'gs.auth.service.account.json.keyfile' (or GOOGLE_APPLICATION_CREDENTIALS), and what that account may do in this "
    "bucket",
    "azure": "check 'fs.azure.account.name' and 'fs.azure.account.key', or 'fs.azure.connection-string' (or "
    "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_CONNECTION_STRING), and what they may do in this container",
}
_ENDPOINTS = {
    "s3": "'s3.endpoint' (or AWS_ENDPOINT_URL)",
    "gcs": "'gs.storage.root.url' (or STORAGE_EMULATOR_HOST)",
    "azure": "'fs.azure.account.name', or the BlobEndpoint of 'fs.azure.connection-string' (or AZURE_STORAGE_CONNECTION_STRING)",
}


def hint(e: OSError, url: str) -> str | None:
    """What to do about an error of an object store; None for others."""
    store = _EXTRAS.get(url.partition("://")[0])
    if store is None:
        return None
    if isinstance(e, PermissionError):
        return _ASKED[store]
    if isinstance(e, ConnectionError | TimeoutError):
        return f"check {_ENDPOINTS[store]}, and whether the store can be reached from here"
    kind = "container" if store == "azure" else "bucket"
    if isinstance(e, FileNotFoundError) and kind in reason(e).lower():
        return f"make the {kind}, or check its name and {_ENDPOINTS[store]}"
    return None
