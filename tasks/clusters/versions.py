"""Check that a remote scheduler and its workers run the same versions as this process."""

import warnings
from collections.abc import Mapping
from typing import Any, Final, cast

from distributed import Client
from distributed.versions import VersionMismatchWarning

from fer_core.errors import ClusterError
from tasks.execution.worker_entrypoint import release

OF_DASK: Final = ("Python", "dask", "distributed")
"""Versions that Dask reports without ferflow on the other side."""


def check_agreement(client: Client, where: str, ours: Mapping[str, str | None] | None = None) -> None:
    """ClusterError, in one line that names both sides, unless all versions equal those of this process. where: `tcp://host:8786`, for it.

    ours: instead of those of this process. Dask's own report is checked first: a worker without ferflow can report nothing else.
    """
    told = cast("dict[str, Any]", client.get_versions())
    ours = ours or release()
    of_dask = {name: ours[name] for name in OF_DASK}
    _compare(f"the scheduler at {where}", _facts(told["scheduler"]), of_dask)
    for worker, facts in sorted(told["workers"].items()):
        _compare(f"worker {worker}", _facts(facts), of_dask)
    try:
        found = client.run(release)
    except Exception as error:  # unpickling may raise any error on a worker with another installation
        raise ClusterError(f"the workers at {where} cannot run ferflow: {' '.join(str(error).split())[:200]}") from error
    for worker, theirs in sorted(found.items()):
        _compare(f"worker {worker}", theirs, ours)


def silence_version_warning() -> None:
    """Suppress Dask's warning about versions: `check_agreement` raises an error instead."""
    warnings.filterwarnings("ignore", category=VersionMismatchWarning)


def _facts(told: dict[str, Any] | None) -> dict[str, str | None]:
    """Dask's report, with the names that `release` uses."""
    packages = (told or {}).get("packages", {})
    python = ".".join(str(packages.get("python")).split(".")[:2])
    return {"Python": python, "dask": packages.get("dask"), "distributed": packages.get("distributed")}


def _compare(who: str, theirs: Mapping[str, str | None], ours: Mapping[str, str | None]) -> None:
    for name, version in ours.items():
        if theirs.get(name, "another release") != version:
            found = f"{name} {_said(theirs.get(name, 'of another release'))}"
            raise ClusterError(f"{who} runs {found}, this command {name} {_said(version)}: install the same release on both")


def _said(version: str | None) -> str:
    return version or "without a version"
