"""What a run tells the Prefect API that it talks to."""

import pytest

from flows import prefect_api


class FlowFailedError(Exception):
    """What a flow fails with."""


class Server:
    """Stands in for one of our own."""

    def wait(self, seconds):
        assert seconds > 0


@pytest.mark.parametrize("server", [None, Server()], ids=["configured", "our own"])
def test_what_is_queued_is_delivered_while_the_api_is_there_also_after_a_failure(monkeypatch, server):
    """Else Prefect tries when the process ends, a minute and more where the API is gone by then."""
    told = []
    monkeypatch.setattr(prefect_api, "flush", lambda: told.append("flushed"))
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "1")

    def failed():
        with prefect_api.PrefectApi("http://127.0.0.1:1/api", server).ready():
            told.append("ran")
            raise FlowFailedError

    with pytest.raises(FlowFailedError):
        failed()
    assert told == ["ran", "flushed"]
