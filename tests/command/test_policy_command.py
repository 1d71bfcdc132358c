"""`ferflow policy` shows and sets the rules of a root, and the command refuses what they do not allow."""

import json

from fer_core.commit.expired_list import read_expired_list
from fer_core.commit.lease import lease
from fer_core.erasure.retention import remove_aged
from fer_core.storage.store import open_store
from tests.support import fakes
from tests.support.remembered import remember


def test_rules_are_set_one_by_one_and_hold(call, tmp_path):
    root, photos = tmp_path / "root", fakes.write_pictures(tmp_path / "photos", [1])
    assert call("policy", root).err == f"ferflow: there is no run in {root}\n"
    assert not root.exists()
    first = {"root": str(root), "require_purpose": True, "crops": "never", "allowed_purposes": []}
    first |= {"keep_crops_days": None, "keep_labels_days": None}
    assert json.loads(call("policy", root, "--require-purpose", "--crops", "never", "--json").out) == first
    refused = call("label", photos, "--to", root, "--detector", "builtin")
    assert (refused.code, refused.err) == (
        2,
        "ferflow: the policy of this root requires a purpose: give --purpose, or fill in Purpose\n",
    )
    both = call("policy", root, "--no-require-purpose", "--allowed-purpose", "archive", "--allowed-purpose", "archive", "--json")
    assert json.loads(both.out) == {**first, "require_purpose": False, "allowed_purposes": ["archive"]}
    assert (
        call("policy", root).out
        == "purpose   not required; allowed: 'archive'\ncrops     never\nkept      crops until forgotten, labels until forgotten\n"
    )
    assert json.loads(call("policy", root, "--any-purpose", "--crops", "allowed", "--json").out)["allowed_purposes"] == []
    assert call("policy", root, "--allowed-purpose", " ").code == 2
    with lease(open_store(str(root)), "run other"):
        assert "another process is writing" in call("policy", root, "--crops", "never").err
        assert call("policy", root).code == 0


def test_ages_are_set_shown_shortened_and_turned_off(call, tmp_path):
    root = remember(str(tmp_path / "root"), tmp_path / "photos")
    url = root.store.url()
    for wrong in ("0", "-1", "1.5", "36501", "never", "²"):
        assert (call("policy", url, "--keep-labels-days", wrong).code, root.store.exists("_meta/policy.json")) == (2, False)
    assert call("policy", url, "--keep-labels-days", "9").code == 0
    said = call("policy", url, "--keep-crops-days", "3").out
    assert said == "purpose   not required; allowed: any\ncrops     allowed\nkept      crops 3 days, labels 9 days\n"
    shown = json.loads(call("policy", url, "--keep-labels-days", "5", "--json").out)
    assert (shown["keep_crops_days"], shown["keep_labels_days"]) == (3, 5)
    assert remove_aged(root.store, "operator").rows["images"] == 10
    found = json.loads(call("find", url, "--image", root.uri, "--json").out)
    assert (found["expired"], found["denied"], found["places"]) == (True, False, [])
    assert "later runs leave it out until it changes" in call("find", url, "--sha256", root.sha256).out
    assert json.loads(call("find", url, "--image", "/other.png", "--json").out)["expired"] is False
    assert json.loads(call("policy", url, "--keep-crops-days", "off", "--json").out)["keep_labels_days"] == 5
    assert not read_expired_list(root.store).empty
    off = json.loads(call("policy", url, "--keep-labels-days", "off", "--json").out)
    assert (off["keep_crops_days"], off["keep_labels_days"], read_expired_list(root.store).empty) == (None, None, True)
    assert json.loads(call("find", url, "--image", root.uri, "--json").out)["expired"] is False
