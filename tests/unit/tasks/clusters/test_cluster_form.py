"""What can be asked for: in words, as a file, and in the form that Prefect's pages make of it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fer_core.errors import ClusterError, UsageError
from flows.cli.labelling_run import resume_command
from flows.label_params import LabelParams
from flows.relabel_params import RelabelParams
from flows.setup.checks import parse_params
from tasks.clusters import base
from tasks.clusters.address import AddressCluster
from tasks.clusters.base import Adaptive
from tasks.clusters.form_field import ClusterSpec
from tasks.clusters.gpu import GpuCluster
from tasks.clusters.kubernetes import KubernetesCluster
from tasks.clusters.local import LocalCluster
from tasks.clusters.registry import Kind
from tasks.clusters.slurm import SlurmCluster
from tasks.clusters.text_syntax import from_text

SPECS = TypeAdapter(ClusterSpec)
WORDS = {
    "local": LocalCluster(),
    "local:3": LocalCluster(processes=3),
    "local:2-8": LocalCluster(processes=Adaptive(minimum=2, maximum=8)),
    "gpu": GpuCluster(),
    "gpu:2": GpuCluster(gpus=2),
    "tcp://scheduler:8786/": AddressCluster(address="tcp://scheduler:8786"),
    "tls://10.0.0.1:8786": AddressCluster(address="tls://10.0.0.1:8786"),
    '{"kind": "slurm", "partition": "night"}': SlurmCluster(partition="night"),
}
LABEL = ("label", "/photos", "--to", "/labels")
GIVEN = {"source": "/photos", "to": "/labels"}


@pytest.mark.parametrize("words", WORDS)
def test_words_are_understood_by_the_command_and_in_a_deployment(words):
    assert from_text(words) == WORDS[words]
    assert LabelParams.model_validate({**GIVEN, "cluster": words}).cluster == WORDS[words]
    assert RelabelParams.model_validate({"root": "/labels", "model": "tiny", "cluster": words}).cluster == WORDS[words]
    assert LabelParams.model_validate({**GIVEN, "cluster": WORDS[words].model_dump(mode="json")}).cluster == WORDS[words]
    assert parse_params(LabelParams, GIVEN).cluster == LocalCluster()


WRONG = ["", "local:", "local:0", "local:x", "dask", "tcp://", "tcp://host", "http://host:1", "gpu:0", "slurm", "slurm:night", "night.toml"]


@pytest.mark.parametrize("words", WRONG)
def test_other_words_are_wrong_use(words):
    with pytest.raises(UsageError, match="a cluster is local"):
        from_text(words)
    with pytest.raises(UsageError, match=r"^--cluster a cluster is local"):
        parse_params(LabelParams, {**GIVEN, "cluster": words})


def test_files_say_what_words_cannot(tmp_path):
    file = tmp_path / "night.json"
    file.write_text('{"partition": "night", "jobs": {"minimum": 1, "maximum": 20}}')
    night = SlurmCluster(partition="night", jobs=Adaptive(minimum=1, maximum=20))
    assert from_text(f"slurm:{file}") == night
    file.write_text(night.model_dump_json())
    assert from_text(str(file)) == night
    assert from_text(f"slurm:{file}") == night
    with pytest.raises(UsageError, match="describes a cluster of kind 'slurm', not kubernetes"):
        from_text(f"kubernetes:{file}")
    for text, said in {
        "{": "is no JSON",
        "[1]": "is no JSON object",
        '{"kind": "slurm", "jobs": 0}': "jobs: input should be greater than or equal to 1",
        '{"kind": "slurm", "jobs": {"minimum": 3, "maximum": 2}}': "jobs: at least 3 is more than at most 2",
        '{"kind": "slurm", "queue": "x"}': "queue: extra inputs are not permitted",
        '{"kind": "yarn"}': "does not match any of the expected tags",
        '{"kind": "address", "address": "tcp://h:1", "ca_file": "ca.pem"}': "certificates are for tls:// addresses",
        '{"kind": "slurm", "directives": ["a\\nb"]}': "directives.0: string should match pattern",
    }.items():
        file.write_text(text)
        with pytest.raises(UsageError) as told:
            from_text(str(file))
        assert said in str(told.value)
        assert "\n" not in str(told.value)
    with pytest.raises(UsageError, match=r"cannot read the cluster from .*none\.json: No such file"):
        from_text(f"slurm:{tmp_path}/none.json")


sizes = st.integers(1, 4096) | st.tuples(st.integers(1, 60), st.integers(60, 4096)).map(
    lambda two: Adaptive(minimum=two[0], maximum=two[1])
)
lines = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=20)
kinds = st.one_of(
    st.builds(LocalCluster, processes=st.none() | sizes, threads=st.integers(1, 64)),
    st.builds(GpuCluster, gpus=st.none() | st.integers(1, 4096)),
    st.builds(AddressCluster, address=st.just("tls://host:8786"), ca_file=lines, cert_file=lines, key_file=lines),
    st.builds(SlurmCluster, jobs=sizes, partition=lines, cores=st.integers(1, 64), gpu=st.booleans(), setup=st.just(["module load cuda"])),
    st.builds(KubernetesCluster, image=st.just("registry.example/ferflow:1"), pods=sizes, cpu=st.floats(0.1, 8), secret=lines),
)


@given(kinds)
@settings(max_examples=60, deadline=None)
def test_words_say_all_of_it(spec: Kind):
    """A command that resumes a run names the cluster as it was."""
    assert from_text(spec.as_text()) == spec
    assert SPECS.validate_json(spec.model_dump_json()) == spec


def test_the_command_that_resumes_names_the_cluster():
    assert "cluster" not in resume_command(LABEL, parse_params(LabelParams, GIVEN), "a")
    assert resume_command(LABEL, parse_params(LabelParams, {**GIVEN, "cluster": "local:2-5"}), "a").endswith(" --cluster local:2-5")
    slurm = resume_command(LABEL, parse_params(LabelParams, {**GIVEN, "cluster": {"kind": "slurm", "partition": "night"}}), "a")
    assert slurm.endswith(""" --cluster '{"kind": "slurm", "partition": "night"}'""")


def test_what_is_wrong_is_told_by_its_field():
    with pytest.raises(UsageError, match=r"^--cluster jobs: at least 3 is more than at most 2$"):
        parse_params(LabelParams, {**GIVEN, "cluster": {"kind": "slurm", "jobs": {"minimum": 3, "maximum": 2}}})
    with pytest.raises(UsageError, match=r"^--cluster image: field required$"):
        parse_params(RelabelParams, {"root": "/labels", "model": "tiny", "cluster": {"kind": "kubernetes"}})
    with pytest.raises(UsageError, match=r"^--workers input should be greater than or equal to 1 \(0\)$"):
        parse_params(LabelParams, {**GIVEN, "workers": 0})
    with pytest.raises(ValidationError) as told:
        AddressCluster(address="tcp://me:word@host:1")
    assert "word" not in str(told.value)


@pytest.fixture(scope="module")
def form():
    """As Prefect stores it with a deployment, and shows it."""
    from prefect.utilities.callables import parameter_schema

    from flows.label import label_collection

    return parameter_schema(label_collection).model_dump()


def _named(form, place):
    return form["definitions"][place["$ref"].rpartition("/")[2]] if "$ref" in place else place


def test_pages_show_one_choice_of_forms(form):
    field = form["definitions"]["LabelParams"]["properties"]["cluster"]
    assert field["default"] == {"kind": "local", "processes": None, "threads": 1}
    choices = [_named(form, choice) for choice in field["anyOf"]]
    assert [choice["title"] for choice in choices] == ["Local", "Address", "GPU", "Slurm", "Kubernetes", "In words"]
    assert "oneOf" not in json.dumps(form)  # pages show it, and lose it where a value is turned from one way of input to another
    for choice in choices[:-1]:
        assert choice["properties"]["kind"]["enum"] == [choice["properties"]["kind"]["default"]]  # a menu of one
        for place in choice["properties"].values():
            for shown in (_named(form, one) for one in place.get("anyOf", [place])):
                assert shown["type"] in {"string", "integer", "number", "boolean", "null", "array", "object"}  # else raw JSON is asked for
                assert shown["type"] != "object" or shown["properties"]
                assert shown["type"] != "array" or shown["items"]["type"] == "string"
            assert place["title"]


def test_each_kind_is_known_again_by_its_fields(form):
    """Pages show a stored value in the form with which it has the most fields in common, the first of those."""
    choices = [_named(form, choice) for choice in form["definitions"]["LabelParams"]["properties"]["cluster"]["anyOf"]][:-1]
    filled = (*WORDS.values(), KubernetesCluster(image="x"))
    for spec in filled:
        common = [len(spec.model_dump().keys() & choice["properties"].keys()) for choice in choices]
        assert choices[common.index(max(common))]["properties"]["kind"]["default"] == spec.kind


def test_prefect_takes_what_was_stored_before_and_what_the_form_says(form):
    from prefect.utilities.schema_tools.validation import is_valid

    for words, spec in WORDS.items():
        for value in (words, spec.model_dump(mode="json")):
            assert is_valid({"params": {**GIVEN, "cluster": value}}, form)
    for value in ({"kind": "yarn"}, {"kind": "gpu", "processes": 3}, {"kind": "slurm", "jobs": 0}, {"kind": "kubernetes"}, 3):
        assert not is_valid({"params": {**GIVEN, "cluster": value}}, form)


def test_what_is_missing_is_told_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="clusters of kind slurm are started where jobs are submitted: there is no sbatch"):
        SlurmCluster().check()
    with pytest.raises(ClusterError, match="no GPU can be used on this machine"):
        GpuCluster().check()
    KubernetesCluster(image="x").check()
    monkeypatch.setattr(base, "find_spec", lambda name: None)
    with pytest.raises(ClusterError, match=r"need the package dask-jobqueue: pip install 'ferflow\[slurm\]'$"):
        SlurmCluster().check()
    with pytest.raises(ClusterError, match=r"need the package dask-kubernetes: pip install 'ferflow\[kubernetes\]'$"):
        KubernetesCluster(image="x").check()
