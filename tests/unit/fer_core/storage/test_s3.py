"""Where S3 is and how it is addressed; what no address may hold."""

import pytest
from pydantic import ValidationError

from fer_core.collection.inventory import list_images
from fer_core.errors import ImageError, SourceError, StoreError
from fer_core.storage.s3 import CONNECTIONS, client_options, table_options
from fer_core.storage.store import open_store, read_uri
from fer_core.storage.uri import holds_credentials, split
from flows.label_params import LabelParams
from flows.setup.checks import parse_params
from tests.support.swift_server import use

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY"
WITH_CREDENTIALS = (
    f"s3://AKIAEXAMPLE:{SECRET}@bucket/photos",
    f"s3://AKIAEXAMPLE:{SECRET}/bucket/photos",
    "s3://key@bucket/x",
    f"s3a://:{SECRET.replace('/', '')}@bucket",
    f"gs://user:{SECRET}@bucket",
    f"az://user:{SECRET}@container",
    f"https://user:{SECRET}@example.org/x.jpg",
    f"https://{SECRET.replace('/', '')}@example.org",
    f"ftp://user:{SECRET}@example.org/x.jpg",
)
WITHOUT = (
    "s3://bucket/photos/a@b.jpg",
    "s3://bucket/a:b@c.jpg",
    "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/x@y.jpg",
    "abfs://container@account.dfs.core.windows.net/x",
    "https://example.org:8080/a@b.jpg",
    "https://example.org/@x",
    "file:///photos/me@home:x/y.jpg",
    "/photos/s3://key:secret@bucket",
    "memory://a/b@c",
)


@pytest.mark.parametrize("url", WITH_CREDENTIALS)
def test_credentials_in_an_address_are_refused_and_never_repeated(url, tmp_path):
    assert holds_credentials(url)
    (tmp_path / "list.txt").write_text(f"{url}\n")
    tries = [lambda: split(url), lambda: open_store(url), lambda: list_images(url), lambda: list_images(str(tmp_path / "list.txt"))]
    for attempt in [*tries, lambda: read_uri(url, 10)]:
        with pytest.raises((StoreError, SourceError, ImageError)) as error:
            attempt()
        assert "credentials" in str(error.value) or attempt not in tries
        assert "AKIA" not in str(error.value)
        assert SECRET[:8] not in str(error.value)


@pytest.mark.parametrize("url", WITH_CREDENTIALS)
def test_beside_other_names_of_a_list_they_cost_a_row_that_does_not_repeat_them(url, tmp_path):
    (tmp_path / "list.txt").write_text(f"{tmp_path}/x.jpg\n{url}\n")
    here, row = list_images(str(tmp_path / "list.txt"))["image_uri"].to_pylist()
    assert here == f"{tmp_path}/x.jpg"
    assert "AKIA" not in row
    assert not any(part in row for part in (SECRET[:8], "key@", "user"))
    with pytest.raises(ImageError, match=r"credentials do not belong in an address|addresses are not supported") as error:
        read_uri(row, 10)
    assert error.value.status == "unsupported"


@pytest.mark.parametrize("url", WITH_CREDENTIALS)
@pytest.mark.parametrize("name", ["source", "to", "model", "cluster"])
def test_the_forms_refuse_them_too(url, name):
    values = {"source": "/photos", "to": "/labels", name: url}
    with pytest.raises(ValidationError) as refused:
        LabelParams.model_validate(values)
    with pytest.raises(Exception, match="credentials do not belong in an address") as told:
        parse_params(LabelParams, values)
    for text in (str(refused.value), repr(refused.value), str(told.value)):
        assert SECRET[:8] not in text


@pytest.mark.parametrize("url", WITHOUT)
def test_other_addresses_are_no_credentials(url):
    assert not holds_credentials(url)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_ENDPOINT_URL": f"http://me:{SECRET.replace('/', '')}@127.0.0.1:9"}, "credentials do not belong in AWS_ENDPOINT_URL"),
        ({"AWS_ENDPOINT_URL_S3": "127.0.0.1:9000"}, "AWS_ENDPOINT_URL_S3 is no http"),
        ({"AWS_ENDPOINT_URL": "http://[::1"}, "AWS_ENDPOINT_URL is no http"),
        ({"AWS_ENDPOINT_URL": "http://host:99999"}, "AWS_ENDPOINT_URL is no http"),
        ({"FERFLOW_S3_ADDRESSING": "subdomain"}, "FERFLOW_S3_ADDRESSING is auto, path or virtual, not 'subdomain'"),
        ({"AWS_PROFILE": "nobody"}, "nobody"),
    ],
)
def test_what_no_client_could_use_is_said_in_one_line(environment, said, monkeypatch, tmp_path):
    use(monkeypatch, environment)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreError) as error:
        open_store("s3://bucket/root").check_writable()
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert SECRET[:8] not in str(error.value)


