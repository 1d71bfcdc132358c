"""`current` as a file of a chosen format: the same rows from each, and nothing else is replaced."""

import os
import stat

import pandas
import polars
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fer_core.errors import StoreError, UsageError
from fer_core.export.current_file import FILE, FORMATS, export_current, export_target
from fer_core.storage.output_place import file_place
from fer_core.storage.store import open_store
from fer_core.tables.schema import LABELS
from tests.support import fakes, histories
from tests.support.histories import Night, labeled

NAMES = ('/photos/a, "b".jpg', "/photos/naïve\n\r\t🙂.jpg", "/photos/=1+1.jpg", "/photos/,,", "/photos/''", '/photos/"')
ANNOTATED = (",".join(f'"{name}"' for name in [*LABELS.names, "notes"]) + "\n").encode()
"""The header of an export to which a user has added a column."""
NIGHTS = [
    Night("a", 0, {name: labeled(number % 3 + 1) for number, name in enumerate(NAMES)}),
    Night("b", 1, {NAMES[0]: labeled(2)}),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("formats") / "labels"
    for night in NIGHTS:
        histories.commit(folder, night)
    return folder


def export(root, to):
    target, name = export_target(str(to))
    return export_current(open_store(str(root)), target, name=name)


def loaded(file):
    """The rows of a file, by its ending."""
    folder, name = file_place(str(file))
    stream = pa.BufferReader(folder.read_bytes(name))
    if name.endswith(".csv"):
        types = pa.csv.ConvertOptions(column_types=LABELS, strings_can_be_null=True, quoted_strings_can_be_null=False)
        return pa.csv.read_csv(stream, parse_options=pa.csv.ParseOptions(newlines_in_values=True), convert_options=types)
    return pq.read_table(stream) if name.endswith(".parquet") else pa.ipc.open_file(stream).read_all()


@pytest.mark.parametrize("ending", [*FORMATS, ".CSV"])
def test_each_format_has_the_same_rows(root, tmp_path, ending):
    export(root, tmp_path / "folder")
    right = pq.read_table(tmp_path / "folder" / FILE)
    file = tmp_path / "new" / f"x{ending}"
    found = export(root, file)
    assert (found.file, found.faces, found.images) == (str(file), right.num_rows, len(NAMES))
    assert found.bytes == file.stat().st_size
    assert os.listdir(file.parent) == [file.name]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    whole = file.read_bytes()
    rows = loaded(file if ending != ".CSV" else file.rename(tmp_path / "x.csv"))
    assert rows.cast(LABELS.remove_metadata()).equals(right.cast(LABELS.remove_metadata()))
    assert export(root, file).bytes == found.bytes
    assert file.read_bytes() == whole, "the same root gives the same bytes"


def test_pandas_and_polars_read_them(root, tmp_path):
    for ending in FORMATS:
        export(root, tmp_path / f"x{ending}")
    right = loaded(tmp_path / "x.parquet").to_pandas()
    for frame in (pandas.read_csv(tmp_path / "x.csv", parse_dates=["labeled_at"]), pandas.read_feather(tmp_path / "x.arrow")):
        assert frame["image_uri"].tolist() == right["image_uri"].tolist()
        assert frame["labeled_at"].astype(right["labeled_at"].dtype).equals(right["labeled_at"])
        assert frame["p_fear"].astype("float32").equals(right["p_fear"])
    assert polars.read_ipc(tmp_path / "x.arrow").equals(polars.read_parquet(tmp_path / "x.parquet"))
    assert polars.read_csv(tmp_path / "x.csv")["image_uri"].to_list() == right["image_uri"].tolist()


def test_in_each_storage(root, any_root):
    for ending in FORMATS:
        found = export(root, f"{any_root}/sub/x{ending}")
        assert loaded(found.file).num_rows == found.faces == 13
    assert export(root, found.file) == found
    assert open_store(any_root).list_files() == sorted(f"sub/x{ending}" for ending in FORMATS)


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("theirs", [b"", b"mine", b'"image_uri","face_id"\n', ANNOTATED, b"PAR1" * 9, b"ARROW1\0\0" * 9])
def test_what_is_no_export_stays(root, tmp_path, ending, theirs):
    file = tmp_path / f"x{ending}"
    file.write_bytes(theirs)
    with pytest.raises(StoreError, match="is no earlier export: choose another place"):
        export(root, file)
    assert file.read_bytes() == theirs


def test_a_folder_of_that_name_stays_a_folder(root, tmp_path):
    made = export_current(open_store(str(root)), open_store(str(tmp_path / "x.parquet")))
    assert export(root, tmp_path / "x.parquet") == made
    assert os.listdir(tmp_path / "x.parquet") == [FILE]
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(StoreError, match="is a folder, not a file"):
        export(root, tmp_path / "x.csv")


def test_another_ending_is_a_folder(root, tmp_path):
    assert export(root, tmp_path / "x.txt").file == str(tmp_path / "x.txt" / FILE)


@pytest.mark.parametrize("inside", ["x.csv", "labels/x.parquet", "_meta/x.arrow"])
def test_no_file_inside_the_root(root, inside):
    before = fakes.tree(root)
    with pytest.raises(UsageError, match="inside the labels root"):
        export(root, root / inside)
    assert fakes.tree(root) == before


def test_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (file_place("x.csv")[0].root, file_place("x.csv")[1]) == (str(tmp_path), "x.csv")
    assert (file_place("/x.csv")[0].root, file_place("memory://b/x.csv")[1]) == ("/", "x.csv")
    for wrong in ("/", "folder/", "s3://x.csv"):
        with pytest.raises(UsageError, match="needs a file name"):
            file_place(wrong)
