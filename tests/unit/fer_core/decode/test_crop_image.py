"""Pictures that tables and face sets hold: their header is weighed before anything is decoded, and no other codec is tried."""

import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.commit.part_reader import part_rows
from fer_core.decode.crop_image import LIMITS, check_crop, colour_crop, decode_crop
from fer_core.errors import CommitError, FaceSetError, ImageError
from fer_core.faceset import read_split
from fer_core.faceset.importers import affectnet, ferplus, rafdb
from fer_core.faceset.importers.raw import import_raw
from fer_core.faceset.importers.samples import READ_BYTES
from fer_core.faceset.schema import SCHEMA, split_file
from fer_core.review.pictures import kept_crops
from fer_core.review.present import present_labels
from fer_core.storage.store import open_store
from fer_core.tables.schema import FACES, LABELS
from tests.support import fakes, reviews
from tests.support.bounded_memory import run_bounded
from tests.support.importer_layouts import write
from tests.support.made_faces import encoded, face, made_faceset, tinted

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc for the size of the process")


def png(width: int, height: int, bits: int = 8, colour: int = 2, body: bytes = b"\0" * 64) -> bytes:
    """A PNG of that header; a decoder that trusts it allocates memory for all of its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


HUGE = png(30_000, 30_000)
CROP = face("fear", np.random.default_rng(0))


def test_what_is_kept_comes_back_pixel_for_pixel():
    colour = tinted(CROP)
    assert np.array_equal(decode_crop(encoded(CROP)), CROP)
    assert np.array_equal(decode_crop(encoded(colour)), colour)
    assert np.array_equal(colour_crop(encoded(CROP)), np.repeat(CROP[..., None], 3, axis=2))
    assert np.array_equal(colour_crop(encoded(colour)), colour)


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"no picture",
        HUGE,
        png(112, 113),
        png(112, 112, bits=16),
        png(112, 112, colour=6),
        encoded(CROP, ".jpg"),
        encoded(CROP, ".bmp"),
        encoded(CROP, ".webp"),
        b"\x76\x2f\x31\x01" + bytes(200),  # OpenEXR
        b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 30000\n",
        b"P6 30000 30000 255\n",
        encoded(CROP)[:-60],
        encoded(CROP) + bytes(LIMITS.max_bytes),
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(ImageError):
        decode_crop(data)


def test_the_header_alone_tells_what_may_be_shown():
    check_crop(encoded(CROP))
    with pytest.raises(ImageError, match="112x112 PNG"):
        check_crop(HUGE)


@needs_linux
def test_a_face_set_with_a_picture_of_a_billion_pixels(tmp_path: Path) -> None:
    folder = made_faceset(tmp_path / "set", {"train": 3})
    file = split_file(folder, "train")
    rows = pq.read_table(file)
    pq.write_table(rows.set_column(rows.schema.get_field_index("crop"), "crop", [pa.array([HUGE] * 3)]), file, compression="zstd")
    assert file.stat().st_size < 16_000
    said = run_bounded(
        "from pathlib import Path; from fer_core.faceset import read_split", "read_split(Path(sys.argv[1]), 'train')", str(folder)
    )
    assert said == [f"FaceSetError: damaged face in {file} (no 112x112 PNG image of 8-bit grey or colour)"]


@needs_linux
def test_a_face_set_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    """A column of zeros takes a ten-thousandth of its size on the disk."""
    folder = made_faceset(tmp_path / "set", {"train": 3})
    file = split_file(folder, "train")
    rows = pq.read_table(file)
    zeros = pa.array([bytes(100 * 2**20)] + [b""] * 2)
    pq.write_table(rows.set_column(rows.schema.get_field_index("crop"), "crop", [zeros]), file, compression="zstd", use_dictionary=False)
    assert file.stat().st_size < 64_000
    code = "read_split(Path(sys.argv[1]), 'train')"
    (said,) = run_bounded("from pathlib import Path; from fer_core.faceset import read_split", code, str(folder), spare=64 * 2**20)
    assert said.startswith(f"FaceSetError: damaged split: {file} (its column 'crop' unpacks to 104,")


def test_a_split_with_other_columns_is_one_line(tmp_path: Path) -> None:
    folder = made_faceset(tmp_path / "set", {"train": 3})
    file = split_file(folder, "train")
    rows = pq.read_table(file)
    for name, values in (
        ("crop", [1, 2, 3]),
        ("crop", [["a"]] * 3),
        ("group", [None] * 3),
        ("votes_fear", ["x"] * 3),
        ("sample_id", [{"a": 1}] * 3),
    ):
        pq.write_table(rows.set_column(rows.schema.get_field_index(name), name, [pa.array(values)]), file)
        with pytest.raises(FaceSetError, match="damaged"):
            read_split(folder, "train")
    pq.write_table(rows.select(["sample_id"]), file)
    with pytest.raises(FaceSetError, match="damaged"):
        read_split(folder, "train")
    assert SCHEMA.names == rows.column_names


@needs_linux
def test_kept_crops_of_a_billion_pixels_are_no_pictures(tmp_path: Path) -> None:
    root, photos = tmp_path / "root", reviews.photographs(tmp_path / "photos", 2)
    manifest, _ = reviews.night(root, photos, keep_crops=True)
    (part,) = manifest.parts_of("faces")
    rows = pq.read_table(root / part.path)
    data = rows.set_column(rows.schema.get_field_index("crop_png"), rows.schema.field("crop_png"), pa.array([HUGE] * len(rows)))
    pq.write_table(data, root / part.path)
    imports = """
