"""Where servers find the flows that they keep: an upgrade of the package alone must not break what was deployed before."""

import pytest
from prefect.flows import load_flow_from_entrypoint

STORED = {
    "flows.label.label_collection": "label-collection",
    "flows.relabel.relabel": "relabel",
    "flows.forget.forget": "forget",
    "flows.retrain.retrain": "retrain",
    "flows.report.report": "report",
    "flows.housekeeping.housekeeping": "housekeeping",
    "flows.night_check.night_check": "night-check",
    "flows.freshness_check.night_check": "night-check",
}


@pytest.mark.parametrize("entrypoint", STORED)
def test_entrypoints_of_every_release_are_found(entrypoint):
    assert load_flow_from_entrypoint(entrypoint).name == STORED[entrypoint]
