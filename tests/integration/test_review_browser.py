"""The whole way as a person goes it: export, open the page from disk, correct three faces by keyboard, save, import, train on them.

In a real browser without a network.
"""

import json
import time

import pytest

from fer_core.faceset import read_card, read_rows
from fer_core.review.export import ExportRequest, export_review
from fer_core.review.face_set import Shares, import_reviewed
from fer_core.review.incoming import import_reviews
from fer_core.storage.store import open_store
from tests.support import reviews
from tests.support.browser import browser

ENTER, LEFT, RIGHT = "\ue007", "\ue012", "\ue014"


class Page:
    """The page in a browser, by what a person does and sees."""

    def __init__(self, driver, address):
        from selenium.webdriver import ActionChains

        self.driver, self._keys = driver, ActionChains
        self.open(address)

    def open(self, address):
        self.driver.get(address)

    def press(self, keys):
        for key in keys:
            self._keys(self.driver).send_keys(key).perform()

    def name(self, reviewer):
        field = self.driver.find_element("id", "reviewer")
        field.clear()
        field.send_keys(reviewer + ENTER)

    def text(self, name):
        return self.driver.find_element("id", name).text

    def pressed(self):
        return [found.get_attribute("data-verdict") for found in self.driver.find_elements("css selector", '.choice[aria-pressed="true"]')]

    def picture(self):
        return self.driver.find_element("id", "picture").get_attribute("src")

    def faces(self):
        return json.loads(self.driver.find_element("id", "export").get_attribute("textContent"))["faces"]

    def troubles(self):
        """What the browser complained of, and whatever it fetched besides the page itself and its pictures."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        sent = [params["request"]["url"] for params in asked if not params["documentURL"].startswith("chrome://")]  # its own start page
        return said + [url for url in sent if not url.startswith(("file:///", "data:image/", "blob:null/"))]


def saved(folder, names, seconds=60):
    """The file that a download ends with, which chromium renames into place when it is whole."""
    deadline = time.monotonic() + seconds
    while not (found := [file for file in folder.glob("*.json") if file.name not in names]):
        assert time.monotonic() < deadline, list(folder.iterdir())
        time.sleep(0.05)
    return found[0]


@pytest.fixture
def root(tmp_path):
    """Six photographs, labelled by two models."""
    folder = reviews.photographs(tmp_path / "photos", 6)
    for number, model in enumerate("ab"):
        reviews.night(tmp_path / "root", folder, number, model=model)
    return tmp_path / "root"


def test_three_faces_are_corrected_by_keyboard_and_are_in_the_next_face_set(root, tmp_path):
    store = open_store(str(root))
    exported = export_review(store, open_store(str(tmp_path / "out")), ExportRequest(budget=5))
    address = (tmp_path / "out" / "review.html").as_uri()
    with browser(tmp_path / "chromium") as driver:
        page = Page(driver, address)
        faces = page.faces()
        assert (page.text("place"), page.text("tally")) == ("1 of 5", "0 answered, 0 corrected")
        page.press("s")
        assert "nothing to save" in page.text("message")
        page.press("7")
        assert page.picture() == faces[1]["picture"]
        page.press("s")
        assert "name is missing" in page.text("message")
        page.name("Anna 5")  # a name may hold digits: they are no answers while it is written
        assert page.text("place") == "2 of 5"
        page.press([*"5", *"2", "u", *"9", RIGHT, RIGHT, RIGHT, *"8", LEFT, "g"])
        assert page.text("place") == "4 of 5"
        assert page.pressed() == []
        page.open(address)  # as if the browser had been closed in between
        assert page.text("place") == "4 of 5"
        assert page.text("tally").startswith("4 answered")
        page.press([LEFT])
        assert page.pressed() == ["not_a_face"]
        assert page.troubles() == []
        page.press("s")
        file = saved(tmp_path / "chromium" / "downloads", set())
    assert file.name == f"corrections-{exported.export_id}.json"
    corrections = json.loads(file.read_text("utf-8"))
    assert corrections["reviewer"] == "Anna 5"
    wanted = {0: "fear", 1: "anger", 2: "not_a_face", 4: "contempt"}
    assert [entry["verdict"] for entry in corrections["corrections"]] == list(wanted.values())

    found = import_reviews(store, file)
    assert (found.reviews, found.new, found.attached, found.orphans) == (4, 4, 4, ())
    import_reviewed(store, tmp_path / "set", Shares(0, 0))
    in_set = {row["group"]: row["label"] for row in read_rows(tmp_path / "set", "train")}
    corrected = {number: verdict for number, verdict in wanted.items() if verdict != "not_a_face"}
    assert in_set == {faces[number]["image_sha256"]: verdict for number, verdict in corrected.items()}
    assert read_card(tmp_path / "set").counts == {"train": 3}


def test_enter_agrees_and_the_end_is_told(root, tmp_path):
    export_review(open_store(str(root)), open_store(str(tmp_path / "out")), ExportRequest(budget=2))
    with browser(tmp_path / "chromium") as driver:
        page = Page(driver, (tmp_path / "out" / "review.html").as_uri())
        labelled = [face["expression"] for face in page.faces()]
        page.press([ENTER])
        page.press([LEFT])
        assert page.pressed() == labelled[:1]
        page.press([RIGHT, ENTER])
        assert page.text("message") == "Every face has an answer: save with s."
        assert page.text("tally") == "2 answered, 0 corrected"
        page.press("uuu")
        assert page.text("message") == "There is nothing to undo."
        assert page.text("tally") == "0 answered, 0 corrected"
        assert page.troubles() == []
