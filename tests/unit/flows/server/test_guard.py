"""Which requests reach Prefect, by their headers; and the wrapper with requests as uvicorn passes them on."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.server.guard import AccessRule, HostPort, allowed_hosts, guarded

LOCAL = "127.0.0.1"
OURS = "127.0.0.1:4200"


def refusal(host=OURS, allowed="", local=LOCAL, **headers):
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return AccessRule(allowed_hosts(allowed)).refusal([(b"host", host.encode()), *lines], local)


@pytest.mark.parametrize(
    "host", [OURS, "localhost:4200", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.0.0.2:4200", "[::1]:4200", "[::ffff:127.0.0.1]:80"]
)
def test_loopback_names_are_ours_with_any_port(host):
    assert refusal(host) is None


OTHERS = ["evil.example", "evil.example:4200", "localhost.evil.example", "127.0.0.1.evil.example", "evil.localhost", "192.168.1.5:4200"]
OTHERS += ["[fe80::1]:4200", "0.0.0.0:4200", "", "127.0.0.1:4200@evil.example", "a b", "http://localhost", "localhost:123456", "a" * 300]


@pytest.mark.parametrize("host", OTHERS)
def test_other_names_are_refused_and_the_option_is_named(host):
    told = refusal(host)
    assert told.startswith("this server does not accept the host name ")
    if HostPort.of(host) is not None:
        assert f"`ferflow up --allow-host {host}`" in told
        assert f"FERFLOW_ALLOWED_HOSTS={host} " in told
        assert refusal(host, allowed=host) is None


def test_a_request_names_one_host():
    assert AccessRule().refusal([], LOCAL) is not None
    assert AccessRule().refusal([(b"host", b"localhost"), (b"host", b"localhost")], LOCAL) is not None


def test_the_address_that_was_connected_to_is_ours():
    assert refusal("192.168.1.5:4200", local="192.168.1.5") is None
    assert refusal("192.168.1.6:4200", local="192.168.1.5") is not None
    assert refusal("192.168.1.5:4200", local="::ffff:192.168.1.5") is None
    assert refusal("evil.example:4200", local="192.168.1.5") is not None


@pytest.mark.parametrize("origin", ["http://127.0.0.1:4200", "http://127.0.0.1:4200".upper().replace("HTTP", "http")])
def test_its_own_pages_are(origin):
    assert refusal(origin=origin) is None


FOREIGN = ["null", "", "http://evil.example", "http://127.0.0.1:8000", "http://127.0.0.1", "http://127.0.0.2:4200", "http://localhost:4200"]
FOREIGN += ["file://", "chrome-extension://abc", "http://127.0.0.1:4200/", "http://127.0.0.1:4200.evil.example", "http://u@127.0.0.1:4200"]


@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_others_are_refused(origin):
    assert refusal(origin=origin).startswith("pages of ")
    assert refusal(origin=origin, allowed="prefect.example") is not None


def test_behind_a_proxy():
    """Whether it hands the name on that the browser has used, or puts its own in."""
    for host in ("prefect.example", "127.0.0.1:4200", "server:4200"):
        assert refusal(host, "prefect.example,server", origin="https://prefect.example") is None
        assert refusal(host, "prefect.example,server", origin="https://prefect.example:8443") is not None
    assert refusal("prefect.example:8443", "prefect.example:8443", origin="https://prefect.example:8443") is None
    assert refusal("127.0.0.1:4200", "prefect.example:8443", origin="https://prefect.example:8443") is None
    assert refusal("prefect.example", "prefect.example:8443") is not None


def test_what_is_drawn_into_other_pages_is_refused_and_links_are_followed():
    for site in ("cross-site", "same-site"):
        assert refusal(sec_fetch_site=site, sec_fetch_mode="no-cors") is not None
        assert refusal(sec_fetch_site=site, sec_fetch_mode="navigate") is None
    assert refusal(sec_fetch_site="same-origin", sec_fetch_mode="cors") is None
    assert refusal(sec_fetch_site="none", sec_fetch_mode="navigate") is None


@given(st.text(max_size=400))
def test_whatever_is_sent_the_answer_is_one_short_line(text):
    for told in (refusal_of(text.encode("utf-8", "replace")), refusal(origin=text.encode("ascii", "replace").decode())):
        assert told is None or ("\n" not in told and len(told) < 1500 and told.isascii() and told.isprintable())


def refusal_of(host):
    return AccessRule().refusal([(b"host", host)], LOCAL)


@pytest.mark.parametrize("text", ["http://prefect.example", "prefect.example/", "*", "a b", "prefect.example:x"])
def test_what_is_no_name_is_told(text):
    with pytest.raises(ValueError, match="is no host: give NAME or NAME:PORT"):
        allowed_hosts(f"localhost, {text}")


async def _inner(scope, receive, send):
    await send({"type": "reached"})


def ask(scope):
    """What is sent for it."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"evil.example"), (b"origin", b"null")]
    whole = {"headers": headers, "server": (LOCAL, 4200), **scope}
    asyncio.run(guarded(_inner, AccessRule())(whole, None, send))
    return sent


def test_what_is_refused_does_not_reach_the_application():
    start, body = ask({"type": "http"})
    assert (start["status"], body["body"].count(b"\n")) == (403, 1)
    start, body = ask({"type": "websocket", "extensions": {"websocket.http.response": {}}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
    assert b"--allow-host evil.example" in body["body"]
    assert ask({"type": "websocket"}) == [{"type": "websocket.close", "code": 1008}]


def test_what_passes_reaches_it():
    for kind in ("http", "websocket"):
        assert ask({"type": kind, "headers": [(b"host", b"localhost")]}) == [{"type": "reached"}]
    assert ask({"type": "lifespan"}) == [{"type": "reached"}]