import dataclasses, pyarrow.parquet as pq
from fer_core.relabel.shard import _decoded
from fer_core.review.pictures import kept_crops
from fer_core.review.present import present_labels
from fer_core.storage.store import open_store
from fer_core.tables.schema import LABELS
import fer_core.decode.crop_image
"""
    code = """
store = open_store(sys.argv[1])
with present_labels(store) as labels:
    print(kept_crops(store, labels.columns(LABELS.names)))
_decoded(pq.read_table(sys.argv[2]), lambda uri: None)
"""
    nothing, said = run_bounded(imports, code, str(root), str(root / part.path))
    assert nothing == "{}"
    assert said.startswith("CommitError: the kept crop of face 0 of ")
    assert said.endswith("is no 112x112 image (no 112x112 PNG image of 8-bit grey or colour)")


def test_parts_that_unpack_to_gigabytes(tmp_path: Path) -> None:
    root, photos = tmp_path / "root", reviews.photographs(tmp_path / "photos", 1)
    manifest, _ = reviews.night(root, photos, keep_crops=True)
    (part,) = manifest.parts_of("faces")
    rows = pq.read_table(root / part.path)
    at = rows.schema.get_field_index("crop_png")
    pq.write_table(rows.set_column(at, rows.schema.field(at), pa.array([bytes(4 * 2**20)])), root / part.path, compression="zstd")
    with pytest.raises(CommitError, match=r"is damaged: .* \(its column 'crop_png' unpacks to 4,"):
        part_rows((root / part.path).read_bytes(), part.path, FACES)
    store = open_store(str(root))
    with present_labels(store) as labels, pytest.raises(CommitError, match="unpacks to 4,"):
        kept_crops(store, labels.columns(LABELS.names))


TABLE = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"


@needs_linux
def test_a_member_of_gigabytes_is_counted_and_left_out(tmp_path: Path) -> None:
    source = tmp_path / "ferplus"
    write(source / "fer2013new.csv", TABLE + "Training,big.png,9,0,0,0,0,0,0,0,1,0\nTraining,good.png,9,0,0,0,0,0,0,0,1,0\n")
    with zipfile.ZipFile(source / "FER2013Train.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("big.png", "w") as member:
            for _ in range(30):
                member.write(bytes(10 * 2**20))
        archive.writestr("good.png", encoded(CROP))
    imports = (
        "from pathlib import Path; from fer_core.faceset.importers import ferplus; from fer_core.faceset.importers.raw import import_raw"
    )
    code = "print(import_raw(ferplus.samples(Path(sys.argv[1])), Path(sys.argv[2]), 'ferplus').undecodable)"
    assert run_bounded(imports, code, str(source), str(tmp_path / "set"), spare=256 * 2**20) == ["1"]


def test_what_a_member_is_called_leads_nowhere(tmp_path: Path) -> None:
    source = tmp_path / "ferplus"
    write(source / "fer2013new.csv", TABLE + "Training,a.png,9,0,0,0,0,0,0,0,1,0\n")
    with zipfile.ZipFile(source / "FER2013Train.zip", "w") as archive:
        archive.writestr("../../../a.png", encoded(CROP))
    before = sorted(tmp_path.rglob("*"))
    assert [sample.data for sample in ferplus.samples(source)] == [encoded(CROP)]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "..\\secret.png"])
def test_tables_that_name_files_outside_of_their_set(tmp_path: Path, name: str) -> None:
    write(tmp_path / "secret.png", encoded(CROP))
    write(tmp_path / "plus" / "fer2013new.csv", TABLE + f"Training,{name},9,0,0,0,0,0,0,0,1,0\n")
    write(tmp_path / "plus" / "FER2013Train" / "a.png", encoded(CROP))
    with pytest.raises(FaceSetError, match="leads out of its folder"):
        list(ferplus.samples(tmp_path / "plus"))
    write(tmp_path / "net" / "training.csv", f"subDirectory_filePath,expression\n{name},1\n")
    write(tmp_path / "net" / affectnet.IMAGES / "1" / "a.jpg", encoded(CROP, ".jpg"))
    with pytest.raises(FaceSetError, match="leads out of its folder"):
        list(affectnet.samples(tmp_path / "net"))


def test_files_larger_than_pictures_are_read_no_further(tmp_path: Path) -> None:
    source = tmp_path / "raf"
    write(source / "EmoLabel" / "list_patition_label.txt", "train_1.jpg 1\ntrain_2.jpg 2\n")
    write(source / "Image" / "aligned" / "train_1_aligned.jpg", encoded(CROP, ".jpg"))
    with (source / "Image" / "aligned" / "train_2_aligned.jpg").open("wb") as stream:
        stream.truncate(8 * 2**30)  # takes no room on the disk
    good, big = rafdb.samples(source)
    assert (len(good.data), len(big.data)) == (len(encoded(CROP, ".jpg")), READ_BYTES)
    assert import_raw(iter([good, big]), tmp_path / "set", "raf").undecodable == 1


@needs_linux
def test_a_code_that_says_it_is_an_array_of_terabytes(tmp_path: Path) -> None:
    source = tmp_path / "net" / "train_set"
    write(source / "images" / "1.jpg", encoded(CROP, ".jpg"))
    np.save(tmp_path / "one.npy", np.array("3"))
    plain = (tmp_path / "one.npy").read_bytes()
    write(source / "annotations" / "1_exp.npy", plain)
    assert [sample.label for sample in affectnet.samples(tmp_path / "net")] == ["surprise"]
    write(
        source / "annotations" / "1_exp.npy", plain.replace(b"'shape': (), ", b"'shape': (9999999999,), ").replace(b" " * 12 + b"\n", b"\n")
    )
    imports = "from pathlib import Path; from fer_core.faceset.importers import affectnet"
    (said,) = run_bounded(imports, "list(affectnet.samples(Path(sys.argv[1])))", str(tmp_path / "net"))
    assert said.startswith("FaceSetError: not AffectNet's layout: ")


def test_pictures_are_decoded_by_the_house_alone():
    """OpenCV tries every codec that it has, and believes each header."""
    package = Path(fakes.__file__).parents[2]
    for folder in ("fer_core", "tasks", "flows"):
        for file in (package / folder).rglob("*.py"):
            text = file.read_text("utf-8")
            assert not [call for call in (".imdecode(", ".imread(", "Image.open(", ".imreadmulti(") if call in text], file
