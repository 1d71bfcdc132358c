"""The form of a deployment in Prefect's pages, filled in and submitted in a real browser, as a person does it."""

import json
import shutil
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flows.server.login import login_url
from tests.support.browser import browser

WAIT_SECONDS = 240
RUN_SECONDS = 600


@dataclass(frozen=True)
class Seen:
    """What the browser showed."""

    titles: list[str]
    """Of the fields."""
    said_of_nought_workers: str
    asked: list[str]
    """Addresses that are not the server's."""


def present() -> bool:
    """Whether there is a browser to drive."""
    return find_spec("selenium") is not None and all(shutil.which(name) for name in ("chromium", "chromedriver"))


def enter(driver: Any, url: str, password: str | None) -> None:
    """By the link that `ferflow up` shows. None: it asks for no password."""
    if password is None:
        return
    driver.get(login_url(url, password))
    _until(lambda: "/ferflow-login" not in driver.current_url)


def submit(url: str, password: str | None, deployment: str, purpose: str, folder: Path) -> Seen:
    """Open the form, try 0 workers, which it must not take, then ask for 1 and a purpose, and submit."""
    with browser(folder) as driver:
        enter(driver, url, password)
        driver.get(f"{url}/v2/deployments/deployment/{deployment}/run")
        titles = _until(
            lambda: (texts := [label.text for label in driver.find_elements("xpath", "//label")]) and "Start" in texts and texts
        )
        _field(driver, "Purpose", "textarea").send_keys(purpose)
        _field(driver, "Workers", "*[@role='tab' and .='int']").click()
        workers = _field(driver, "Workers", "input[@type='number']")
        titles = [label.text.removesuffix(" (Optional)") for label in driver.find_elements("xpath", "//label")]
        workers.send_keys("0")
        button = driver.find_element("xpath", "//button[.='Submit']")
        driver.execute_script("arguments[0].scrollIntoView()", button)
        button.click()
        said = workers.get_attribute("validationMessage")
        workers.send_keys("\ue0031")  # backspace, 1
        button.click()
        _until(lambda: not driver.current_url.endswith("/run"))
        return Seen(titles, said, _elsewhere(driver, url))


@dataclass(frozen=True)
class Retrained:
    """What the browser showed of a retraining."""

    said_of_nought_epochs: str
    run: str
    """Id of the run, from its page's address."""
    artifact: str
    """Text of the artifact's page."""
    asked: list[str]
    """Addresses that are not the server's."""


def retrain(url: str, password: str | None, deployment: str, faceset: str, folder: Path, epochs: int = 3) -> Retrained:
    """Open the form, add a face set, try 0 epochs, which it must not take, then ask for some of small batches; watch the run to its end on
    its page and open its artifact. Pictures of both pages: `run.png` and `artifact.png` in `folder`.
    """
    with browser(folder) as driver:
        enter(driver, url, password)
        driver.get(f"{url}/v2/deployments/deployment/{deployment}/run")
        _field(driver, "Base face sets", "button[.='Add item']").click()
        _until(lambda: driver.find_elements("xpath", "//label[starts-with(.,'Base face sets')]/following::textarea[1]"))
        _field(driver, "Base face sets", "textarea").send_keys(faceset)
        for title, value in (("Batch", "32"), ("Learning rate", "0.1"), ("Epochs", "0")):
            _fill(driver, title, value)
        button = driver.find_element("xpath", "//button[.='Submit']")
        driver.execute_script("arguments[0].click()", button)  # the page may still be moving under a pointer
        said = _field(driver, "Epochs", "input[@type='number']").get_attribute("validationMessage")
        _fill(driver, "Epochs", str(epochs))
        _submitted(driver, button)
        link = _until(lambda: driver.find_elements("xpath", "//a[contains(@href,'/runs/flow-run/')]"))[0].get_attribute("href")
        driver.get(link)
        _until(lambda: driver.find_elements("xpath", "//*[.='Completed' or .='Failed' or .='Crashed']"), RUN_SECONDS)
        driver.refresh()  # what came last is drawn at once
        _until(lambda: driver.find_elements("xpath", "//*[contains(.,'Finished in state')]"))
        time.sleep(3)  # the picture is for people: the graph moves into its place
        driver.save_screenshot(str(folder / "run.png"))
        _until(lambda: driver.find_elements("xpath", "//*[@role='tab' and .='Artifacts']"))[0].click()
        _until(lambda: driver.find_elements("xpath", "//a[contains(@href,'/artifacts/key/')]"))[0].click()
        _until(lambda: driver.find_elements("xpath", "//a[contains(@href,'/artifacts/artifact/')]"))[0].click()
        _until(lambda: driver.find_elements("xpath", "//table//*[contains(.,'hallenger')]"))
        driver.set_window_size(1240, 1800)
        driver.save_screenshot(str(folder / "artifact.png"))
        text = driver.find_element("tag name", "body").text
        return Retrained(said, link.rpartition("/")[2].partition("?")[0], text, _elsewhere(driver, url))


def _submitted(driver: Any, button: Any) -> None:
    """The form takes what was typed a moment later, and until then says again what it has said."""
    page, deadline = driver.current_url, time.monotonic() + WAIT_SECONDS
    while driver.current_url == page:
        assert time.monotonic() < deadline
        driver.execute_script("arguments[0].click()", button)
        again = time.monotonic() + 20
        while driver.current_url == page and time.monotonic() < again:
            time.sleep(0.2)


def _fill(driver: Any, title: str, value: str) -> None:
    """In place of what is there."""
    field = _field(driver, title, "input[@type='number']")
    field.send_keys("\ue009a\ue000" + value + "\ue004")  # Control + A, the value, Tab
    _until(lambda: field.get_attribute("value") == value)


def _elsewhere(driver: Any, url: str) -> list[str]:
    """Addresses that the pages asked for and that are not the server's."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [one for one in asked if not one.startswith((url, "data:", "blob:", "chrome"))]


def _field(driver: Any, title: str, what: str) -> Any:
    """What follows a title, once it is there: pages build themselves piece by piece."""
    return _until(lambda: driver.find_elements("xpath", f"(//label[starts-with(.,'{title}')]/following::{what})[1]"))[0]


def _until(found: Any, seconds: float = WAIT_SECONDS) -> Any:
    """What it returns once that is something."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return answer
