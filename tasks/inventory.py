"""Task `inventory`: what there is."""

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE

from fer_core.collection import list_images


@task(name="inventory", cache_policy=NO_CACHE, persist_result=False)
def list_inventory(source: str) -> pa.Table:
    """`schema.INVENTORY` of the source. SourceError when there is nothing."""
    return list_images(source)
