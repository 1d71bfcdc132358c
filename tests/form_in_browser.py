"""The form of a deployment in Prefect's pages, filled in and submitted in a real browser, as a person does it."""

import json
import shutil
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.browser import browser

WAIT_SECONDS = 240


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


def submit(url: str, deployment: str, purpose: str, folder: Path) -> Seen:
    """Open the form, try 0 workers, which it must not take, then ask for 1 and a purpose, and submit."""
    with browser(folder) as driver:
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
        events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return Seen(titles, said, [one for one in asked if not one.startswith((url, "data:", "blob:", "chrome"))])


def _field(driver: Any, title: str, what: str) -> Any:
    """What follows a title, once it is there: pages build themselves piece by piece."""
    return _until(lambda: driver.find_elements("xpath", f"(//label[starts-with(.,'{title}')]/following::{what})[1]"))[0]


def _until(found: Any) -> Any:
    """What it returns once that is something."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (answer := found()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return answer
