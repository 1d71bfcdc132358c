"""`ferflow policy` shows and sets the rules of a root, and the command refuses what they do not allow."""

import json

from fer_core.commit.lease import lease
from fer_core.storage.store import open_store
from tests.support import fakes


def test_rules_are_set_one_by_one_and_hold(call, tmp_path):
    root, photos = tmp_path / "root", fakes.write_pictures(tmp_path / "photos", [1])
    assert call("policy", root).err == f"ferflow: there is no run in {root}\n"
    assert not root.exists()
    first = {"root": str(root), "require_purpose": True, "crops": "never", "allowed_purposes": []}
    assert json.loads(call("policy", root, "--require-purpose", "--crops", "never", "--json").out) == first
    refused = call("label", photos, "--to", root, "--detector", "builtin")
    assert (refused.code, refused.err) == (
        2,
        "ferflow: the policy of this root requires a purpose: give --purpose, or fill in Purpose\n",
    )
    both = call("policy", root, "--no-require-purpose", "--allowed-purpose", "archive", "--allowed-purpose", "archive", "--json")
    assert json.loads(both.out) == {**first, "require_purpose": False, "allowed_purposes": ["archive"]}
    assert call("policy", root).out == "purpose   not required; allowed: 'archive'\ncrops     never\n"
    assert json.loads(call("policy", root, "--any-purpose", "--crops", "allowed", "--json").out)["allowed_purposes"] == []
    assert call("policy", root, "--allowed-purpose", " ").code == 2
    with lease(open_store(str(root)), "run other"):
        assert "another process is writing" in call("policy", root, "--crops", "never").err
        assert call("policy", root).code == 0
