"""A deployment run once, as a Prefect worker does it: `python deployed.py` with the answers of `json.loads(sys.stdin.read())`.

Credentials lie in Secret blocks, which the work pool of `deployments/s3-work-pool.json` names. Given: `blocks` (name of a block to its
value), `variables` (environment of the run), `params` (of the flow). Answers with the run's final state.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from flows.server.prefect_api import prefect_api

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> None:
    given = json.loads(sys.stdin.read())
    with prefect_api() as api, api.ready():
        sys.stdout.write(asyncio.run(run(given)) + "\n")


async def run(given: dict[str, Any]) -> str:
    from prefect.blocks.system import Secret
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    from flows.label import label_collection

    for name, value in given["blocks"].items():
        await Secret(value=value).save(name)
    async with get_client() as client:
        template = json.loads((REPOSITORY / "deployments" / "s3-work-pool.json").read_text())
        await client.create_work_pool(WorkPoolCreate(name="ferflow", type="process", base_job_template=template))
        deployment = await client.create_deployment(
            await client.create_flow(label_collection),
            "nightly",
            work_pool_name="ferflow",
            entrypoint="flows/label.py:label_collection",
            path=str(REPOSITORY),
            parameters={"params": given["params"]},
            job_variables={"env": given["variables"]},
        )
        asked = await client.create_flow_run_from_deployment(deployment)
        await ProcessWorker(work_pool_name="ferflow", name="worker").start(run_once=True)
        ended = await client.read_flow_run(asked.id)
        while ended.state is None or not ended.state.is_final():  # the parent process sets a time limit
            await asyncio.sleep(0.5)
            ended = await client.read_flow_run(asked.id)
        return f"{ended.state.type.value}: {ended.state.message or ''}"


if __name__ == "__main__":
    main()