def test_the_clients_options_hold_no_credentials():
    environment = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "eu-test-1"}
    assert client_options({})["config_kwargs"]["max_pool_connections"] == CONNECTIONS
    found = client_options({**environment, "FERFLOW_S3_ADDRESSING": "virtual"})
    assert found["client_kwargs"] == {"region_name": "eu-test-1"}
    assert found["config_kwargs"]["s3"] == {"addressing_style": "virtual"}
    assert SECRET not in repr(found)
    assert "AKIAEXAMPLE" not in repr(found)


def options_of(monkeypatch, environment, url="s3://bucket/root"):
    use(monkeypatch, {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET, **environment})
    fs, path = split(url)
    fs.connect()
    address = fs.sign(path, expiration=60)
    return address.partition("?")[0], table_options(fs, "bucket")


@pytest.mark.parametrize(
    ("environment", "address", "endpoint"),
    [
        ({"AWS_ENDPOINT_URL": "http://s3.test:9"}, "http://s3.test:9/bucket/root", "http://s3.test:9"),
        (
            {"AWS_ENDPOINT_URL": "https://s3.test", "FERFLOW_S3_ADDRESSING": "path", "AWS_REGION": "eu-test-1"},
            "https://s3.test/bucket/root",
            "https://s3.test",
        ),
        (
            {"AWS_ENDPOINT_URL_S3": "http://s3.test:9", "AWS_ENDPOINT_URL": "http://other.test", "FERFLOW_S3_ADDRESSING": "virtual"},
            "http://bucket.s3.test:9/root",
            "http://bucket.s3.test:9",
        ),
        (
            {"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "us-west-2", "FERFLOW_S3_ADDRESSING": "path"},
            "https://s3.eu-central-1.amazonaws.com/bucket/root",
            "https://s3.eu-central-1.amazonaws.com",
        ),
    ],
)
def test_the_client_and_deltalake_ask_at_the_same_place(environment, address, endpoint, monkeypatch):
    asked, found = options_of(monkeypatch, environment)
    assert asked == address
    assert found["AWS_ENDPOINT_URL"] == endpoint
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]) == ("AKIAEXAMPLE", SECRET)
    assert ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST" in found) == (environment.get("FERFLOW_S3_ADDRESSING") == "virtual")
    assert ("AWS_ALLOW_HTTP" in found) == endpoint.startswith("http://")
    if "AWS_REGION" in environment:
        assert found["AWS_REGION"] == environment["AWS_REGION"]


def test_a_profile_of_the_shared_files_says_who_where_and_how(monkeypatch, tmp_path):
    (tmp_path / "credentials").write_text(f"[nightly]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = {SECRET}\n")
    (tmp_path / "config").write_text(
        "[profile nightly]\nregion = eu-test-1\nendpoint_url = http://s3.test:9\ns3 =\n    addressing_style = virtual\n"
    )
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "AWS_CONFIG_FILE": str(tmp_path / "config")}
    use(monkeypatch, {**files, "AWS_PROFILE": "nightly"})
    fs, path = split("s3://bucket/root")
    assert fs.sign(path).startswith("http://bucket.s3.test:9/root?")
    found = table_options(fs, "bucket")
    assert found["AWS_REGION"] == "eu-test-1"
    assert found["AWS_ENDPOINT_URL"] == "http://bucket.s3.test:9"
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]) == ("AKIAEXAMPLE", SECRET)


def test_a_name_that_the_client_would_cut_off_is_refused(monkeypatch):
    use(monkeypatch, {})
    with pytest.raises(ImageError, match="versionId"):
        read_uri("s3://bucket/x.jpg?versionId=1", 10)
