"""The Dockerfiles and the compose file: what of them can go stale. No image is built: that takes a registry."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.support.composed import FOLDER, compose, example, ignored, image_environment, instructions
from tests.support.processes import REPOSITORY

DOCKERFILES = ("cpu.Dockerfile", "cuda.Dockerfile")
GIVEN = {**example(), "POSTGRES_PASSWORD": "one", "S3_ACCESS_KEY": "two", "S3_SECRET_KEY": "three", "FERFLOW_PASSWORD": "four"}
SECRETS = ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "FERFLOW_PASSWORD")


def services():
    return compose(GIVEN)["services"]


def ours():
    return {name: one for name, one in services().items() if one["image"].startswith("ferflow:")}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_everything_copied_is_there_and_in_the_context(name):
    copied = [words.split()[:-1] for kind, words in instructions(name) if kind == "COPY" and not words.startswith("--from=")]
    paths = [Path(word) for words in copied for word in words]
    assert {"fer_core", "tasks", "flows", "constraints.txt", "locks"} <= {str(path) for path in paths}
    for path in paths:
        assert (REPOSITORY / path).exists(), path
        assert not ignored(path), path
    for package in ("fer_core/weights/tiny/model.safetensors", "fer_core/gallery", "flows/cli/main.py"):
        assert not ignored(Path(package)), package
    for unwanted in (".git", ".venv", "tests", "deployments/docker/.env", ".env", "docs", "flows/__pycache__", "runs"):
        assert ignored(Path(unwanted)), unwanted


@pytest.mark.parametrize("name", DOCKERFILES)
def test_nobody_runs_as_root_and_nothing_is_told_to_anybody(name):
    users = [words for kind, words in instructions(name) if kind == "USER"]
    assert len(users) == 1
    assert users[0].isdigit()
    assert users[0] != "0"
    made = [words for kind, words in instructions(name) if kind == "RUN" and "useradd" in words]
    assert f"--uid {users[0]}" in made[0]
    environment = image_environment(name)
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_installed_is_what_the_locks_say(name):
    needs, torch, ferflow = [words for kind, words in instructions(name) if kind == "RUN" and "pip install" in words]
    for words in (needs, torch):
        assert "pip install --require-hashes --no-deps --only-binary :all: " in words
    assert "--requirement constraints.txt --requirement locks/delta.txt" in needs
    assert ("locks/cuda.txt" in needs) == (name == "cuda.Dockerfile")  # what PyPI's PyTorch wants and its CPU build does not
    assert torch.endswith('--index-url "${TORCH_INDEX}" --requirement locks/torch.txt')
    assert "pip install --no-deps --no-build-isolation . && /opt/ferflow/bin/pip check" in ferflow
    assert not [words for _, words in instructions(name) if "==" in words]  # the locks are the list of versions
    python = [words for kind, words in instructions(name) if kind == "ARG" and words.startswith("BASE=")]
    assert python == ["BASE=python:3.11-slim-bookworm"]  # the oldest Python that the locks are made for


def test_both_images_differ_in_pytorch_alone():
    one, other = (dict(enumerate(instructions(name))) for name in DOCKERFILES)
    differing = [one[number][0] for number in one if one[number] != other[number]]
    assert differing.count("RUN") == 1  # CUDA's libraries
    assert set(differing) == {"ARG", "ENV", "RUN"}
    assert len(one) == len(other)
    indices = [[words for kind, words in file.values() if kind == "ARG"][1] for file in (one, other)]
    assert indices == ["TORCH_INDEX=https://download.pytorch.org/whl/cpu", "TORCH_INDEX=https://pypi.org/simple"]


@pytest.mark.parametrize("missing", SECRETS)
def test_no_secret_has_a_default(missing):
    assert example()[missing] == ""
    with pytest.raises(KeyError, match=missing):
        compose({name: value for name, value in GIVEN.items() if name != missing})


def test_secrets_are_in_no_file():
    files = [file for file in FOLDER.iterdir() if file.is_file() and file.name != ".env"]
    lines = [line for file in files for line in file.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    assert not re.search(r"(?i)(password|secret_key|access_key)\s*[:=][ \t]*[A-Za-z0-9]{4,}", "\n".join(lines))
    assert (FOLDER / ".gitignore").read_text().split() == [".env"]


def test_services_are_checked_and_start_in_order():
    found = services()
    for name, service in found.items():
        if name != "setup":
            assert service["healthcheck"]["test"][0] == "CMD", name
            assert service["restart"] == "unless-stopped"
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert other in found
    for name, service in ours().items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    published = [port for service in found.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:4200:4200"]
    named = {volume.partition(":")[0] for service in found.values() for volume in service.get("volumes", []) if volume[0] != "."}
    assert named == set(compose(GIVEN)["volumes"])


def test_build_and_volumes_point_to_what_is_there():
    for file in ("compose.yaml", "gpu.yaml"):
        for service in compose(GIVEN, file)["services"].values():
            if "build" in service:
                context = (FOLDER / service["build"]["context"]).resolve()
                assert context == REPOSITORY
                assert (context / service["build"]["dockerfile"]).is_file()
            for volume in service.get("volumes", []):
                if volume.startswith("."):
                    assert (FOLDER / volume.partition(":")[0]).is_dir()
    assert set(compose(GIVEN, "gpu.yaml")["services"]) <= set(services())


def test_the_server_is_the_one_of_ferflow_up():
    assert ours()["server"]["command"][:5] == ["python", "-m", "uvicorn", "--factory", "flows.server.application:create_app"]
    assert '"flows.server.application:create_app"' in (REPOSITORY / "flows" / "server" / "up.py").read_text("utf-8")


def test_the_server_knows_its_name_and_everyone_the_password():
    from flows.server.guard import AccessRule, allowed_hosts

    found = ours()
    server = found["server"]["environment"]
    for name, service in found.items():
        url = service.get("environment", {}).get("PREFECT_API_URL")
        if url is not None:
            assert service["environment"]["PREFECT_API_AUTH_STRING"] == server["PREFECT_SERVER_API_AUTH_STRING"] == "ferflow:four", name
            host = url.removeprefix("http://").removesuffix("/api").encode()
            assert AccessRule(allowed_hosts(server["FERFLOW_ALLOWED_HOSTS"])).refusal([(b"host", host)], "172.18.0.2") is None
    behind = compose({**GIVEN, "FERFLOW_ALLOWED_HOSTS": "prefect.example"})["services"]["server"]["environment"]["FERFLOW_ALLOWED_HOSTS"]
    proxied = [(b"host", b"server:4200"), (b"origin", b"https://prefect.example")]
    assert AccessRule(allowed_hosts(behind)).refusal(proxied, "172.18.0.2") is None
    assert AccessRule(allowed_hosts(server["FERFLOW_ALLOWED_HOSTS"])).refusal(proxied, "172.18.0.2") is not None


def test_every_variable_of_prefects_is_a_setting():
    from prefect.settings.models.root import Settings
    from prefect.settings.models.root import _get_settings_accessors as accessors

    known = set(accessors(Settings))
    given = {name for service in ours().values() for name in service.get("environment", {})}
    given |= {name for file in DOCKERFILES for name in image_environment(file)}
    assert not {name for name in given if name.startswith("PREFECT_")} - known


@pytest.mark.parametrize("name", [*ours(), "gpu"])
def test_commands_are_understood(name):
    service = compose(GIVEN, "gpu.yaml")["services"]["dask-worker"] if name == "gpu" else ours()[name]
    program, *words = service["command"]
    if program == "python" and words[0] != "-m":
        for word in words:
            assert word.startswith("/deployments/")
            assert (FOLDER.parent / word.removeprefix("/deployments/")).is_file()
        return
    named = 1 if program == "dask" else 2
    told = help_of(str(Path(sys.executable).with_name(program)), *words[:named])
    for option in (word for word in words[named:] if word.startswith("--")):
        assert option in told or option.replace("--no-", "--") in told, option


@cache
def help_of(*program):
    return subprocess.run([*program, "--help"], capture_output=True, text=True, check=True, timeout=280).stdout


def test_what_setup_fills_in_fits_the_forms():
    """With the deployments as they are: a new one, or a new field, is noticed here."""
    from flows.server.deployments import TIMETABLE

    sys.path.insert(0, str(FOLDER))
    try:
        import setup
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("setup", None)
    assert all((FOLDER.parent / "automations" / name).is_file() for name in setup.AUTOMATIONS)
    environment = ours()["setup"]["environment"]
    given = {name.removeprefix("FERFLOW_"): value for name, value in environment.items() if name.startswith("FERFLOW_")}
    project = yaml.safe_load((FOLDER.parent / "prefect.yaml").read_text("utf-8"))
    forms = {f"{entry.flow.fn.__module__}.{entry.flow.fn.__name__}": entry.form for entry in TIMETABLE}
    for deployment in setup.filled(project, given)["deployments"]:
        params = deployment["parameters"]["params"]
        forms[deployment["entrypoint"]].model_validate(params)
        assert "/data/photos" not in str(params)
        assert "/data/labels" not in str(params)
        assert all(schedule["active"] and schedule["timezone"] == GIVEN["FERFLOW_TIMEZONE"] for schedule in deployment.get("schedules", []))


def test_health_checks_are_python_that_parses():
    for name, service in ours().items():
        words = service.get("healthcheck", {}).get("test", ["CMD", "python", "-c", ""])
        assert words[1:3] == ["python", "-c"], name
        compile(words[3], name, "exec")
