"""Flow `relabel`: kept crops in, labels of another model out."""

from prefect import flow

from fer_core.commit.lease import lease
from fer_core.commit.publish import is_committed
from fer_core.erasure.forget import finish_forgetting
from fer_core.storage.store import open_store
from flows.relabel_params import RelabelParams
from flows.setup.flow_run import named_run, run_name
from flows.setup.relabel import committed_summary, load_resumable_plan, relabel_options
from tasks.artifacts.relabel import RelabelSummary
from tasks.commit import commit_run
from tasks.relabel import plan_relabel, relabel_shards, report_relabel


@flow(  # a retry writes down what failed
    name="relabel", flow_run_name=run_name("relabel"), persist_result=False, result_serializer="json"
)
def relabel(params: RelabelParams) -> RelabelSummary:
    """Label kept faces with another model: plan, label crops on Dask, commit, tell what changed. No photograph is read.

    As with `label-collection`, nothing is visible before the commit, and an interrupted run is finished by resuming it.
    """
    params = named_run(params, params.root)
    store, cluster = open_store(params.root), params.workers_wanted
    if params.resume is not None and is_committed(store, params.resume):
        return committed_summary(params)
    with lease(store, f"run {params.resume or params.run_id}") as held:
        finish_forgetting(store, held.check)
        plan = (
            plan_relabel(params.root, relabel_options(params), cluster.max_concurrency(), held)
            if params.resume is None
            else load_resumable_plan(params)
        )
        labelled = relabel_shards(plan, cluster)
        manifest = commit_run(plan.config, labelled, held)
    return report_relabel(manifest, labelled)
