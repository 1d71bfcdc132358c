"""Retries of storage requests: which failures are transient, and how long to wait before the next try.

Exponential backoff with full jitter (M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog 2015): many workers that get
`SlowDown` at the same moment must not retry at the same moment.
"""

import errno
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

T = TypeVar("T")

_NUMBERS: Final = frozenset(
    {
        *(errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT, errno.EPIPE, errno.ENOTCONN),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH),
        *(errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET),
        getattr(errno, "EREMOTEIO", errno.ECONNRESET),  # what s3fs calls an internal error of the server; Linux only
    }
)
"""Operating system errors that may pass. Not among them: a full disk, a bad sector, a missing permission."""

_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 509})
"""HTTP answers that may pass (RFC 9110; RFC 6585; 509 is what some proxies answer to too much traffic)."""

_CODES: Final = frozenset(
    {
        *("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "BandwidthLimitExceeded"),
        *("InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted"),
        *("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"),  # what was sent was damaged on its way
    }
)
"""S3 error codes that may pass, whatever HTTP status they come with."""

_CLASSES: Final = (
    ("botocore.exceptions", "HTTPClientError"),
    ("botocore.exceptions", "ConnectionError"),
    ("botocore.exceptions", "IncompleteReadError"),
    ("botocore.exceptions", "FlexibleChecksumError"),
    ("botocore.parsers", "ResponseParserError"),
    ("aiohttp", "ClientError"),
)
"""The S3 client's own errors for requests and answers that got lost on the way; they exist only once that client is loaded."""


_REFUSALS: Final = frozenset(
    {
        *("InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", "InvalidSecurity", "NotSignedUp"),
        *("AccountProblem", "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestTimeTooSkewed"),
    }
)
"""S3 error codes about credentials. Not `AccessDenied`, which is about the object."""

_WITHOUT_CREDENTIALS: Final = (
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"),
    *("TokenRetrievalError", "SSOError", "ConfigParseError"),
)
"""What the S3 client raises before it sends a request."""


def is_auth_error(error: BaseException) -> bool:
    """Whether a storage, or its client, does not accept the credentials: then every other request will fail too."""
    answer = _answer(error)
    if answer is not None:
        return answer[0] in _REFUSALS
    module = sys.modules.get("botocore.exceptions")
    return isinstance(error, tuple(getattr(module, name) for name in _WITHOUT_CREDENTIALS if hasattr(module, name)))


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later. Any other failure counts as permanent."""
    answer = _answer(error)
    if answer is not None:
        code, status = answer
        return code in _CODES or status in _STATUSES
    if isinstance(error, OSError) and (error.errno in _NUMBERS or isinstance(error, TimeoutError | ConnectionError)):
        return True
    lost = tuple(getattr(sys.modules[module], name) for module, name in _CLASSES if hasattr(sys.modules.get(module), name))
    return isinstance(error, lost) and "certificate" not in str(error).lower()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and for how long a request is repeated. For idempotent requests only: a failed one may have taken effect."""

    tries: int = 6
    """At most, the first included."""
    first_seconds: float = 1.0
    """Longest wait before the second try; before each further one it may be twice as long."""
    longest_seconds: float = 16.0
    total_seconds: float = 60.0
    """No try begins later than this after the first."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    between: Callable[[float, float], float] = random.uniform

    def call(self, question: Callable[[], T]) -> T:
        """The answer; the last failure as it came where it is permanent, or no try or time is left."""
        began = self.clock()
        waits = self._waits()
        while True:
            try:
                return question()
            except Exception as error:
                wait = next(waits, None)
                if wait is None or not is_transient(error) or self.clock() + wait - began > self.total_seconds:
                    raise
            self.sleep(wait)

    def _waits(self) -> Iterator[float]:
        """Seconds before each further try."""
        for number in range(self.tries - 1):
            yield self.between(0.0, min(self.longest_seconds, self.first_seconds * 2**number))


DEFAULT_RETRY: Final = RetryPolicy()
"""For files without which a run fails."""

IMAGE_RETRY: Final = RetryPolicy(tries=4, total_seconds=20.0)
"""There are many images, and one that cannot be read costs one row."""

NO_RETRY: Final = RetryPolicy(tries=1)
"""For requests that the caller repeats anyway."""


def _answer(error: BaseException) -> tuple[str, int] | None:
    """Error code and HTTP status, where an S3 server has answered; filesystems keep that answer as the cause of the error they raise."""
    seen: BaseException | None = error
    while seen is not None:
        response: Any = getattr(seen, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code", "")), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        seen = seen.__cause__
    return None
