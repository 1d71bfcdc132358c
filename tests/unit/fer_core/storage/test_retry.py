import errno
import random
from itertools import pairwise

import pytest

from fer_core.storage.retry import DEFAULT_RETRY, IMAGE_RETRY, NO_RETRY, RetryPolicy, is_transient


class Clock:
    """A clock that advances only in `sleep`, or by the given duration of a request."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds

    def patience(self, **limits):
        return RetryPolicy(**limits, sleep=self.sleep, clock=lambda: self.now, between=random.Random(3).uniform)


def failing(clock, error, takes=0.0, until=10**9):
    asked = []

    def question():
        asked.append(clock.now)
        clock.now += takes
        if len(asked) <= until:
            raise error
        return "answer"

    return asked, question


BUSY = OSError(errno.EBUSY, "slow down")


def test_waits_are_drawn_below_a_bound_that_doubles():
    clock = Clock()
    asked, question = failing(clock, BUSY, until=6)
    assert clock.patience(tries=7, longest_seconds=10.0, total_seconds=1000.0).call(question) == "answer"
    assert len(asked) == 7
    assert all(0 < wait <= bound for wait, bound in zip(clock.slept, (1, 2, 4, 8, 10, 10), strict=True))
    assert any(wait < bound / 2 for wait, bound in zip(clock.slept, (1, 2, 4, 8, 10, 10), strict=True)), "the jitter is full"
    assert [later - earlier for earlier, later in pairwise(asked)] == pytest.approx(clock.slept)


def test_tries_end():
    clock = Clock()
    asked, question = failing(clock, BUSY)
    with pytest.raises(OSError, match="slow down"):
        clock.patience(tries=4).call(question)
    assert len(asked) == 4


@pytest.mark.parametrize("takes", [0.5, 15.0, 48.0, 200.0])
def test_no_try_begins_after_the_time_is_over(takes):
    clock = Clock()
    asked, question = failing(clock, BUSY, takes)
    with pytest.raises(OSError, match="slow down"):
        clock.patience(tries=1000, longest_seconds=1.0).call(question)
    assert asked[-1] <= 60 < asked[-1] + takes + 1


def test_what_cannot_pass_is_asked_once():
    clock = Clock()
    for error in (PermissionError("Access Denied"), FileNotFoundError(2, "no"), OSError(errno.ENOSPC, "full"), ValueError("a bug")):
        asked, question = failing(clock, error)
        with pytest.raises(type(error)):
            clock.patience().call(question)
        assert len(asked) == 1
    asked, question = failing(clock, BUSY)
    with pytest.raises(OSError, match="slow down"):
        NO_RETRY.call(question)
    assert len(asked) == 1
    assert clock.slept == []


def test_an_image_is_worth_less_than_a_run():
    assert IMAGE_RETRY.total_seconds < DEFAULT_RETRY.total_seconds <= 60


class Answered(Exception):  # noqa: N818
    """As botocore's ClientError holds what a server said."""

    def __init__(self, code, status):
        super().__init__(code)
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


def translated(code, status):
    """As s3fs raises it."""
    error = OSError(errno.EIO, code)
    error.__cause__ = Answered(code, status)
    return error


@pytest.mark.parametrize(
    ("code", "status", "passes"),
    [
        *[("InternalError", 500, True), ("SlowDown", 503, True), ("ServiceUnavailable", 503, True), ("502", 502, True)],
        *[("RequestTimeout", 400, True), ("TooManyRequests", 429, True), ("BadDigest", 400, True), ("OperationAborted", 409, True)],
        *[("AccessDenied", 403, False), ("SignatureDoesNotMatch", 403, False), ("NoSuchBucket", 404, False), ("404", 404, False)],
        *[("InvalidRange", 416, False), ("NotImplemented", 501, False), ("Insufficient Storage", 507, False)],
    ],
)
def test_what_a_server_answered(code, status, passes):
    assert is_transient(translated(code, status)) is passes
    assert is_transient(Answered(code, status)) is passes


def test_what_the_network_did():
    import aiohttp
    import botocore.exceptions as client
    import botocore.parsers
    from fsspec.exceptions import FSTimeoutError

    url = {"endpoint_url": "http://127.0.0.1:1"}
    lost = [
        *(TimeoutError(), ConnectionResetError(), BrokenPipeError(), FSTimeoutError(), OSError(errno.ESTALE, "stale file handle")),
        *(client.EndpointConnectionError(**url), client.ConnectTimeoutError(**url), client.ReadTimeoutError(**url)),
        *(client.ConnectionClosedError(**url), client.IncompleteReadError(actual_bytes=1, expected_bytes=2)),
        *(client.ResponseStreamingError(error="x"), botocore.parsers.ResponseParserError("not XML")),
        *(aiohttp.ClientPayloadError("not all"), aiohttp.ServerDisconnectedError()),
    ]
    assert [error for error in lost if not is_transient(error)] == []
    final = [
        *(client.NoCredentialsError(), client.ParamValidationError(report="x"), client.SSLError(**url, error="certificate verify failed")),
        *(OSError(errno.EIO, "bad sector"), OSError(errno.EDQUOT, "quota"), OSError(errno.EROFS, "read-only"), IsADirectoryError(21, "x")),
    ]
    assert [error for error in final if is_transient(error)] == []
