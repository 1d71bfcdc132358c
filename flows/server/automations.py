"""Installs automations. A restart neither duplicates them nor reverts changes that people made."""

from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.actions import RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore


async def upsert_automation(client: PrefectClient, made: AutomationCore) -> None:
    """Create it unless one of that name exists. An existing one is replaced when its target differs (another block, another deployment),
    and stays disabled if it was; otherwise it is kept with its changes.
    """
    found = await client.read_automations_by_name(made.name)
    if not found:
        await client.create_automation(made)
    elif not _aims(made) <= _aims(found[0]):
        whole = {**made.model_dump(mode="json"), "enabled": found[0].enabled}
        await client.update_automation(found[0].id, AutomationCore.model_validate(whole))  # only fields that are set are sent


def _aims(automation: AutomationCore) -> set[UUID | None]:
    """Targets of its actions."""
    actions = automation.actions
    blocks = {action.block_document_id for action in actions if isinstance(action, SendNotification)}
    return blocks | {action.deployment_id for action in actions if isinstance(action, RunDeployment)}
