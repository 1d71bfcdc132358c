"""The notification block of `ferflow up --notify`, and the file in Prefect's home that keeps its address.

Prefect's API returns a block's secrets to every client that requests `include_secrets`, and its database holds them beside their key. So
the block holds no address: the server, which posts, reads it from a file that is accessible to its owner alone.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import httpx
from prefect.blocks.abstract import NotificationError
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.types import SecretDict

from fer_core.storage.local import replace_file
from flows.server.prefect_process import prefect_home

NAME: Final = "ferflow"

WAITS: Final = (2.0, 8.0)
"""Seconds between attempts: the receiver may be restarting."""

FILE: Final = "ferflow-webhook"
ELSEWHERE: Final = "in the file ferflow-webhook of Prefect's home"
"""A block's value in place of the address: Prefect requires a value for each name in a template."""


class FerflowWebhook(CustomWebhookNotificationBlock):
    """Posts `{"text": ...}` as JSON, which Slack, Mattermost, Rocket.Chat and Google Chat accept. The address is a secret: it is in no log,
    also when no receiver answers, and not in the block.
    """

    _block_type_name = "ferflow webhook"
    _block_type_slug = "ferflow-webhook"

    async def notify(self, body: str, subject: str | None = None, waits: Sequence[float] = WAITS) -> None:
        """NotificationError, which names no address, when all attempts fail or the address is not stored here."""
        try:
            address = (prefect_home() / FILE).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise NotificationError(f"the webhook's address cannot be read ({error.strerror}): give --notify again") from None
        addressed = self.model_copy(update={"secrets": SecretDict({"address": address})})
        for wait in (*waits, None):
            try:
                await addressed.anotify(body, subject)
            except httpx.HTTPError as error:
                if wait is None:
                    raise NotificationError(f"the webhook did not accept the notification: {_without_address(error)}") from None
                await asyncio.sleep(wait)
            else:
                return


def webhook() -> FerflowWebhook:
    """The block, which is the same for each address."""
    text = {"text": "{{subject}}\n\n{{body}}"}
    return FerflowWebhook(
        name=NAME, url="{{address}}", json_data=text, headers=None, cookies=None, secrets=SecretDict({"address": ELSEWHERE})
    )


async def save_webhook(url: str) -> UUID:
    """Store the address for the block `ferflow-webhook/ferflow`, replacing an earlier one. Returns the block's id, which stays the same."""
    replace_file(str(prefect_home() / FILE), url.encode())
    saved: Any = await webhook().save(NAME, overwrite=True)
    return UUID(str(saved))


async def migrate_webhook_block() -> None:
    """Remove the address from a block of an earlier release."""
    async with get_client() as client:
        try:
            found = await client.read_block_document_by_name(NAME, "ferflow-webhook")
        except ObjectNotFound:
            return
    address = (found.data.get("secrets") or {}).get("address")
    if address and address != ELSEWHERE:
        await save_webhook(str(address))


def _without_address(error: httpx.HTTPError) -> str:
    """The error's text without the address, which httpx's own text contains."""
    return f"status {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else type(error).__name__
