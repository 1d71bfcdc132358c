"""Content of a review export: the selected faces, each once, and no network access."""

import base64
import hashlib
import json
import re
from io import BytesIO
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from PIL import Image

from fer_core.errors import CommitError, StoreError, UsageError
from fer_core.labels import EXPRESSIONS
from fer_core.review.export import ExportRequest, export_review
from fer_core.review.incoming import import_reviews
from fer_core.storage.store import open_store
from tests.support import fakes, reviews


@pytest.fixture
def root(tmp_path):
    """Five photographs of two faces."""
    reviews.night(tmp_path / "root", reviews.photographs(tmp_path / "photos", 5, faces=2))
    return tmp_path / "root"


def export(root, target, **asked):
    return export_review(open_store(str(root)), open_store(str(target)), ExportRequest(**asked))


def faces_in(target):
    """What the page holds."""
    text = (target / "review.html").read_text("utf-8")
    embedded = re.search(r'<script type="application/json" id="export">(.*?)</script>', text, re.DOTALL)[1]
    return json.loads(embedded)


def identity(face):
    return face["image_sha256"], tuple(face["box"])


def opened(data_uri):
    kind, data = re.fullmatch(r"data:image/(\w+);base64,(.+)", data_uri).groups()
    return kind, np.asarray(Image.open(BytesIO(base64.b64decode(data))).convert("RGB"))


def test_page_and_tasks_hold_the_same_faces_with_their_labels(root, tmp_path):
    found = export(root, tmp_path / "out", budget=6)
    assert (found.asked, found.faces, found.reviewed, found.gone) == (6, 10, 0, 0)
    page, tasks = faces_in(tmp_path / "out"), json.loads((tmp_path / "out" / "tasks.json").read_text("utf-8"))
    rows = {(row["image_sha256"], tuple(row[f"box_{name}"] for name in "xywh")): row for row in reviews.labels_of(root)}
    assert [identity(face) for face in page["faces"]] == [identity(task["data"]) for task in tasks]
    assert len({identity(face) for face in page["faces"]}) == 6
    for face, task in zip(page["faces"], tasks, strict=True):
        row = rows[identity(face)]
        assert face["expression"] == row["expression"] == task["data"]["previous_expression"]
        assert face["probabilities"] == [row[f"p_{name}"] for name in EXPRESSIONS]
        (prediction,) = task["predictions"]
        assert (prediction["score"], prediction["model_version"]) == (row["confidence"], "model-a " + "a" * 12)
        assert prediction["result"][0]["value"] == {"choices": [row["expression"]]}
        assert task["data"]["image"] == face["picture"]
        assert task["data"]["export_id"] == page["export_id"] == found.export_id
    assert sum(found.reasons.values()) == 6


def test_the_configuration_fits_the_tasks(root, tmp_path):
    export(root, tmp_path / "out")
    view = Xml.fromstring((tmp_path / "out" / "label-studio.xml").read_text("utf-8"))
    control, picture = view.find("Choices"), view.find("Image")
    task = json.loads((tmp_path / "out" / "tasks.json").read_text("utf-8"))[0]
    result = task["predictions"][0]["result"][0]
    assert (result["from_name"], result["to_name"]) == (control.get("name"), picture.get("name"))
    assert control.get("toName") == picture.get("name")
    assert picture.get("value").removeprefix("$") in task["data"]
    choices = [choice.get("value") for choice in control]
    assert choices == [*EXPRESSIONS, "not a face", "cannot tell"]
    assert result["value"]["choices"][0] in choices


def test_the_picture_shows_the_face_and_the_frame_stands_on_it(root, tmp_path):
    export(root, tmp_path / "out", budget=1)
    (face,) = faces_in(tmp_path / "out")["faces"]
    kind, shown = opened(face["picture"])
    height, width = shown.shape[:2]
    assert (kind, max(height, width)) == ("jpeg", 448)
    x, y, w, h = face["frame"]
    whole = np.asarray(Image.open(face["image_uri"]).convert("RGB"), np.float32)
    left, top, across, down = (round(value) for value in face["box"])
    inside = shown[round(y * height) : round((y + h) * height), round(x * width) : round((x + w) * width)]
    expected = np.asarray(Image.fromarray(whole[top : top + down, left : left + across].astype(np.uint8)).resize(inside.shape[1::-1]))
    assert np.abs(inside.astype(float) - expected).mean() < 12


def test_equal_inputs_give_equal_files_and_an_earlier_export_is_replaced(root, tmp_path):
    export(root, tmp_path / "a", budget=4)
    export(root, tmp_path / "b", budget=9)
    assert fakes.tree(tmp_path / "a") != fakes.tree(tmp_path / "b")
    export(root, tmp_path / "b", budget=4)
    assert fakes.tree(tmp_path / "a") == fakes.tree(tmp_path / "b")


def test_random_faces_are_drawn_by_the_seed(root, tmp_path):
    drawn = []
    for number, seed in enumerate((0, 0, 1)):
        found = export(root, tmp_path / str(number), budget=5, policy="random", seed=seed)
        assert found.reasons == {"drawn at random": 5}
        drawn.append([identity(face) for face in faces_in(tmp_path / str(number))["faces"]])
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_page_for_tuning_says_how_many_more_would_help(root, tmp_path):
    found = export(root, tmp_path / "out", budget=6, policy="tuning")
    assert (found.asked, found.reasons) == (6, {"for tuning": 6})
    assert (
        "at least 20 faces of two expressions; up to about 200 help. 0 were reviewed before: 200 more" in faces_in(tmp_path / "out")["note"]
    )
    export(root, tmp_path / "plain", budget=6)
    assert "note" not in faces_in(tmp_path / "plain")


