"""The notification block that `ferflow up --notify URL` keeps the address in."""

import asyncio
from typing import Any, Final
from uuid import UUID

import httpx
from prefect.blocks.abstract import NotificationError
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.types import SecretDict

NAME: Final = "ferflow"

WAITS: Final = (2.0, 8.0)
"""Seconds between tries: what listens may be starting anew."""


class FerflowWebhook(CustomWebhookNotificationBlock):
    """Posts `{"text": ...}` as JSON, which Slack, Mattermost, Rocket.Chat and Google Chat take as it is. The address is a secret: it stands
    in no log, also when nothing listens there.
    """

    _block_type_name = "ferflow webhook"
    _block_type_slug = "ferflow-webhook"

    async def notify(self, body: str, subject: str | None = None) -> None:
        """NotificationError, which names no address, when nothing takes it after three tries."""
        for wait in (*WAITS, None):
            try:
                await self.anotify(body, subject)
            except httpx.HTTPError as error:
                if wait is None:
                    raise NotificationError(f"the webhook did not take it: {_without_address(error)}") from None
                await asyncio.sleep(wait)
            else:
                return


def webhook(url: str) -> FerflowWebhook:
    """A block for that address."""
    text = {"text": "{{subject}}\n\n{{body}}"}
    secret = SecretDict({"address": url})
    return FerflowWebhook(name=NAME, url="{{address}}", json_data=text, headers=None, cookies=None, secrets=secret)


async def keep(url: str) -> UUID:
    """Put the address in the block `ferflow-webhook/ferflow`, in place of an earlier one. The block's id, which stays the same."""
    saved: Any = await webhook(url).save(NAME, overwrite=True)
    return UUID(str(saved))


def _without_address(error: httpx.HTTPError) -> str:
    """What went wrong; httpx's own words name the address."""
    return f"status {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else type(error).__name__
