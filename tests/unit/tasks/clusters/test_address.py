"""Clusters that run already: processes of their own, reached by TCP and by TLS, used and left running."""

import logging
import os
import re
import socket
import threading
import time
import warnings
from importlib.metadata import version as version_here

import dask
import pytest
from distributed import Client

from fer_core.errors import ClusterError
from tasks.clusters import versions
from tasks.clusters.address import AddressCluster
from tasks.execution.fan_out import fan_out
from tasks.execution.worker_entrypoint import release
from tests.faults import odd_pictures
from tests.support.certificates import Authority
from tests.support.dask_parts import DaskParts


def waiting():
    """Threads of clients and of whatever else waits for Dask."""
    return {thread for thread in threading.enumerate() if thread.name in ("IO loop", "client of a cluster")}


@pytest.fixture(autouse=True)
def no_thread_left():
    """Afterwards Dask may speak again."""
    before = waiting()
    yield
    assert waiting() <= before, "whatever becomes of a client, its thread ends with it"
    logging.getLogger("distributed").setLevel(logging.NOTSET)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def ours(folder):
    return Authority(folder, "ours")


@pytest.fixture(scope="module")
def secure(ours, tmp_path_factory):
    """A scheduler and two workers that accept no connection without a certificate."""
    parts = DaskParts(tmp_path_factory.mktemp("secure"), (ours.file, ours.sign("cluster")))
    parts.worker("--no-nanny")
    parts.worker("--no-nanny")
    yield parts
    parts.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A scheduler without any worker yet."""
    parts = DaskParts(tmp_path_factory.mktemp("plain"))
    yield parts
    parts.close()


def _spec(address, ca=None, signed=None):
    files = {} if signed is None else {"cert_file": str(signed.cert), "key_file": str(signed.key)}
    return AddressCluster(address=address, ca_file=ca and str(ca), **files)


def _open(spec, connect=60, workers=120):
    """A busy machine takes its time."""
    return spec.open_client(connect_seconds=connect, workers_seconds=workers)


def _refused(spec):
    """Both at once, and by the run itself."""
    with pytest.raises(ClusterError) as early:
        spec.check()
    with pytest.raises(ClusterError) as late, _open(spec):
        pass
    assert str(early.value) == str(late.value)
    assert "\n" not in str(late.value)
    return str(late.value)


def test_both_ends_prove_who_they_are_and_the_cluster_is_left_running(secure, ours, tmp_path):
    assert secure.address.startswith("tls://")
    spec = _spec(secure.address, ours.file, ours.sign("run"))
    spec.check()
    for night in ("first", "second"):
        (tmp_path / night).mkdir()
        with _open(spec) as client:
            client.wait_for_workers(2, timeout=280)
            assert len(set(client.run(os.getpid).values())) == 2
            jobs = odd_pictures.jobs(tmp_path / night, *[[f"a{number}", "b"] for number in range(8)])
            receipts = fan_out(client, jobs, lambda _: None, work=odd_pictures.look)
        assert len(odd_pictures.rows(tmp_path / night, receipts)) == 16


def test_an_address_alone_takes_the_certificates_that_dask_is_configured_with(secure, ours):
    signed = ours.sign("configured")
    files = {"ca-file": ours.file, "client.cert": signed.cert, "client.key": signed.key}
    configured = {f"distributed.comm.tls.{name}": str(file) for name, file in files.items()}
    with dask.config.set(configured), _open(_spec(secure.address)) as client:
        assert client.submit(sum, [1, 2]).result() == 3
    assert "needs a CA certificate" in _refused(_spec(secure.address))


def test_whoever_has_no_certificate_is_refused(secure, ours):
    assert (
        _refused(_spec(secure.address, ours.file))
        == f"the scheduler at {secure.address} requires a certificate: name cert_file and key_file"
    )


def test_certificates_of_another_authority_are_refused_by_either_side(secure, ours, folder):
    theirs = Authority(folder, "theirs")
    stranger = theirs.sign("stranger")
    assert _refused(_spec(secure.address, ours.file, stranger)).endswith(f"does not accept the certificate {stranger.cert}")
    said = _refused(_spec(secure.address, theirs.file, ours.sign("guest")))
    assert said.startswith(f"the certificate of the scheduler at {secure.address} cannot be verified with {theirs.file} (")


def test_files_that_are_no_certificates_are_told_by_name(secure, ours, tmp_path):
    signed, other = ours.sign("one"), ours.sign("other")
    nothing, empty = tmp_path / "none.pem", tmp_path / "empty.pem"
    empty.write_text("")
    assert _refused(_spec(secure.address, nothing)) == f"cannot read the CA certificate {nothing}: No such file or directory"
    assert _refused(_spec(secure.address, empty)).startswith(f"cannot read the CA certificate {empty}: ")
    mixed = AddressCluster(address=secure.address, ca_file=str(ours.file), cert_file=str(signed.cert), key_file=str(other.key))
    assert _refused(mixed) == f"cannot read the certificate {signed.cert} with the key {other.key}: key values mismatch"


def test_who_speaks_no_tls_or_does_not_answer_is_one_line(plain, ours):
    address = plain.address.replace("tcp://", "tls://")
    assert _refused(_spec(address, ours.file, ours.sign("early"))) == f"the server at {address} does not use TLS"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        dead = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        assert _refused(_spec(dead)) == f"no Dask scheduler answers at {dead}"
    with pytest.raises(ClusterError, match="has no workers"), _open(_spec(plain.address), workers=0.5):
        pass


def test_tcp_to_a_scheduler_that_wants_tls_is_one_line(secure):
    spec = _spec(secure.address.replace("tls://", "tcp://"))
    with pytest.raises(ClusterError, match="no Dask scheduler answers"), _open(spec, connect=1):
        pass


@pytest.fixture
def worker(plain):
    """Starts one of `plain`, which is gone afterwards, or the next test would be shown it."""
    started = []

    def start(packages=None):
        started.append(plain.worker("--no-nanny", packages=packages))
        return started[-1]

    yield start
    for name in started:
        plain.kill(name)
    with warnings.catch_warnings():
        versions.silence_version_warning()
        with Client(plain.address) as client:
            while client.scheduler_info()["workers"]:
                time.sleep(0.05)


def _unlike(address):
    """What is said of a scheduler or a worker of another release there."""
    with pytest.raises(ClusterError) as told, _open(_spec(address)):
        pass
    return str(told.value)


@pytest.mark.parametrize(("package", "version"), [("ferflow", "9.9"), ("distributed", "2025.1.0")])
def test_a_worker_of_another_release_is_told_with_both_versions(plain, worker, package, version):
    """A real worker whose packages say so: what Dask itself tells of, and what ferflow is asked."""
    name = worker({package: version})
    mine = f"runs {package} {version}, this command {package} {version_here(package)}: install the same release on both"
    said = _unlike(plain.address)
    assert said.startswith("worker tcp://127.0.0.1:")
    assert said.endswith(mine), plain.said(name)


def test_another_python_and_another_pipeline_are_told_too(plain, worker):
    """This side says that it is another: the worker is what it is."""
    worker()
    others = {"Python": release() | {"Python": "3.99"}, "dask": release() | {"dask": "3.99"}, "pipeline": release(alignment="3.99")}
    with _open(_spec(plain.address)) as client:
        for changed, ours in others.items():
            with pytest.raises(ClusterError) as told:
                versions.check_agreement(client, plain.address, ours)
            said = str(told.value)
            assert re.search(rf" runs {changed} .*, this command {changed} 3\.99.*: install the same release on both$", said)
