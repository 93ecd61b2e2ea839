"""Files behind URLs: the file system of a URL, and what its client library's errors mean.

What stands in the session's s3.* options goes with whatever opens files (`Stores`); what they leave open comes from
the environment, as AWS's own tools read it. fsspec and its implementations are imported when a URL is opened.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  fsspec's; it cannot be imported any more when the main thread has ended
import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlstream.distribution import install
from sqlstream.errors import OptionError

S3 = ("s3", "s3a")
# Packages whose exceptions are not OSErrors although they tell of files and networks.
CLIENTS = ("botocore", "aiobotocore", "aiohttp", "google", "gcsfs", "azure")


@dataclass(frozen=True)
class Stores:
    """How to reach object stores. Shown without its secrets."""

    endpoint: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    path_style: bool = False

    def filesystem(self, url: str) -> tuple[Any, str]:
        """The fsspec file system of a URL (or local path) and the path within it.

        OptionError when nothing is installed for its scheme; OSError when it connects at once, and cannot.
        """
        from fsspec.core import url_to_fs

        scheme = url.partition("://")[0]
        try:
            with os_errors():
                return url_to_fs(url, **(self._s3() if scheme in S3 else {}))  # type: ignore[no-any-return]
        except (ImportError, ValueError) as e:
            hint = install("s3") if scheme in S3 else "install the package that serves this scheme"
            raise OptionError(f"'{url}' cannot be opened: {e}", hint=hint) from e

    def _s3(self) -> dict[str, Any]:
        # No cached listings: they hide what other processes write.
        options: dict[str, Any] = {"use_listings_cache": False}
        if self.endpoint is not None:
            options["endpoint_url"] = self.endpoint if "://" in self.endpoint else f"https://{self.endpoint}"
        if self.access_key is not None:
            options["key"] = self.access_key
        if self.secret_key is not None:
            options["secret"] = self.secret_key
        if self.path_style:
            options["config_kwargs"] = {"s3": {"addressing_style": "path"}}
        return options


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


def hint(e: OSError, url: str) -> str | None:
    """What to do about an error of an S3 store; None for others."""
    if url.partition("://")[0] not in S3:
        return None
    if isinstance(e, PermissionError):
        return (
            "check 's3.access-key' and 's3.secret-key' (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), and what "
            "they may do in this bucket"
        )
    if isinstance(e, ConnectionError | TimeoutError):
        return "check 's3.endpoint' (or AWS_ENDPOINT_URL), and whether the store can be reached from here"
    if isinstance(e, FileNotFoundError) and "bucket" in reason(e).lower():
        return "make the bucket, or check its name and 's3.endpoint' (or AWS_ENDPOINT_URL)"
    return None
