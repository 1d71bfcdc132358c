"""Flow `housekeeping`: finishes interrupted commits, removes old staging and what is past its age, verifies a labels root."""

from dataclasses import replace

from prefect import flow
from pydantic import BaseModel, ConfigDict, Field

from fer_core.commit.lease import lease
from fer_core.errors import StoreError
from fer_core.storage.paths import RUNS
from fer_core.storage.store import open_store
from flows.form_fields import Address
from tasks.housekeeping import Housekeeping, collect, conclude, verify_root


class HousekeepingParams(BaseModel):
    """The labels root and the steps."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # a refused address may hold a secret

    root: Address = Field(min_length=1, title="Labels root", description="Folder or s3:// prefix of the tables.")
    verify: bool = Field(True, title="Verify", description="Read every committed part; the run fails on any missing or damaged part.")
    keep_days: int = Field(
        14, ge=1, le=3650, title="Keep staging, days", description="How long an interrupted run can be resumed without doing work again."
    )


@flow(name="housekeeping", persist_result=False, result_serializer="json")  # a retry writes down what failed
def housekeeping(params: HousekeepingParams) -> Housekeeping:
    """Finish interrupted commits, remove old staging and what is past its age, verify. LeaseError at once while another run is active."""
    store = open_store(params.root)
    if not store.list_files(RUNS):
        raise StoreError(f"there is no run in {store.url()}")
    with lease(store, "housekeeping") as held:
        done = collect(params.root, params.keep_days, held)
    return conclude(replace(done, report=verify_root(params.root)) if params.verify else done)
