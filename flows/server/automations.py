"""Puts automations in place so that a restart neither doubles them nor undoes what people have done to them."""

from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.actions import RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore


async def upsert_automation(client: PrefectClient, made: AutomationCore) -> None:
    """Make it unless one of that name is there. That one is replaced when it goes elsewhere (another block, another deployment), and stays
    switched off if it was; otherwise it is left alone, with whatever was changed in the pages.
    """
    found = await client.read_automations_by_name(made.name)
    if not found:
        await client.create_automation(made)
    elif not _aims(made) <= _aims(found[0]):
        whole = {**made.model_dump(mode="json"), "enabled": found[0].enabled}
        await client.update_automation(found[0].id, AutomationCore.model_validate(whole))  # only what is set is sent


def _aims(automation: AutomationCore) -> set[UUID | None]:
    """What its actions go to."""
    actions = automation.actions
    blocks = {action.block_document_id for action in actions if isinstance(action, SendNotification)}
    return blocks | {action.deployment_id for action in actions if isinstance(action, RunDeployment)}
