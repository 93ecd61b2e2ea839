"""A client of Kinesis, and what becomes of its failures."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlstream.connectors.messages.clients import Unreachable, library
from sqlstream.errors import OptionError, RunError

CONNECT, ANSWER = 5, 30  # s that it may take
# Codes of what may pass. https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html, and of each operation.
PASSING = frozenset(
    {
        "ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException", "InternalFailure", "InternalFailureException",
        "ServiceUnavailable", "ThrottlingException", "RequestTimeout", "SlowDown", "500", "503",
    }
)  # fmt: skip
_WHO = frozenset(
    {
        "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "InvalidClientTokenId",
        "MissingAuthenticationTokenException", "IncompleteSignatureException", "SignatureDoesNotMatch", "AccessDenied", "403",
    }
)  # fmt: skip
_ASKS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role say who asks; or 'aws.credentials.basic.accesskeyid' and '….secretkey'"
EXPIRED = "ExpiredIteratorException"


class Expired(Exception):
    """An iterator is five minutes old: a new one goes on."""


@dataclass(frozen=True)
class Address:
    """Where the stream is, and who asks. What is None is as AWS's tools find it. `verify`: certificates have to be valid."""

    stream: str  # its ARN
    region: str
    endpoint: str | None = None
    key: str | None = None
    secret: str | None = field(default=None, repr=False)
    profile: str | None = None
    verify: bool = True

    @property
    def name(self) -> str:
        """The stream's."""
        return self.stream.rpartition("/")[2]


_making = threading.Lock()  # clients are made one at a time, AWS says


@functools.lru_cache(16)
def _session(key: str | None, secret: str | None, profile: str | None) -> Any:
    """What clients are made of: it reads what AWS's operations are, which takes longer than all else."""
    session = library("botocore.session", "kinesis", "kinesis").Session(profile=profile)
    if key is not None:
        session.set_credentials(key, secret)
    return session


class Client:
    """For one thread at a time."""

    def __init__(self, address: Address, table: str) -> None:
        self._errors = library("botocore.exceptions", "kinesis", "kinesis")
        config = library("botocore.config", "kinesis", "kinesis").Config(
            connect_timeout=CONNECT, read_timeout=ANSWER, retries={"total_max_attempts": 2, "mode": "standard"}
        )
        self._address, self.where = address, f"table {table}: stream {address.name}"
        try:
            with _making:
                self._client = _session(address.key, address.secret, address.profile).create_client(
                    "kinesis", region_name=address.region, endpoint_url=address.endpoint, config=config, verify=address.verify or False
                )  # fmt: skip
        except (self._errors.BotoCoreError, ValueError) as e:
            raise OptionError(
                f"{self.where}: {e}",
                hint="'aws.region', 'aws.endpoint' and 'aws.credentials.*' say where it is, and who asks",
            ) from e

    def do(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """An operation of the stream. Unreachable where another attempt may succeed, Expired, RunError for what is refused."""
        return self._guarded(lambda: getattr(self._client, operation)(StreamARN=self._address.stream, **arguments))

    def _guarded(self, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        errors = self._errors
        try:
            return call()
        except errors.ClientError as e:
            code, said = e.response["Error"].get("Code", ""), e.response["Error"].get("Message") or str(e)
            if code == EXPIRED:
                raise Expired from None
            if code == "ResourceNotFoundException":
                raise RunError(
                    f"{self.where}: {said}", hint="'stream.arn' names it; it has to be there before the job"
                ) from e
            if code in _WHO:
                raise RunError(f"{self.where} does not let us in: {said}", hint=_ASKS) from None
            status = e.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if code in PASSING or status >= 500:
                raise Unreachable(f"{self.where}: {code}: {said}", hint="it is asked again") from e
            raise RunError(f"{self.where}: {code}: {said}") from e
        except (
            errors.NoCredentialsError,
            errors.PartialCredentialsError,
            errors.CredentialRetrievalError,
            errors.TokenRetrievalError,
        ) as e:
            raise RunError(f"{self.where}: {e}", hint=_ASKS) from None
        except (errors.HTTPClientError, errors.ConnectionError) as e:
            raise Unreachable(
                f"{self.where} does not answer: {e}",
                hint="'aws.region' and 'aws.endpoint' (or AWS_ENDPOINT_URL) say where Kinesis is",
            ) from e
        except errors.ParamValidationError as e:
            raise RunError(f"{self.where}: {e}") from e

    def close(self) -> None:
        """Its connections go."""
        self._client.close()
