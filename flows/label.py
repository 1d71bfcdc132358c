"""Flow `label-collection`: photographs in, Parquet out."""

from prefect import flow

from fer_core.commit.lease import lease
from fer_core.commit.policy import read_policy
from fer_core.commit.publish import is_committed
from fer_core.erasure.forget import finish_forgetting
from fer_core.storage.file_mode import BY_NAME
from fer_core.storage.store import open_store
from flows.label_params import LabelParams
from flows.label_summary import committed_summary, max_failed_sentence
from flows.setup.flow_run import named_run, run_name
from flows.setup.known_source import under_known_source
from flows.setup.label import configure, load_resumable_plan
from tasks.artifacts.label import Summary
from tasks.commit import commit_run
from tasks.inventory import list_inventory
from tasks.label import label_shards
from tasks.plan import plan_run
from tasks.quarantine import QuarantineError, notify_quarantine
from tasks.report import report_run


@flow(  # a retry writes down what failed
    name="label-collection", flow_run_name=run_name("label"), persist_result=False, result_serializer="json"
)
def label_collection(params: LabelParams) -> Summary:
    """Label the faces of a photo collection: inventory, plan, label shards on Dask, commit, report.

    Nothing of a run is visible before its commit; an interrupted one is finished by resuming it, as a retry of the flow run does. One run
    at a time writes to a root.
    """
    params = under_known_source(named_run(params, params.to))
    store, cluster = open_store(params.to), params.workers_wanted
    if params.resume is None:
        read_policy(store).check(params.purpose, keep_crops=params.keep_crops)
    if params.resume is not None and is_committed(store, params.resume):
        load_resumable_plan(params)
        return enforce_quarantine_limit(committed_summary(params.to, params.resume), params)
    store.settle(BY_NAME.get(params.file_mode or ""))
    with lease(store, f"run {params.resume or params.run_id}") as held:
        finish_forgetting(store, held.check)
        if params.resume is None:
            # the inventory, 150 MB of temporary file a million images, is given no name here, so that it goes when it is planned
            plan = plan_run(
                inventory=list_inventory(params.source, params.source_options),
                config=configure(params),
                workers=cluster.planning_concurrency(),
                force=params.force,
                held=held,
            )
        else:
            plan = load_resumable_plan(params)
        labelled = label_shards(plan, cluster, params.image_timeout)
        manifest = commit_run(plan.config, labelled, held)
    return enforce_quarantine_limit(report_run(manifest, labelled), params)


def enforce_quarantine_limit(summary: Summary, params: LabelParams) -> Summary:
    """Tell of too many quarantined images. QuarantineError when they are more than a run may lose; it is committed all the same."""
    notify_quarantine(summary, params.quarantine_bound)
    sentence = max_failed_sentence(summary, params.max_failed)
    if sentence is not None:
        raise QuarantineError(sentence, summary)
    return summary
