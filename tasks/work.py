"""What Dask workers run. Text in, text out: neither pixels nor weights nor pickled errors pass through the scheduler."""

import json
import sys
from importlib.metadata import PackageNotFoundError, version

from fer_core.errors import FerflowError
from fer_core.run import ShardJob


def label_job(text: str) -> str:
    """Label one shard. text: `ShardJob` as JSON. Returns JSON: `{"receipt": ...}`, or `{"error": class, "message": sentence}`."""
    from fer_core.shard import label_shard  # noqa: PLC0415  (the process that submits imports this module too and needs none of it)

    try:
        return json.dumps({"receipt": label_shard(ShardJob.from_json(json.loads(text))).to_json()})
    except FerflowError as error:
        return json.dumps({"error": type(error).__name__, "message": str(error)})


def warm_up() -> None:
    """Load the libraries a first shard would wait for."""
    from fer_core.tools import prepare_process  # noqa: PLC0415

    prepare_process()


def release() -> dict[str, str | None]:
    """What has to agree between the one who submits and the one who works: ferflow's version (None when not installed) and Python's."""
    try:
        ferflow = version("ferflow")
    except PackageNotFoundError:
        ferflow = None
    return {"ferflow": ferflow, "python": f"{sys.version_info.major}.{sys.version_info.minor}"}
