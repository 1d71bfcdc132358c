"""Set-up for the services of compose.yaml: buckets, a first champion, the work pool and its deployments.

    docker compose run --rm setup

Runs in the image, with the environment of compose.yaml, and may be repeated: it applies changes of prefect.yaml, and enables the schedules
of deployments that it has filled in.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml

POOL: Final = "ferflow"
QUEUE: Final = "writers"
AUTOMATIONS: Final = ("zombie-runs.yaml", "retry-crashed.yaml")
"""For runs whose worker died. Notifications need a block first: docs/guides/notifications.md."""


def main() -> int:
    """One step after the other; the first that fails ends it."""
    file = Path(sys.argv[1])
    given = {name: os.environ[f"FERFLOW_{name}"] for name in ("SOURCE", "LABELS", "MODELS", "CLUSTER", "PURPOSE", "TIMEZONE")}
    for url in (given["SOURCE"], given["LABELS"]):
        make_bucket(url)
    seed(given["MODELS"], given["TIMEZONE"])
    pools, queues, automations = asyncio.run(there())
    if POOL not in pools:  # the worker makes it, too, once it starts
        prefect("work-pool", "create", POOL, "--type", "process")
    if QUEUE not in queues:
        prefect("work-queue", "create", QUEUE, "--pool", POOL, "--limit", "1", "--priority", "1")
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder) / "prefect.yaml"
        ours.write_text(yaml.safe_dump(filled(yaml.safe_load(file.read_text("utf-8")), given)), "utf-8")
        prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(ours))
    for name in AUTOMATIONS:
        automation = file.parent / "automations" / name
        if yaml.safe_load(automation.read_text("utf-8"))["name"] not in automations:
            prefect("automation", "create", "--from-file", str(automation))
    return 0


def filled(project: dict[str, Any], given: dict[str, str]) -> dict[str, Any]:
    """prefect.yaml with its example paths replaced by those of this installation, its schedules enabled."""
    places = {
        "source": given["SOURCE"],
        "to": given["LABELS"],
        "root": given["LABELS"],
        "reviewed": given["LABELS"],
        "model": given["MODELS"],
        "models": given["MODELS"],
        "purpose": given["PURPOSE"],
    }
    for deployment in project["deployments"]:
        params = deployment["parameters"]["params"]
        params.update({name: value for name, value in places.items() if name in params})
        if deployment["entrypoint"] == "flows.label.label_collection":
            params.update(cluster=given["CLUSTER"], model=given["MODELS"], timezone=given["TIMEZONE"])
        elif deployment["entrypoint"] == "flows.relabel.relabel":
            params.update(cluster=given["CLUSTER"], timezone=given["TIMEZONE"])
        elif deployment["entrypoint"] == "flows.report.report":
            params.update(to=f"{given['LABELS'].rstrip('/')}-report.html")
        for schedule in deployment.get("schedules", []):
            schedule.update(timezone=given["TIMEZONE"], active=True)
    return project


def make_bucket(url: str) -> None:
    """Unless it is there. Nothing is done for a folder."""
    if not url.startswith("s3://"):
        return
    import s3fs

    bucket = url.removeprefix("s3://").partition("/")[0]
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    if not fs.exists(bucket):
        fs.call_s3("create_bucket", Bucket=bucket)


def seed(models: str, timezone: str) -> None:
    """The shipped model as the first champion of an empty folder."""
    from flows.server.up_setup import validated_options

    validated_options(None, None, models, timezone)


async def there() -> tuple[set[str], set[str], set[str]]:
    """Names of work pools, of the pool's queues, of automations."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        pools = {pool.name for pool in await client.read_work_pools()}
        queues = {queue.name for queue in await client.read_work_queues(work_pool_name=POOL)} if POOL in pools else set()
        return pools, queues, {automation.name for automation in await client.read_automations()}


def prefect(*words: str) -> None:
    """One of Prefect's commands. CalledProcessError when it fails; it has said why."""
    subprocess.run([sys.executable, "-P", "-m", "prefect", *words], check=True)


if __name__ == "__main__":
    sys.exit(main())
