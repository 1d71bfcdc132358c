"""What a source lists, for the tests of listings."""

import pytest

from fer_core.collection.inventory import OPTIONS, list_images
from fer_core.errors import SourceError
from fer_core.tables.schema import INVENTORY


def uris(source, options=OPTIONS):
    inventory = list_images(str(source), options)
    assert inventory.schema == INVENTORY
    listed = inventory["image_uri"].to_pylist()
    assert listed == sorted(set(listed))
    return listed


def below(folder, source=None):
    return [uri.removeprefix(f"{folder}/") for uri in uris(source or folder)]


def failure(source):
    with pytest.raises(SourceError) as caught:
        list_images(str(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder
