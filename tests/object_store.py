"""A real S3 server on loopback for tests, moto's, and a client that none of our caches stand before."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from moto import settings
from moto.server import ThreadedMotoServer

KEY, SECRET = "AKIATEST", "very-hidden-word"
BUCKET = "bucket"


class ObjectStore:
    """`requests`: (method, key) of all that came, in order. `objects`: what readers see, names of `_` and `.` left out."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self._serving = threading.Lock()
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        http: Any = self._server._server
        http.app = self._recording(http.app)
        self.endpoint = "http://{}:{}".format(*self._server.get_host_and_port())
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )
        self.client.create_bucket(Bucket=BUCKET)

    def stop(self) -> None:
        self.client.close()
        self._server.stop()

    def environment(self) -> dict[str, str]:
        """As a user of AWS's tools has it; one attempt, so that tests of what cannot work are fast."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_MAX_ATTEMPTS": "1",
        }

    def arguments(self) -> list[str]:
        """The same as session options of the command line."""
        options = {"endpoint": self.endpoint, "access-key": KEY, "secret-key": SECRET, "path.style.access": "true"}
        return [a for k, v in options.items() for a in ("-D", f"s3.{k}={v}")]

    def put(self, key: str, data: str | bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data.encode() if isinstance(data, str) else data)

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=key)

    def keys(self, prefix: str) -> list[str]:
        return [o["Key"] for o in self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]

    def published(self, prefix: str) -> list[str]:
        """What a reader takes, in (checkpoint, subtask, n) order."""
        found = [k for k in self.keys(prefix + "/") if not any(p.startswith(("_", ".")) for p in k.split("/"))]
        order: Callable[[str], list[int]] = lambda k: [int(n) for n in k.split(".")[0].rsplit("-", 3)[1:]]  # noqa: E731
        return sorted(found, key=lambda k: (order(k)[1], order(k)[0], order(k)[2]))

    def lines(self, prefix: str) -> list[str]:
        return [line for k in self.published(prefix) for line in self.get(k).decode().splitlines()]

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Nobody's key is known."""
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
        try:
            yield
        finally:
            settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")

    def _recording(self, app: Any) -> Any:
        def record(environ: dict[str, Any], start_response: Any) -> Any:
            # One at a time: a listing of moto's fails when an object goes meanwhile.
            with self._serving:
                self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(f"/{BUCKET}/")))
                return list(app(environ, start_response))

        return record
