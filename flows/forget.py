"""Flow `forget`: removes an image or a face from a labels root, and denies it to later runs."""

from pathlib import Path
from typing import Annotated, Self

from prefect import flow
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fer_core.commit.lease import lease
from fer_core.erasure.audit import AuditRecord
from fer_core.erasure.request import request_of
from fer_core.errors import StoreError, UsageError
from fer_core.storage.paths import META
from fer_core.storage.store import open_store
from flows.form_fields import Address
from tasks.forget import find_places, list_outputs, remove, remove_outputs, report_forget

Digest = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]


class ForgetParams(BaseModel):
    """The labels root, and one of four ways to name what is to be forgotten. A deployment stores the root alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # a refused address may hold a secret

    root: Address = Field(min_length=1, title="Labels root", description="Folder or s3:// prefix of the tables.")
    list_file: str | None = Field(
        None,
        title="List",
        description="Text file on the server, with the address or digest of an image a line. Prefect stores what is entered in this form "
        "with the run, until the run is deleted; a file keeps names out of it.",
    )
    image: Address | None = Field(None, title="Image", description="Address of an image, as the tables have it.")
    sha256: Digest | None = Field(None, title="Digest", description="SHA-256 of an image's bytes.")
    face: Digest | None = Field(None, title="Face", description="face_id of one face, as the tables have it; others of the image stay.")
    reason: str = Field("", max_length=500, title="Reason", description="Kept in the audit record. Name no person here.")
    everywhere: bool = Field(
        False,
        title="Outputs too",
        description="Also remove what galleries, review pages, exports and face sets hold of forgotten images, where this server reaches "
        "them; with Count only they are listed.",
    )
    dry_run: bool = Field(True, title="Count only", description="Count what would be removed, and change nothing.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(bool(given) for given in (self.list_file, self.image, self.sha256, self.face)) > 1:
            raise ValueError("give one of list, image, digest and face")
        return self


@flow(name="forget", persist_result=False, result_serializer="json")  # a retry writes down what failed
def forget(params: ForgetParams) -> AuditRecord | None:
    """Remove every row and crop that names it, or count them. LeaseError at once while a run is active."""
    store = open_store(params.root)
    if not store.list_files(META):
        raise StoreError(f"there is no run in {store.url()}")
    request = request_of(params.image, params.sha256, params.face, Path(params.list_file).expanduser() if params.list_file else None)
    if not any(request.asked.values()) and not params.everywhere:
        raise UsageError("nothing is named: give a list, image, digest or face")
    if params.dry_run:
        counted = find_places(params.root, request)
        return report_forget(counted, list_outputs(params.root, request) if params.everywhere else [], dry_run=True)
    with lease(store, "forgetting images") as held:
        record = remove(params.root, request, params.reason, held)
        outputs = remove_outputs(params.root, params.reason, held) if params.everywhere else []
    return report_forget(record, outputs, dry_run=False)
