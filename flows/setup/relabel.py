"""From the parameters of a relabelling to its options. Does not import Prefect."""

import time
from dataclasses import replace

from pydantic import ValidationError

from fer_core.commit.lease import refuse_concurrent_writer
from fer_core.commit.publish import Plan, is_committed, read_manifest, read_plan
from fer_core.errors import CommitError, UsageError
from fer_core.models.store import resolve_model, shipped_names
from fer_core.relabel.changes import changes_of
from fer_core.relabel.configuration import RelabelOptions
from fer_core.relabel.survey import SOURCE, survey
from fer_core.storage.paths import manifest_file, plan_file
from fer_core.storage.store import open_store
from flows.relabel_params import RelabelParams
from flows.setup.checks import refusal
from tasks.artifacts.label import Summary
from tasks.artifacts.relabel import RelabelSummary
from tasks.clusters.preflight import check_cluster
from tasks.clusters.sizing import with_workers


def relabel_params(values: dict[str, object]) -> RelabelParams:
    """UsageError in one line for invalid parameters."""
    try:
        return RelabelParams.model_validate(values)
    except ValidationError as error:
        raise UsageError(refusal(error).replace("--root", "ROOT")) from error


def relabel_options(params: RelabelParams) -> RelabelOptions:
    """Options of a new run. ModelError when the model is unknown, absent or damaged."""
    assert params.run_id is not None
    model = resolve_model(params.model)
    # a shipped model is found by its name on every machine, a folder by its path
    where = params.model if params.model in shipped_names() else str(model.path)
    return RelabelOptions(params.run_id, where, model.name, model.digest, params.purpose, params.shard_size or 0, params.device)


def load_resumable_plan(params: RelabelParams) -> Plan:
    """The plan of the relabelling to be resumed, its root where it is now.

    CommitError when it is unknown, UsageError when it was started with another model or is no relabelling.
    """
    assert params.resume is not None
    store = open_store(params.root)
    plan = read_plan(store, params.resume)
    if plan.config.source != SOURCE:
        raise UsageError(f"run {params.resume} labels {plan.config.source}: resume it with `ferflow label`")
    if not is_committed(store, params.resume) and resolve_model(params.model).digest != plan.config.model_digest:
        raise UsageError(f"run {params.resume} was begun with model {plan.config.model_name}: resume it with the same options")
    return replace(plan, config=replace(plan.config, root=store.url()))


def committed_summary(params: RelabelParams) -> RelabelSummary:
    """The summary of a committed relabelling."""
    store, plan = open_store(params.root), load_resumable_plan(params)
    manifest = read_manifest(store, plan.config.run_id)
    now = time.time()
    run = Summary(manifest, store.url(manifest_file(manifest.run_id)), sum(manifest.statuses.values()), now, now)
    return RelabelSummary(run, changes_of(store, manifest))


def check_relabel(params: RelabelParams) -> int:
    """Raise the error that a run would end with, where that is known by now. Returns the number of images to relabel."""
    store = open_store(params.root)
    if params.resume is not None:
        images = int(load_resumable_plan(params).images.num_rows)
    else:
        model = resolve_model(params.model)
        if params.run_id is not None and store.exists(plan_file(params.run_id)):
            done = "is committed already" if is_committed(store, params.run_id) else "was begun already: resume it"
            raise CommitError(f"run {params.run_id} {done}, or choose another id")
        images = int(survey(store, model.digest).images.num_rows)
    store.check_writable()
    if params.resume is None or not is_committed(store, params.resume):
        refuse_concurrent_writer(store)
    check_cluster(with_workers(params.cluster, params.workers))
    return images
