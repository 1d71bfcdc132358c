"""What Dask workers run when a root is relabelled. Text in, text out, as in `worker_entrypoint`."""

import json

from fer_core.errors import FerflowError
from fer_core.run.shard_job import ShardJob
from tasks.execution.image_timeout import heartbeat


def relabel_job(text: str) -> str:
    """Relabel one shard. text: `ShardJob` as JSON. Returns JSON as `worker_entrypoint.label_job` does."""
    from fer_core.relabel.shard import relabel_shard

    try:
        return json.dumps({"receipt": relabel_shard(ShardJob.from_json(json.loads(text)), on_progress=heartbeat).to_json()})
    except FerflowError as error:
        return json.dumps({"error": type(error).__name__, "message": str(error)})
