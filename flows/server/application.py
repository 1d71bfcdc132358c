"""Prefect's application for `uvicorn --factory flows.server.application:create_app`: behind the guard, without calls to other hosts.

Its newer pages request the configuration of a tracking service even where analytics are switched off. A content security policy makes the
browser refuse this and similar requests of later releases. And the server downloads its list of kinds of work pools from the web when
a user makes one; without that it reads the installed copy.
"""

import os
from typing import Final

from flows.server.garbage_collection import deferred_collection
from flows.server.guard import DEFAULTS, Application, Message, Receive, Send, guarded, rule_from_environment
from flows.server.login import with_login

POLICY: Final = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; form-action 'self'; frame-ancestors 'none'; base-uri 'self'"
"""Scripts, pictures, fonts and connections from the server itself or from inside the page; no other page may frame it."""

NOWHERE: Final = "nowhere:"
"""A scheme that no client supports: refused before any name is resolved."""


def create_app() -> Application:
    """The application for uvicorn. ValueError for an invalid name in the environment."""
    rule = rule_from_environment()
    for name, value in DEFAULTS.items():  # Prefect reads them when it is imported
        os.environ.setdefault(name, value)
    with deferred_collection():
        from prefect.server.api import collections
        from prefect.server.api.server import create_app as prefect_app

        import flows.server.webhook  # noqa: F401  (a block that the server itself sends notifications with)

    collections.KNOWN_VIEWS.update(dict.fromkeys(collections.KNOWN_VIEWS, NOWHERE))
    return guarded(with_content_policy(with_login(prefect_app())), rule)


def with_content_policy(application: Application) -> Application:
    """The same application with the policy on every answer."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"content-security-policy", POLICY.encode())]}
            await send(message)

        await application(scope, receive, with_policy)

    return answer
