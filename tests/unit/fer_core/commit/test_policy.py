"""Runs that the policy of a root does not allow are refused in one line, before their plan is written and when they are resumed."""

from dataclasses import replace

import pytest

from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.policy import FILE, Policy, read_policy, write_policy
from fer_core.errors import CommitError, UsageError
from fer_core.storage.paths import plan_file
from fer_core.storage.store import open_store
from flows.label import label_collection
from flows.label_params import LabelParams
from flows.relabel_params import RelabelParams
from flows.setup.checks import check_label
from flows.setup.label import load_resumable_plan
from flows.setup.relabel import check_relabel
from tests.support import fakes

REFUSED = {
    "requires a purpose": (Policy(require_purpose=True), {"purpose": " "}),
    r"does not allow the purpose 'tests'; it allows 'archive', 'study 12'": (Policy(allowed_purposes=("archive", "study 12")), {}),
    "does not allow keeping crops": (Policy(crops="never"), {"keep_crops": True}),
}
ALLOWED = [
    (Policy(), {"purpose": "", "keep_crops": True}),
    (Policy(True, "never", ("archive",)), {"purpose": " archive ", "keep_crops": False}),
    (Policy(keep_crops_days=1, keep_labels_days=36_500), {"keep_crops": True}),
]


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "root"))


def plan(store, **changes):
    return write_plan(store, Plan(replace(fakes.config(store.url()), **changes), fakes.plan_table([], 1), listed=0, unchanged=0, deleted=0))


@pytest.mark.parametrize("said", REFUSED)
def test_a_run_that_does_not_fit_has_no_plan(store, said):
    policy, changes = REFUSED[said]
    write_policy(store, policy)
    assert read_policy(store) == policy
    with pytest.raises(UsageError, match=said):
        plan(store, **changes)
    assert not store.exists(plan_file("run-a"))


@pytest.mark.parametrize(("policy", "changes"), ALLOWED)
def test_a_run_that_fits_has_one(store, policy, changes):
    write_policy(store, policy)
    assert read_policy(store) == policy
    plan(store, **changes)
    assert store.exists(plan_file("run-a"))


def test_it_holds_for_options_forms_and_resumed_runs(store, tmp_path):
    """A form has no other check than a resumed run and the plan; the command also asks before it starts anything."""
    fakes.write_pictures(tmp_path / "photos", [1])
    plan(store, source=str(tmp_path / "photos"), keep_crops=True)
    write_policy(store, Policy(crops="never"))
    given = {"source": str(tmp_path / "photos"), "to": store.url()}
    for refused in (
        lambda: check_label(LabelParams(**given, keep_crops=True)),
        lambda: load_resumable_plan(LabelParams(**given, resume="run-a")),
    ):
        with pytest.raises(UsageError, match="does not allow keeping crops"):
            refused()


def test_a_form_is_refused_before_anything_is_listed(store, tmp_path):
    """The source is absent: listing it would be another error."""
    write_policy(store, Policy(require_purpose=True))
    with pytest.raises(UsageError, match="requires a purpose"):
        label_collection.fn(LabelParams(source=str(tmp_path / "absent"), to=store.url()))
    assert (store.list_files(), (tmp_path / "absent").exists()) == ([FILE], False)


def test_a_relabelling_is_refused_before_anything_starts(store, tmp_path):
    """With its own purpose, and with that of the run whose crops it labels."""
    fakes.write_pictures(tmp_path / "photos", [1])
    fakes.label(fakes.keeping_crops(fakes.config(store.url())), fakes.refs(tmp_path / "photos"))
    write_policy(store, Policy(allowed_purposes=("archive",)))
    for purpose in ("", "marketing"):
        with pytest.raises(UsageError, match="does not allow the purpose"):
            check_relabel(RelabelParams(root=store.url(), model="tiny", purpose=purpose))
    assert check_relabel(RelabelParams(root=store.url(), model="tiny", purpose="archive", workers=1)) == 1


@pytest.mark.parametrize(
    "damaged",
    [
        b"{",
        b"[]",
        b'{"version": 2}',
        b'{"version": 1, "crops": "x", "require_purpose": false, "allowed_purposes": []}',
        Policy(keep_labels_days=30).to_bytes().replace(b"30", b"0"),
        Policy(keep_crops_days=30).to_bytes().replace(b"30", b'"30"'),
    ],
)
def test_a_damaged_or_later_policy_allows_nothing(store, damaged):
    store.write_bytes(FILE, damaged)
    with pytest.raises(CommitError, match="the policy cannot be read"):
        plan(store)
    later = Policy().to_bytes().replace(b'"crops"', b'"keep_names_days": 30, "crops"')
    store.write_bytes(FILE, later)
    with pytest.raises(CommitError, match="that of a later release"):
        read_policy(store)


def test_ages_that_are_not_set_are_not_written():
    """Releases without ages read the other rules."""
    assert b"days" not in Policy(crops="never").to_bytes()
    with pytest.raises(ValueError, match=r"an age is between 1 and 36,500 days, not 0"):
        Policy(keep_labels_days=0)
