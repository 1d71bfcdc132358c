"""Access control of Prefect's server: an ASGI wrapper that refuses foreign names and foreign pages before Prefect handles the request.

A browser sends requests for any page that is open in it, and opens WebSockets for it without a question. Two headers, which no script can
forge, identify such requests: `Host` is the name by which the browser reached the server (another name than its own is DNS rebinding),
`Origin` is the requesting page. Prefect checks neither. Clients without `Origin` are no pages: commands, workers, probes.

`uvicorn --factory flows.server.guard:create_app` is Prefect's plain API behind it; `flows.server.application` adds the pages.
"""

import os
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, Self

from flows.server.garbage_collection import deferred_collection

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

ALLOWED_HOSTS: Final = "FERFLOW_ALLOWED_HOSTS"
"""Further names of the server, separated by commas: NAME or NAME:PORT."""

DEFAULTS: Final = {"PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true", "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ""}
"""Prefect's own defaults are no protection and every page."""

_PLACE: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+?)\.?(?::([0-9]{1,5}))?")
_ORIGIN: Final = re.compile(r"https?://([^/?#@]+)")
_USUAL_PORTS: Final = (80, 443)
_SHOWN: Final = 120
_LONGEST: Final = 270
"""A name has 253 letters at most."""


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host's name or address, and a port."""

    host: str
    port: int | None
    """None: the default port, or not given."""

    @classmethod
    def of(cls, text: str) -> Self | None:
        """`host`, `host:port` or `[address]:port`. None: the text has another form."""
        found = _PLACE.fullmatch(text.strip().lower()) if len(text) <= _LONGEST else None
        if found is None:
            return None
        port = int(found[2]) if found[2] else None
        return cls(found[1].strip("[]"), None if port in _USUAL_PORTS else port)

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        address = _address(self.host)
        return self.host == "localhost" or (address is not None and address.is_loopback)


def allowed_hosts(text: str) -> frozenset[HostPort]:
    """Names in the format of `FERFLOW_ALLOWED_HOSTS`. ValueError for an invalid one."""
    places = {name: HostPort.of(name) for name in (part.strip() for part in text.split(",")) if name}
    wrong = [name for name, place in places.items() if place is None]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no host: give NAME or NAME:PORT, without http://")
    return frozenset(place for place in places.values() if place is not None)


@dataclass(frozen=True, slots=True)
class AccessRule:
    """Decides which requests are refused, with the message."""

    allowed: frozenset[HostPort] = frozenset()

    def refusal(self, headers: Iterable[tuple[bytes, bytes]], local: str) -> str | None:
        """None for a permitted request. local: this machine's end of the connection."""
        given: dict[str, list[str]] = {}
        for name, value in headers:
            given.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = given.get("host", [])
        host = HostPort.of(hosts[0]) if len(hosts) == 1 else None
        if host is None or not self._answers_to(host, local):
            return _sentence(f"this server does not accept the host name {_shown(hosts)}", hosts)
        origins = given.get("origin", [])
        for origin in origins:
            if not self._takes(origin, host):
                return _sentence(f"pages of {_shown([origin])} may not use this server", [origin.partition("://")[2]])
        if not origins and _is_embedded_request(given):
            return "pages of other servers may not use this one"
        return None

    def _answers_to(self, host: HostPort, local: str) -> bool:
        """A name that only this server can have. An address in `Host` is one that the browser itself has connected to."""
        named = host in self.allowed or HostPort(host.host, None) in self.allowed
        return named or host.is_loopback or (_address(host.host) is not None and _address(host.host) == _address(local))

    def _takes(self, origin: str, host: HostPort) -> bool:
        """The server's own pages, by the name that the request has. A proxy may have changed that: then by a name that is allowed."""
        found = _ORIGIN.fullmatch(origin)
        page = HostPort.of(found[1]) if found else None
        return page is not None and (page == host or page in self.allowed)


def guarded(application: Application, rule: AccessRule) -> Application:
    """The same application behind the rule. Refused requests get 403 and one line, WebSockets before they are open."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await application(scope, receive, send)
            return
        reason = rule.refusal(scope["headers"], str((scope.get("server") or ("", 0))[0]))
        if reason is None:
            await application(scope, receive, send)
        else:
            await _refuse(scope, send, f"ferflow: {reason}\n")

    return answer


def rule_from_environment() -> AccessRule:
    """The rule with the names in the environment. ValueError for an invalid one."""
    return AccessRule(allowed_hosts(os.environ.get(ALLOWED_HOSTS, "")))


def create_app() -> Application:
    """Prefect's plain application, without pages, behind the guard."""
    rule = rule_from_environment()
    with deferred_collection():
        from prefect.server.api.server import create_app as prefect_app

    return guarded(prefect_app(), rule)


async def _refuse(scope: Message, send: Send, line: str) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})  # before it was accepted: the server answers 403
            return
        kind = "websocket.http.response"
    body = line.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": f"{kind}.start", "status": 403, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


def _is_embedded_request(given: dict[str, list[str]]) -> bool:
    """Whether it is embedded in a page of another server, like a picture or a script, without `Origin`. A link that a person follows is
    not."""
    foreign = {"cross-site", "same-site"}.intersection(given.get("sec-fetch-site", []))
    return bool(foreign) and given.get("sec-fetch-mode") != ["navigate"]


def _sentence(what: str, names: list[str]) -> str:
    place = HostPort.of(names[0]) if len(names) == 1 else None
    if place is None:
        return what
    name = names[0].strip().lower()
    return f"{what}; if it should, start it with `ferflow up --allow-host {name}`, or with {ALLOWED_HOSTS}={name} in its environment"


def _shown(given: list[str]) -> str:
    """The header's value in a form that may be shown."""
    text = "".join(letter for letter in " ".join(given) if letter.isascii() and letter.isprintable())
    return repr(text[:_SHOWN])


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
