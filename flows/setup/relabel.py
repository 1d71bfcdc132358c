"""From the parameters of a relabelling to its options. Does not import Prefect."""

from dataclasses import replace

from fer_core.commit.plan import Plan, read_plan
from fer_core.commit.policy import read_policy
from fer_core.commit.publish import is_committed
from fer_core.errors import UsageError
from fer_core.models.store import portable_name, resolve_model
from fer_core.planning.time_zone import run_zone
from fer_core.relabel.changes import changes_of
from fer_core.relabel.configuration import RelabelOptions
from fer_core.relabel.survey import SOURCE, survey
from fer_core.storage.store import open_store
from flows import label_summary
from flows.relabel_params import RelabelParams
from flows.setup.answering import answering, check_answering
from flows.setup.checks import check_id, check_start
from tasks.artifacts.relabel import RelabelSummary


def relabel_options(params: RelabelParams) -> RelabelOptions:
    """Options of a new run. ModelError when the model is unknown, absent or damaged."""
    assert params.run_id is not None
    model = resolve_model(params.model)
    where, size = portable_name(params.model, model), params.shard_size or 0
    asked, timezone = answering(params, model), run_zone(params.timezone)
    return RelabelOptions(params.run_id, where, model.name, asked, params.purpose, size, params.device, timezone)


def load_resumable_plan(params: RelabelParams) -> Plan:
    """The plan of the relabelling to be resumed, its root where it is now.

    CommitError when it is unknown, UsageError when it was started with another model or is no relabelling.
    """
    assert params.resume is not None
    store = open_store(params.root)
    plan = read_plan(store, params.resume)
    if plan.config.source != SOURCE:
        raise UsageError(f"run {params.resume} labels {plan.config.source}: resume it with `ferflow label`")
    if not is_committed(store, params.resume):
        read_policy(store).check(plan.config.purpose, keep_crops=plan.config.keep_crops)
        model = resolve_model(params.model)
        if model.digest != plan.config.model_digest:
            raise UsageError(f"run {params.resume} was started with model {plan.config.model_name}: resume it with the same options")
        check_answering(params, plan.config)
    return replace(plan, config=replace(plan.config, root=store.url()))


def committed_summary(params: RelabelParams) -> RelabelSummary:
    """The summary of a committed relabelling."""
    run = label_summary.committed_summary(params.root, load_resumable_plan(params).config.run_id)
    return RelabelSummary(run, changes_of(open_store(params.root), run.manifest))


def check_relabel(params: RelabelParams) -> int:
    """Raise the error that a run would end with, where that is known by now. Returns the number of images to relabel."""
    store = open_store(params.root)
    if params.resume is not None:
        images = int(load_resumable_plan(params).images.num_rows)
    else:
        model = resolve_model(params.model)
        check_id(store, params.run_id)
        found = survey(store, answering(params, model))
        read_policy(store).check(params.purpose or found.shared_pipeline().purpose, keep_crops=False)
        images = int(found.images.num_rows)
    check_start(store, params)
    return images
