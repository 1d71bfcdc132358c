from pathlib import Path

from fer_core.tables.data_dictionary import data_dictionary
from fer_core.tables.schema import FACES, IMAGES, LABELS

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "reference" / "data-dictionary.md"


def test_the_document_is_what_the_schemas_say():
    assert DOCUMENT.read_text("utf-8") == data_dictionary(), "run `make docs`"


def test_every_column_is_explained_with_its_id_and_type():
    lines = data_dictionary().splitlines()
    for schema in (LABELS, IMAGES, FACES):
        for number, field in enumerate(schema, start=1):
            row = next(line for line in lines if line.startswith(f"| {number} | `{field.name}` |"))
            assert row.count("|") == 5
            assert not row.endswith("|  |")
    assert "| 5 | `box_x` | float32 |" in data_dictionary()