@pytest.mark.parametrize("policy", ["worth", "tuning", "random"])
def test_reviewed_faces_are_not_asked_again_even_after_the_detector_changed(root, tmp_path, policy):
    export(root, tmp_path / "first", budget=7, policy=policy)
    asked = [identity(face) for face in faces_in(tmp_path / "first")["faces"]]
    rows = [row for row in reviews.labels_of(root) if (row["image_sha256"], tuple(row[f"box_{name}"] for name in "xywh")) in asked]
    file = reviews.written(tmp_path / "c.json", reviews.corrections([reviews.correction(row, "unsure") for row in rows]))
    import_reviews(open_store(str(root)), file)
    reviews.night(root, tmp_path / "photos", 1, shift=8)
    found = export(root, tmp_path / "second", budget=7, policy=policy)
    assert (found.asked, found.faces, found.reviewed) == (3, 3, 7)
    moved = {(face["image_sha256"], *(value - 8 for value in face["box"][:2])) for face in faces_in(tmp_path / "second")["faces"]}
    assert not moved & {(image, *box[:2]) for image, box in asked}
    everything = reviews.corrections([reviews.correction(row, "fear") for row in reviews.labels_of(root)], "2" * 16)
    import_reviews(open_store(str(root)), reviews.written(tmp_path / "d.json", everything))
    assert export(root, tmp_path / "third").asked == 0
    assert not (tmp_path / "third").exists()


def test_copies_of_a_picture_are_asked_once(tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 2)
    (folder / "copy.png").write_bytes((folder / "photo-000.png").read_bytes())
    reviews.night(tmp_path / "root", folder)
    assert export(tmp_path / "root", tmp_path / "out").asked == 2


def test_photographs_that_are_gone_are_passed_over_and_counted(root, tmp_path):
    (tmp_path / "photos" / "photo-001.png").unlink()
    (tmp_path / "photos" / "photo-002.png").write_bytes(reviews.photograph(["fear"], 77))
    found = export(root, tmp_path / "out")
    assert (found.asked, found.gone) == (6, 4)
    names = {face["image_uri"].rpartition("/")[2] for face in faces_in(tmp_path / "out")["faces"]}
    assert names == {"photo-000.png", "photo-003.png", "photo-004.png"}


def test_kept_crops_stand_in_for_photographs_that_are_gone(tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 3)
    reviews.night(tmp_path / "root", folder, keep_crops=True)
    expected = {row["image_sha256"]: reviews.crop_of(row) for row in reviews.labels_of(tmp_path / "root")}
    reviews.night(tmp_path / "root", folder, 1, model="b")  # as a relabelling does, it keeps none
    for file in folder.iterdir():
        file.unlink()
    found = export(tmp_path / "root", tmp_path / "out")
    assert (found.asked, found.gone) == (3, 0)
    for face in faces_in(tmp_path / "out")["faces"]:
        kind, shown = opened(face["picture"])
        assert (kind, face["frame"]) == ("png", None)
        assert np.array_equal(shown, expected[face["image_sha256"]])


def test_labels_crops_and_export_may_lie_in_any_kind_of_storage(any_root, tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 5)
    reviews.night(any_root, folder, keep_crops=True)
    (folder / "photo-003.png").unlink()
    target = open_store(f"{any_root.rpartition('/')[0]}/review")
    found = export_review(open_store(any_root), target, ExportRequest(budget=9))
    assert (found.asked, found.gone) == (5, 0)
    assert target.list_files() == ["label-studio.xml", "review.html", "tasks.json"]
    pictures = [task["data"]["image"] for task in json.loads(target.read_bytes("tasks.json"))]
    assert sorted(opened(picture)[0] for picture in pictures) == ["jpeg"] * 4 + ["png"]
    with pytest.raises(UsageError, match="lies inside the labels root"):
        export_review(open_store(any_root), open_store(f"{any_root}/review"), ExportRequest())


def test_only_labels_of_a_model(root, tmp_path):
    assert export(root, tmp_path / "a", model="a" * 12).faces == 10
    assert export(root, tmp_path / "b", model="b" * 12).asked == 0


def test_a_name_is_only_ever_text_and_nothing_is_fetched(tmp_path):
    folder = reviews.photographs(tmp_path / "photos", 1)
    (folder / "photo-000.png").rename(folder / "<script>alert(1)<!--.png")
    reviews.night(tmp_path / "root", folder)
    export(tmp_path / "root", tmp_path / "out")
    text = (tmp_path / "out" / "review.html").read_text("utf-8")
    assert text.count("<script") == 2
    assert "<!--" not in text
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!data:)\w+:""", text)
    assert "http" not in text.replace("http-equiv", "")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert "alert(1)" in faces_in(tmp_path / "out")["faces"][0]["image_uri"]
    assert "biometric" in text


def test_places_that_are_not_for_faces_are_refused(root, tmp_path):
    with pytest.raises(UsageError, match="lies inside the labels root"):
        export(root, root / "review")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="neither empty nor an earlier export"):
        export(root, tmp_path / "full")
    with pytest.raises(StoreError, match="is a file"):
        export(root, tmp_path / "full" / "letter.txt")
    for budget in (0, 5001):
        with pytest.raises(UsageError, match="budget"):
            ExportRequest(budget=budget)
    with pytest.raises(CommitError, match="no run has been committed"):
        export(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()
