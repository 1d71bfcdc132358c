def test_nothing_leaves_the_machine(labelled):
    """Every process of a whole run was watched, and none as much as looked a name up."""
    assert labelled.ended.code == 0, labelled.ended.err
    watched = labelled.network_log.with_name("network.log.watched").read_text()
    for process in ("flows.cli", "uvicorn", "multiprocessing", "flows.watchdog"):
        assert process in watched, f"{process} ran unwatched"
    assert not labelled.network_log.exists(), labelled.network_log.read_text()


def test_the_promise_is_not_a_default(monkeypatch):
    from flows import prefect_api

    for name in prefect_api.QUIET:
        monkeypatch.setenv(name, "whatever the shell says")
    prefect_api.configure(verbose=False)
    import os

    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
