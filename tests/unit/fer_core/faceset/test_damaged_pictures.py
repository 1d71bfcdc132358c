import pytest

from fer_core.faceset import face_workers
from tests.support import fakes
from tests.support.broken_images import cut_short, encoded, portrait


@pytest.mark.parametrize("damage", [cut_short, lambda jpeg: jpeg[:1000]])
def test_damaged_pictures_are_undecodable_for_face_sets(damage, monkeypatch):
    monkeypatch.setattr(face_workers, "_detector", fakes.FakeDetector())
    whole = encoded(portrait(), "JPEG", quality=92)
    first, second = face_workers.detect_faces([whole, damage(whole)])
    assert (bool(first.digest), second.digest, second.points) == (True, "", None)
